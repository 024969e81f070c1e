"""How work over many subjects is cut into task runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

WIDTH = 100
"""About as many task runs as one wave should cost a Prefect server."""


def in_groups(subjects: Sequence[str], width: int = WIDTH) -> tuple[tuple[str, ...], ...]:
    """At most `width` groups of nearly equal size, in order: one per subject as long as there are not more."""
    count = min(width, len(subjects))
    bounds = [len(subjects) * place // count for place in range(count + 1)] if count else []
    return tuple(tuple(subjects[start:end]) for start, end in pairwise(bounds))
