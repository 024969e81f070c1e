"""A finished step is never done twice; one that was cut off is done again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from edge.errors import InvalidInput, NotFound, SiteSilent
from edge.ledger import Ledger
from edge.model.step import Detail, StepKey, StepState

KEY = StepKey(work="rollout:r1", subject="s1", step="apply")


class Effect:
    """A side effect that counts how often it ran."""

    def __init__(self, detail: Detail | None = None) -> None:
        self.runs = 0
        self.detail = detail or {}

    def __call__(self) -> Detail:
        self.runs += 1
        return self.detail


def fail(error: BaseException) -> Callable[[], Detail]:
    def effect() -> Detail:
        raise error

    return effect


def test_a_step_leaves_its_detail(ledger: Ledger) -> None:
    detail: Detail = {"objects": 10, "share": 0.5, "good": True, "names": ["a", "b"], "note": "ü"}
    record = ledger.steps.once(KEY, Effect(detail))
    assert (record.state, record.tries, record.detail, record.cause) == (StepState.DONE, 1, detail, None)
    assert record.ended_at == record.started_at + timedelta(seconds=1)
    assert ledger.steps.records("rollout:r1") == (record,)


def test_a_finished_step_is_not_done_again(ledger: Ledger) -> None:
    effect = Effect({"objects": 10})
    first = ledger.steps.once(KEY, effect)
    assert ledger.steps.once(KEY, effect) == first
    assert effect.runs == 1


def test_a_step_is_on_record_before_its_effect_begins(ledger: Ledger) -> None:
    seen: list[StepState] = []

    def look() -> Detail:
        seen.extend(record.state for record in ledger.steps.records("rollout:r1"))
        return {}

    ledger.steps.once(KEY, look)
    assert seen == [StepState.INTENDED]


def test_a_failed_step_says_why_and_is_tried_again(ledger: Ledger) -> None:
    with pytest.raises(SiteSilent):
        ledger.steps.once(KEY, fail(SiteSilent("No answer", site="s1")))
    (failed,) = ledger.steps.records("rollout:r1", "s1")
    assert failed.state is StepState.FAILED
    assert failed.cause is not None
    assert (failed.cause.code, failed.cause.transient) == ("site-silent", True)
    done = ledger.steps.once(KEY, Effect())
    assert (done.state, done.tries, done.cause) == (StepState.DONE, 2, None)
    assert ledger.steps.records("rollout:r1") == (done,)


@pytest.mark.parametrize(
    "stop", [pytest.param(KeyboardInterrupt(), id="interrupted"), pytest.param(KeyError("x"), id="defect")]
)
def test_a_step_of_which_nobody_knows_the_end_stays_intended(ledger: Ledger, stop: BaseException) -> None:
    with pytest.raises(type(stop)):
        ledger.steps.once(KEY, fail(stop))
    assert [record.state for record in ledger.steps.records("rollout:r1")] == [StepState.INTENDED]
    assert ledger.steps.once(KEY, Effect()).tries == 2


def test_a_late_failure_does_not_undo_a_step_that_is_done(ledger: Ledger) -> None:
    def overtaken() -> Detail:
        ledger.steps.once(KEY, Effect({"by": "another"}))
        raise SiteSilent("No answer")

    with pytest.raises(SiteSilent):
        ledger.steps.once(KEY, overtaken)
    (record,) = ledger.steps.records("rollout:r1")
    assert (record.state, record.detail) == (StepState.DONE, {"by": "another"})


def test_the_first_to_finish_is_on_record(ledger: Ledger) -> None:
    def overtaken() -> Detail:
        ledger.steps.once(KEY, Effect({"by": "another"}))
        return {"by": "me"}

    assert ledger.steps.once(KEY, overtaken).detail == {"by": "another"}


def test_a_forgotten_subject_begins_anew(ledger: Ledger) -> None:
    other = KEY.model_copy(update={"subject": "s2"})
    effect = Effect()
    ledger.steps.once(KEY, effect)
    kept = ledger.steps.once(other, effect)
    assert ledger.steps.forget("rollout:r1", "s1") == 1
    assert ledger.steps.records("rollout:r1") == (kept,)
    assert ledger.steps.once(KEY, effect).tries == 1
    assert effect.runs == 3


def test_a_step_forgotten_while_it_runs_is_not_written_back(ledger: Ledger) -> None:
    def forgotten() -> Detail:
        ledger.steps.forget(KEY.work, KEY.subject)
        return {}

    with pytest.raises(NotFound):
        ledger.steps.once(KEY, forgotten)
    assert ledger.steps.records(KEY.work) == ()


def test_a_detail_that_is_not_flat_json_is_refused_and_the_step_stays_intended(ledger: Ledger) -> None:
    wrong: Detail = {"nested": {"a": 1}}  # type: ignore[dict-item] - what is wrong is the point
    with pytest.raises(InvalidInput):
        ledger.steps.once(KEY, Effect(wrong))
    assert [record.state for record in ledger.steps.records(KEY.work)] == [StepState.INTENDED]


def test_what_looks_like_a_secret_does_not_enter_the_step_log(ledger: Ledger) -> None:
    record = ledger.steps.once(KEY, Effect({"token": "abc", "note": "Bearer 0123456789abcdef0123", "objects": 2}))
    assert record.detail == {"token": "[redacted]", "note": "[redacted]", "objects": 2}
    with pytest.raises(SiteSilent):
        ledger.steps.once(
            KEY.model_copy(update={"step": "health"}), fail(SiteSilent("No answer from https://me:pass@host/x"))
        )
    causes = [record.cause.message for record in ledger.steps.records(KEY.work) if record.cause]
    assert causes == ["No answer from https://[redacted]@host/x"]


def test_timings_show_each_step_over_all_subjects(ledger: Ledger) -> None:
    for subject in ("s1", "s2", "s3"):
        ledger.steps.once(StepKey(work="w", subject=subject, step="apply"), Effect())
    with pytest.raises(SiteSilent):
        ledger.steps.once(StepKey(work="w", subject="s1", step="health"), fail(SiteSilent("No answer")))
    apply, health = ledger.steps.timings("w")
    assert (apply.step, apply.done, apply.failed, apply.median_s, apply.longest_s) == ("apply", 3, 0, 1.0, 1.0)
    assert (health.step, health.done, health.failed, health.median_s) == ("health", 0, 1, None)
