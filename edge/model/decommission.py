"""How a device leaves: the steps, what the platform left on a cluster, and the proof that nothing is left."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime

from edge.model.base import Value
from edge.model.kube import ObjectRef
from edge.model.names import DeviceId, SiteName, TenantName


class LeaveStep(StrEnum):
    """The steps in their order. The text is a contract: it stands in the ledger and in proofs."""

    REVOKE = "revoke"
    """Its key and its ownership let nobody in any more."""
    WIPE = "wipe"
    """What the platform put on the cluster is gone; the agents too."""
    ACCESS = "access"
    """The tenant's accounts and rights on the cluster are gone."""
    AZURE = "azure"
    """The connected cluster is gone from Azure."""
    FORGET = "forget"
    """The platform no longer holds the cluster's credential."""
    FREE = "free"
    """The site's name and the device are free."""


class Mark(StrEnum):
    """How the platform's mark is on an object."""

    OURS = "ours"
    """The platform made it."""
    DEPENDENT = "dependent"
    """It carries the platform's label, and a controller made it: it goes with its owner."""
    TOUCHED = "touched"
    """It is somebody else's, and the platform set fields in it: those are given up."""


class Footprint(Value):
    """One object on a cluster that carries the platform's mark."""

    ref: ObjectRef
    uid: str = ""
    mark: Mark


class StepProof(Value):
    """One step, proven by reading afterwards.

    `looked_at` says what was read, `found` what was there. `owed` says why it is not proven; empty when it is.
    """

    step: LeaveStep
    at: AwareDatetime | None = None
    looked_at: tuple[str, ...] = ()
    found: tuple[str, ...] = ()
    owed: str = ""

    @property
    def proven(self) -> bool:
        """Whether the step is done and was read back."""
        return not self.owed


class LeaveProof(Value):
    """Everything that is known of how a device left, in one of its lives."""

    device_id: DeviceId
    generation: int
    site: SiteName | None = None
    tenant: TenantName | None = None
    reason: str = ""
    lost: bool = False
    """An operator said that the cluster will not be seen again: it is let go with the wipe owed."""
    steps: tuple[StepProof, ...] = ()

    @property
    def owed(self) -> tuple[StepProof, ...]:
        """What is not proven."""
        return tuple(step for step in self.steps if not step.proven)
