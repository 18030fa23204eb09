"""Sources of backends: DNS and Kubernetes."""
