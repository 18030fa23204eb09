"""What the proxy tells about itself: logs, metrics, traces, recordings, its state."""
