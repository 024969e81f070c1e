"""What an expression can read of its variables, so that nothing else of a large object is converted for it.

Converting an object for CEL costs a hundred times what evaluating a rule does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Tree = dict[str, "Tree | None"]
"""Fields by name; None: all that is below."""
_STEP = re.compile(r"\.([A-Za-z_]\w*)(?![\w(])")


def reads(source: str, names: Iterable[str]) -> Tree:
    """The fields of each variable that the text can reach. A variable used in any other way is wanted whole."""
    tree: Tree = {}
    for name in names:
        for found in re.finditer(rf"\b{re.escape(name)}\b", source):
            _add(tree, [name, *_path(source, found.end())])
    return tree


def _path(source: str, place: int) -> list[str]:
    """The names in `.a.b.c` from here on; a method's name is none of them."""
    path = []
    while step := _STEP.match(source, place):
        path.append(step[1])
        place = step.end()
    return path


def _add(tree: Tree, path: list[str]) -> None:
    for name in path[:-1]:
        below = tree.setdefault(name, {})
        if below is None:
            return
        tree = below
    tree[path[-1]] = None


def joined(trees: Iterable[Tree]) -> Tree:
    """What any of the trees wants."""
    both: Tree = {}
    for tree in trees:
        for name, below in tree.items():
            has = both.get(name, {})
            both[name] = None if below is None or has is None else joined((has, below))
    return both


def trimmed(values: Mapping[str, Any], tree: Tree) -> dict[str, Any]:
    """The values without what nobody reads."""
    return {
        name: trimmed(values[name], below) if below is not None and isinstance(values[name], Mapping) else values[name]
        for name, below in tree.items()
        if name in values
    }
