"""Stored configuration and the client it makes, one block class per file."""
