"""How work over many subjects is cut into task runs."""

from __future__ import annotations

from collections.abc import Sequence

WIDTH = 100
"""About as many task runs as one wave should cost a Prefect server."""


def in_groups(subjects: Sequence[str], width: int = WIDTH) -> tuple[tuple[str, ...], ...]:
    """One group per subject up to `width` subjects; more are spread over at most `width` groups of nearly equal size."""
    size = max(1, -(-len(subjects) // width))
    return tuple(tuple(subjects[at : at + size]) for at in range(0, len(subjects), size))
