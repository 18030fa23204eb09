"""HTTP/1.1 with clients, and the wire format that both sides share."""
