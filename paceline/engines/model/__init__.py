"""How engines batch, cache and take time: pure models in virtual time."""
