"""The platform on one machine: for a look, for the demonstration, and for measuring."""
