"""In which order a stamp's components come: each after all that it depends on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter

from edge.errors import InvalidInput
from edge.model.stamp import Component


def in_dependency_order(components: Sequence[Component]) -> tuple[tuple[Component, ...], ...]:
    """Stages: those of one stage do not depend on each other, and keep the order in which they were written down.

    Raises InvalidInput for a component that depends on one that is not there, or in the end on itself; the error spells
    the circle out.
    """
    names = {component.name for component in components}
    for component in components:
        for wanted in component.depends_on:
            if wanted not in names:
                raise _fault("This component depends on one that the stamp does not have", component.name, wanted)
    sorter = TopologicalSorter({component.name: component.depends_on for component in components})
    try:
        sorter.prepare()
    except CycleError as error:
        # graphlib lists each name before the one that waits for it, and ends with the first again.
        circle = list(reversed(error.args[1]))
        raise _fault("These components depend on each other", circle[0], " -> ".join(circle)) from error
    return tuple(_stages(sorter, components))


def _stages(sorter: TopologicalSorter[str], components: Sequence[Component]) -> Iterator[tuple[Component, ...]]:
    while sorter.is_active():
        ready = set(sorter.get_ready())
        yield tuple(component for component in components if component.name in ready)
        sorter.done(*ready)


def _fault(what: str, component: str, value: str) -> InvalidInput:
    return InvalidInput(what, field=f"spec.components.{component}.dependsOn", value=value)
