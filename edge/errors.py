"""The one error tree. An error answers one question: may trying again help?

    EdgeError
      Transient                trying again may help; tasks retry these and nothing else
        SiteUnreachable          no connection: refused, reset, DNS, TLS hand-shake cut off
        SiteSilent               connected, but no answer within the time-out
        Throttled                429; `retry_after` seconds when the server said so
        ServerFault              5xx of a cluster, of Azure or of a Prefect server
        WriteConflict            409 on a resourceVersion: somebody wrote in between
        NotYet                   a condition was not met within the time allowed
        LedgerBusy               the ledger's database did not answer or stayed locked
      Permanent                trying again with the same input gives the same answer
        InvalidInput             a file, an event or a parameter is wrong
        CredentialRejected       401 or 403, or an unusable certificate
        NotFound                 404
        OwnershipConflict        another field manager owns what we apply
        Rejected                 the server refuses the object (400, 422, admission)
        IdentityRefused          a device is not who it says it is
        ConnectRefused           the decision table of Arc connect says no
        OperationFailed          a long-running operation ended in failure
        BaselineUnproven         a site allows what its baseline forbids, or the other way round
        FencedOff                another run has the site by now: this one may not write to it any more
        PolicyViolated           rendered objects break a policy rule that nobody waived
        SiteUnfit                a site lacks what the stamp needs: kinds, controllers, architecture, room
        Surprising               a site changed in ways that nobody expected: a person must look at the difference first
        ChainBroken              the audit trail was edited, shortened or reordered
        LedgerMismatch           the ledger holds something else under the same key

Vendor exceptions are translated where they arise (`raise Ours(...) from theirs`) and never pass `edge.clients` or
`edge.ledger`.
"""

from __future__ import annotations

from typing import ClassVar


class EdgeError(Exception):
    """What happened, where, and what to do.

    `what` is a sentence; `where` maps words such as site, file, field, value or url to text (never to a secret);
    `remedy` says what a person can do. `code` is stable and may be matched by users. `left` is for whoever was
    in the middle of something: names of what was done by what became of it, as in `edge.model.outcome.Outcome.detail`.
    """

    code: ClassVar[str] = "edge"
    transient: ClassVar[bool] = False

    def __init__(self, what: str, *, remedy: str = "", **where: object) -> None:
        self.what = what
        self.remedy = remedy
        self.where = {word: str(value) for word, value in where.items() if value is not None}
        self.left: dict[str, list[str]] = {}
        super().__init__(what)

    def __str__(self) -> str:
        place = ", ".join(f"{word} {value}" for word, value in self.where.items())
        text = f"{self.what} ({place})" if place else self.what
        return f"{text}. {self.remedy}" if self.remedy else text

    def __reduce__(self) -> tuple[object, ...]:
        """Keep all fields when the error crosses a process, as Prefect does with results."""
        return (_rebuild, (type(self), self.__dict__))


def _rebuild(kind: type[EdgeError], fields: dict[str, object]) -> EdgeError:
    error = kind.__new__(kind)
    Exception.__init__(error, str(fields["what"]))
    error.__dict__.update(fields)
    return error


class Transient(EdgeError):
    """Trying again may help."""

    code = "transient"
    transient = True
    retry_after: float | None = None
    """Seconds after which the server asks to be tried again, when it said so."""


class Permanent(EdgeError):
    """Trying again with the same input gives the same answer."""

    code = "permanent"


class SiteUnreachable(Transient):
    """No connection could be made or it was cut."""

    code = "site-unreachable"


class SiteSilent(Transient):
    """A connection was made, but no answer came within the time-out."""

    code = "site-silent"


class Throttled(Transient):
    """The server asks for a pause of `retry_after` seconds (None: it did not say how long)."""

    code = "throttled"

    def __init__(self, what: str, *, retry_after: float | None = None, remedy: str = "", **where: object) -> None:
        super().__init__(what, remedy=remedy, **where)
        self.retry_after = retry_after


class ServerFault(Transient):
    """The server answered with 5xx."""

    code = "server-fault"


class WriteConflict(Transient):
    """Somebody wrote the object since it was read."""

    code = "write-conflict"


class NotYet(Transient):
    """A condition was not met within the time allowed."""

    code = "not-yet"


class LedgerBusy(Transient):
    """The ledger's database did not answer or stayed locked."""

    code = "ledger-busy"


class InvalidInput(Permanent):
    """A file, an event or a parameter is wrong. Name `file`, `field` and `value` in `where`."""

    code = "invalid-input"


class CredentialRejected(Permanent):
    """The server does not accept or does not authorise this credential."""

    code = "credential-rejected"


class NotFound(Permanent):
    """What was asked for does not exist."""

    code = "not-found"


class OwnershipConflict(Permanent):
    """Another field manager owns a field that this apply sets. `managers` and `fields` are in `where`."""

    code = "ownership-conflict"


class Rejected(Permanent):
    """The server refuses the object: schema, admission or quota."""

    code = "rejected"


class IdentityRefused(Permanent):
    """A device is not who it says it is, or is not known."""

    code = "identity-refused"


class ConnectRefused(Permanent):
    """Connecting this cluster to Azure Arc would take it, or its name, away from another."""

    code = "connect-refused"


class OperationFailed(Permanent):
    """A long-running operation of Azure ended in Failed or Canceled."""

    code = "operation-failed"


class BaselineUnproven(Permanent):
    """A site allows what its baseline forbids, or refuses what it allows. `probes` says which, and how."""

    code = "baseline-unproven"


class FencedOff(Permanent):
    """Another run has taken over the site: what this one still wants to write there is refused. Nothing was written."""

    code = "fenced-off"


class PolicyViolated(Permanent):
    """Rendered objects break rules that nobody waived; `reason` has the rules' codes."""

    code = "policy-violated"


class SiteUnfit(Permanent):
    """The site lacks what the stamp needs; `reason` says which check found it."""

    code = "site-unfit"


class Surprising(Permanent):
    """The site differs from what is on record in ways that nobody expected. Nothing was changed."""

    code = "surprising"


class ChainBroken(Permanent):
    """The audit trail does not verify."""

    code = "audit-chain-broken"


class LedgerMismatch(Permanent):
    """The ledger holds something else under the same key, for instance another content for the same stamp version."""

    code = "ledger-mismatch"
