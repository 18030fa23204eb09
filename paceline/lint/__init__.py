"""Says where prefixes break in a log of requests, and what mending them would save."""
