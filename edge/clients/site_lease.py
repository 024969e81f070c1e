"""The lease of one site: taken, proven to hold, renewed while there is work, given back.

Taking it costs a read and a write. That the site refuses older tokens is not believed but proven: a dry run with the
token before ours must be refused, which shows at once that the site's policy is there, that we may say the token and
that the server has seen the new lease. Where it is not refused, the policy is installed; where that cannot be, the
lease is read before each write.
"""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from edge.clients.kubernetes import SiteClient
from edge.errors import CredentialRejected, EdgeError, FencedOff, NotFound, Rejected, WriteConflict
from edge.model.fence import Fence, FenceGuard
from edge.model.kube import ObjectRef
from edge.policy import fencing

_RACES: Final = 4
_NEW_LEASE_S: Final = (0.0, 0.05, 0.1, 0.2)
_NEW_POLICY_S: Final = (*_NEW_LEASE_S, 0.4, 0.8, 1.6)
"""Pauses in which a server may come to see a new lease or policy; a server of one process sees it at once."""
_NOT_ALLOWED: Final = (NotFound, CredentialRejected, Rejected)


class SiteLease:
    """A lease that this process holds. `client` writes with its token, and fails with FencedOff once it is lost."""

    def __init__(self, client: SiteClient, site: str, holder: str, lasts_s: float) -> None:
        """Take the lease. NotYet when another run has it, WriteConflict when several want it at once."""
        self._plain, self._lasts_s = client, lasts_s
        self._lock = threading.Lock()
        self._skew = timedelta()
        self._lease = self._take(holder)
        self._renewed_at = time.monotonic()
        token = fencing.token_of(self._lease)
        self.fence, headers = self._prove(Fence(site=site, holder=holder, token=token, guard=FenceGuard.SITE))
        self.client = client.guarded(self.fence, headers, self._before)

    def renew(self) -> None:
        """Hold it for as long again. FencedOff when another run has it by now."""
        with self._lock:
            self._renew()

    def release(self) -> None:
        """Let others have it at once. What goes wrong is left to time: the lease ends by itself."""
        with self._lock, contextlib.suppress(EdgeError):
            self._plain.replace(fencing.released(self._lease))

    def _take(self, holder: str) -> dict[str, Any]:
        for _ in range(_RACES):
            live = self._read()
            # All runs go by one clock, the site's.
            self._skew = self._plain.clock_off() or timedelta()
            wanted = fencing.taken_over(live, holder, self._now(), self._lasts_s)
            try:
                return self._create(wanted) if live is None else self._plain.replace(wanted)
            except (WriteConflict, NotFound):
                continue
        raise WriteConflict("Several runs want this site at once", site=self._plain.site or None)

    def _create(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """The site's first lease."""
        try:
            return self._plain.create(wanted)
        except NotFound:
            self._plain.apply(fencing.namespace_object())
            return self._plain.create(wanted)

    def _read(self) -> dict[str, Any] | None:
        try:
            return self._plain.get(fencing.LEASE)
        except NotFound:
            return None

    def _now(self) -> datetime:
        return datetime.now(UTC) + self._skew

    def _prove(self, fence: Fence) -> tuple[Fence, tuple[tuple[str, str], ...]]:
        """Who guards this fence, and what a write carries."""
        try:
            user = self._plain.who_am_i()
            if self._refuses_older(fence, user) or self._installed(fence, user):
                return fence, fencing.write_headers(user, fence.token)
        except _NOT_ALLOWED:
            pass
        return fence.model_copy(update={"guard": FenceGuard.LEASE}), ()

    def _installed(self, fence: Fence, user: dict[str, Any]) -> bool:
        """Whether older tokens are refused once the site has the policy."""
        policy, binding = fencing.policy_objects()
        # Where nobody has had a lease yet, nobody has put the policy there.
        known = self._plain.look([ObjectRef.of(binding)]) if fence.token > 1 else {}
        for obj in (policy, binding):
            self._plain.apply(obj, force=True)
        for pause_s in _NEW_LEASE_S if known else _NEW_POLICY_S:
            time.sleep(pause_s)
            if self._refuses_older(fence, user):
                return True
        return False

    def _refuses_older(self, fence: Fence, user: dict[str, Any]) -> bool:
        older = fencing.write_headers(user, fence.token - 1)
        try:
            self._plain.guarded(fence, older, lambda _: None).replace(self._lease, dry_run=True)
        except FencedOff:
            return True
        return False

    def _before(self, method: str) -> None:
        """Renew when half of the time is over; where the site does not guard, look before each write."""
        looks = self.fence.guard is FenceGuard.LEASE and method != "GET"
        late = time.monotonic() - self._renewed_at > self._lasts_s / 2
        if not (looks or late):
            return
        with self._lock:
            if looks:
                self._look()
            if late and time.monotonic() - self._renewed_at > self._lasts_s / 2:
                # Where the site guards, what this run may write is the site's to say, not this renewal's.
                self._renewed_at = time.monotonic()
                with contextlib.suppress(EdgeError):
                    self._renew()

    def _look(self) -> None:
        live = self._read()
        fencing.check_still_ours(live, self.fence)
        self._lease = live or self._lease

    def _renew(self) -> None:
        try:
            self._lease = self._plain.replace(fencing.renewed(self._lease, self._now()))
        except WriteConflict:
            self._look()
            self._lease = self._plain.replace(fencing.renewed(self._lease, self._now()))
        self._renewed_at = time.monotonic()
