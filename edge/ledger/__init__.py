"""The platform's memory: what exists, what is under way, what was done, and a trail that shows if it was changed."""

from edge.ledger.ledger import Ledger

__all__ = ["Ledger"]
