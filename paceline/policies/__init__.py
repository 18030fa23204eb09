"""Queue policies, one a file; the registry finds them, and yours, by entry point."""
