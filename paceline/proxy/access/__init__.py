"""Who may ask what, and how much: keys, quotas, salts, TLS."""
