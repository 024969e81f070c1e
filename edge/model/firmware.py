"""Updates of firmware and operating system: two slots, a self-test, and no second try of what failed."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, Field

from edge.model.base import Value
from edge.model.device import DeviceState
from edge.model.names import DeviceId, SemVer, SiteName


class Component(StrEnum):
    """What is updated."""

    FIRMWARE = "firmware"
    OS = "os"


class UpdateOutcome(StrEnum):
    """How an update ended on one device."""

    CONFIRMED = "confirmed"
    """It booted the new slot and its self-test held through the window."""
    FELL_BACK = "fell-back"
    """The self-test failed, or nobody confirmed in time; the device runs the old slot again."""
    FAILED = "failed"
    """It never booted the new slot: download, digest or installation failed."""
    SILENT = "silent"
    """The device said nothing final in the time allowed. Nobody knows how it ended, so the version is not blamed."""


class UpdateAttempt(Value):
    """One try of one version on one device, for the record."""

    device_id: DeviceId
    component: Component
    version: str = Field(min_length=1, max_length=128)
    outcome: UpdateOutcome
    reason: str = ""
    from_version: str = ""
    at: AwareDatetime


class UpdateOrder(Value):
    """What is to run on devices. `image` is named by its digest, so that it is the same everywhere and for ever.

    `self_test_s` is how long the new slot must hold before it is confirmed, in seconds. `go_back` asks for an older
    version on purpose; `reboot_allowed` false lets the device install and wait for somebody to reboot it.
    """

    component: Component
    version: SemVer
    image: str = Field(max_length=512, pattern=r"^[^\s@]+@sha256:[0-9a-f]{64}$")
    self_test_s: int = Field(default=120, ge=0, le=86400)
    reboot_allowed: bool = True
    go_back: bool = False


class UpdatePhase(StrEnum):
    """How far a device's updater says it is: `status.phase` of a NodeUpdate."""

    PENDING = "Pending"
    DOWNLOADING = "Downloading"
    INSTALLED = "Installed"
    """It is in the other slot; the device has not booted it yet."""
    TESTING = "Testing"
    CONFIRMED = "Confirmed"
    FELL_BACK = "FellBack"
    FAILED = "Failed"


class UpdateRefusal(StrEnum):
    """Why a device does not get a version. The text is a contract: it stands in reports."""

    ALREADY_THERE = "already-there"
    NOT_CONNECTED = "not-connected"
    FAILED_BEFORE = "failed-before"
    """This version fell back or failed on this device."""
    NOT_NEWER = "not-newer"
    """It runs a newer version, and going back was not asked for."""
    UPDATE_RUNNING = "update-running"
    """It is in the middle of an update to another version."""


class UpdatableDevice(Value):
    """What is known of a device that bears on an update. Versions are empty when nobody knows them."""

    device_id: DeviceId
    site: SiteName | None = None
    state: DeviceState
    current: str = ""
    """The version that it runs."""
    running: str = ""
    """The version that an update under way is about."""
    failed: frozenset[str] = frozenset()
    """The versions that fell back or failed there."""


class NodeReport(Value):
    """What a node's updater says: the version in its active slot, and about which order."""

    wanted: str = ""
    """The version that the updater was last asked for."""
    phase: UpdatePhase = UpdatePhase.PENDING
    seen: bool = False
    """Whether the report is about the newest order."""
    active: str = ""
    reason: str = ""


class UpdateVerdict(Value):
    """How an update ended on one node."""

    outcome: UpdateOutcome
    reason: str = ""
