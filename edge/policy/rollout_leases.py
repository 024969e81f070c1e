"""The names in the ledger that runs hold while they carry a rollout, or a part of one of its waves, out."""

from __future__ import annotations


def rollout_lease(rollout_id: str) -> str:
    """The name that whoever carries the rollout out holds; of "" how all such names begin."""
    return f"rollout:{rollout_id}"


def part_lease(rollout_id: str, wave: int, part: int) -> str:
    """The name that whoever carries out a part of a wave holds."""
    return f"{parts_prefix(rollout_id, wave)}{part}"


def parts_prefix(rollout_id: str, wave: int) -> str:
    """How the names of all parts of a wave begin."""
    return f"part:{rollout_id}:{wave}:"
