"""The routes, and the answers that the proxy gives by itself."""
