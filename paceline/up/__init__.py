"""`paceline up`: engines as child processes, started, watched and restarted, and the proxy."""
