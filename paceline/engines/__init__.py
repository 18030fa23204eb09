"""What we know of engines: their HTTP dialects, their models and an emulator that plays them."""
