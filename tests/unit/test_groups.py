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


@given(some.integers(min_value=0, max_value=4000))
def test_every_subject_is_in_exactly_one_group_and_groups_are_few(count: int) -> None:
    subjects = [str(number) for number in range(count)]
    groups = in_groups(subjects)
    assert [subject for group in groups for subject in group] == subjects
    assert len(groups) <= WIDTH
