"""Several proxies before the same backends tell each other, over a store, what they sent there."""
