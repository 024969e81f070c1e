"""How work is cut into task runs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from edge.policy.groups import WIDTH, in_groups


def test_up_to_a_hundred_subjects_each_have_a_task_run() -> None:
    assert in_groups(["a", "b", "c"]) == (("a",), ("b",), ("c",))
    assert len(in_groups([str(number) for number in range(WIDTH)])) == WIDTH


def test_no_subjects_need_no_task_run() -> None:
    assert in_groups([]) == ()


@given(some.integers(0, 4000), some.integers(1, 200))
def test_groups_hold_every_subject_once_and_are_alike_in_size(count: int, width: int) -> None:
    subjects = [str(number) for number in range(count)]
    groups = in_groups(subjects, width)
    assert [subject for group in groups for subject in group] == subjects
    assert len(groups) == min(count, width)
    sizes = {len(group) for group in groups}
    assert not sizes or max(sizes) - min(sizes) <= 1
