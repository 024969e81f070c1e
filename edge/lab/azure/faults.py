"""Trouble in the pretend Azure, ordered at run time: refused requests, failing operations, silence."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field

from edge.lab.azure.http import ArmFault
from edge.model.base import Value


class AzureFault(Value):
    """One kind of trouble for the next `times` requests that fit.

    `method` and `path` (a glob over the whole path, case-insensitive) say which requests. `kind` is `refuse` (an answer
    with `status`), `fail` (the request is accepted, and the operation it starts ends in Failed) or `silent` (no answer
    until the caller gives up; with `acts` Azure did what it was asked all the same). `retry_after` is seconds, for
    refusals that carry it.
    """

    kind: Literal["refuse", "fail", "silent"]
    method: str = "PUT"
    path: str = "*"
    times: int = Field(default=1, ge=1, le=1_000_000)
    status: int = Field(default=500, ge=400, le=599)
    code: str = "InternalServerError"
    message: str = "The lab was told to fail here."
    retry_after: int | None = Field(default=None, ge=0)
    acts: bool = False

    def fits(self, method: str, path: str) -> bool:
        """Whether a request is one of those meant."""
        return self.method.upper() in {"*", method} and fnmatchcase(path.lower(), self.path.lower())

    def refusal(self) -> ArmFault:
        """The answer of kind `refuse`."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return ArmFault(self.status, self.code, self.message, headers)


class Faults:
    """The trouble that is in force, oldest first. The oldest that fits a request is used up by it."""

    def __init__(self) -> None:
        self._faults: list[AzureFault] = []

    def add(self, fault: AzureFault) -> None:
        """Put one more in force."""
        self._faults.append(fault)

    def clear(self) -> None:
        """End all trouble."""
        self._faults.clear()

    def all(self) -> list[AzureFault]:
        """What is in force, with the times left."""
        return list(self._faults)

    def take(self, method: str, path: str) -> AzureFault | None:
        """The fault that this request meets, if any; it counts as used."""
        for index, fault in enumerate(self._faults):
            if fault.fits(method, path):
                left = fault.times - 1
                self._faults[index : index + 1] = [fault.model_copy(update={"times": left})] if left else []
                return fault
        return None
