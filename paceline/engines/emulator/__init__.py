"""An HTTP server that plays an engine model in real time, in either dialect."""
