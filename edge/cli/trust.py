"""`edge trust`: whom the platform believes. Who is trusted at all is set by files; the rest is kept in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from rich.console import Group
from rich.markup import escape

from edge.cli import trust_keys, trust_owners
from edge.cli.context import device_admission, open_ledger
from edge.cli.output import BAD_OUTCOME, JsonFlag, console, emit, speaks, table
from edge.clients.files import read_text
from edge.errors import InvalidInput
from edge.model.admission import Need, RevocationList
from edge.policy.identity import public_key_fingerprint, trusted_certificates
from edge.policy.revocation import read_crl

if TYPE_CHECKING:
    from blocks.admission import DeviceAdmission

app = typer.Typer(help="Whom the platform believes.")
app.command("allow")(trust_owners.allow)
app.command("voucher")(trust_owners.voucher)
app.command("owners")(trust_owners.owners)
app.command("withdraw")(trust_owners.withdraw)
app.command("revoke-key")(trust_keys.revoke_key)
app.command("restore-key")(trust_keys.restore_key)

MAX_CRL_BYTES = 50_000_000


@app.command()
@speaks
def show(as_json: JsonFlag = False) -> None:
    """Show whom the platform trusts, how much a device must prove, and what is revoked."""
    now = datetime.now(UTC)
    block = device_admission()
    with open_ledger() as ledger:
        lists, keys = ledger.revocations.lists(), ledger.revocations.keys()
    anchors = list(_anchors(block, now))
    policy = block.admission_policy()
    kept = [_list_item(one, now) for one in lists]
    unlisted = sorted(
        anchor["subject"]
        for anchor in anchors
        if anchor["for"] == "devices" and anchor["key"] not in {one["issuer"] for one in kept}
    )
    data = {
        "anchors": anchors,
        "policy": policy.model_dump(mode="json", by_alias=True),
        "revocation_lists": kept,
        "issuers_without_list": unlisted,
        "revoked_keys": [key.model_dump(mode="json") for key in keys],
    }
    if as_json:
        emit(data, "", as_json=True)
        return
    console.print(Group(*_tables(data, needs_lists=policy.revocation_list is Need.REQUIRED)))


@app.command()
@speaks
def crl(
    file: Annotated[Path, typer.Argument(help="A revocation list, PEM; its issuers in between may stand beside it.")],
    as_json: JsonFlag = False,
) -> None:
    """Take in an issuer's revocation list, when it is newer than the one on record.

    Ends with 1 for one that is older, or that says something else under the same number.
    """
    now = datetime.now(UTC)
    given = _read_list(file, device_admission().anchors(), now)
    with open_ledger() as ledger:
        kept = ledger.revocations.put_list(given)
        (known,) = (one for one in ledger.revocations.lists() if one.issuer == given.issuer)
    item = _list_item(given, now)
    verdict = "kept" if kept else _why_not(given, known)
    data = {**item, "verdict": verdict, "on_record": known.number}
    late = ". It is out of date: fetch a newer one" if item["state"] == "out of date" else ""
    emit(data, escape(f"{_SAID[verdict].format(known=_number(known))}: {_told(item)}{late}"), as_json=as_json)
    if verdict in {"older", "contradicts"}:
        raise typer.Exit(BAD_OUTCOME)


_SAID = {
    "kept": "The list is now the one on record",
    "same": "The list is on record already",
    "older": "The list is older than the one on record ({known}); nothing was changed",
    "contradicts": "The list says something else than the one on record ({known}) and is no newer; nothing was changed",
}


def _read_list(file: Path, anchors: Sequence[str], now: datetime) -> RevocationList:
    try:
        return read_crl(read_text(file, MAX_CRL_BYTES), anchors=anchors, now=now)
    except InvalidInput as error:
        binary = "A binary list (DER) becomes PEM with `openssl crl -inform DER`"
        remedy = error.remedy or (binary if "UTF-8" in error.what else "")
        raise InvalidInput(error.what, remedy=remedy, **{**error.where, "file": file}) from error


def _why_not(given: RevocationList, known: RevocationList) -> str:
    if given.pem == known.pem:
        return "same"
    same = (given.number, given.this_update) == (known.number, known.this_update)
    return "contradicts" if same else "older"


def _anchors(block: DeviceAdmission, now: datetime) -> Iterator[dict[str, Any]]:
    """Each trusted certificate. `fingerprint` is what `openssl x509 -fingerprint -sha256` says, `key` its key's."""
    for use, pem in (("devices", block.trusted), ("vouchers", block.voucher_trusted), ("TPMs", block.tpm_trusted)):
        for one in trusted_certificates((pem,)) if pem else ():
            yield {
                "for": use,
                "subject": one.subject.rfc4514_string(),
                "fingerprint": one.fingerprint(hashes.SHA256()).hex(),
                "key": public_key_fingerprint(one),
                "until": one.not_valid_after_utc.isoformat(),
                "expired": one.not_valid_after_utc < now,
            }


def _list_item(one: RevocationList, now: datetime) -> dict[str, Any]:
    state = "no end named" if one.next_update is None else "current" if now <= one.next_update else "out of date"
    return {
        **one.model_dump(mode="json", exclude={"pem"}),
        "state": state,
        "revoked": len(x509.load_pem_x509_crl(one.pem.encode())),
    }


def _number(one: RevocationList) -> str:
    return f"number {one.number} of {one.this_update:%Y-%m-%d %H:%M}"


def _told(item: dict[str, Any]) -> str:
    until = f", next {_minute(item['next_update'])}" if item["next_update"] else ""
    when = f"number {item['number']} of {_minute(item['this_update'])}{until}"
    return f"{item['issuer_name']}, {when}, revoked certificates: {item['revoked']}"


def _minute(text: str | None) -> str:
    return (text or "")[:16].replace("T", " ")


def _tables(data: dict[str, Any], *, needs_lists: bool) -> Iterator[Any]:
    anchors = [
        (one["for"], one["subject"], one["fingerprint"], one["until"][:10] + (" EXPIRED" if one["expired"] else ""))
        for one in data["anchors"]
    ]
    yield table("Trusted", ("for", "subject", "fingerprint (SHA-256)", "until"), anchors)
    yield table("Admission policy", ("what", "rule"), list(_policy_rows(data["policy"])))
    lists = [
        (
            one["issuer_name"],
            one["number"],
            _minute(one["this_update"]),
            _minute(one["next_update"]),
            one["state"],
            one["revoked"],
        )
        for one in data["revocation_lists"]
    ]
    none = "NONE, and one is required" if needs_lists else "none on record"
    lists += [(subject, "", "", "", none, "") for subject in data["issuers_without_list"]]
    yield table("Revocation lists", ("issuer", "number", "this update", "next update", "state", "revoked"), lists)
    keys = [(key["fingerprint"], key["device_id"], key["reason"], _minute(key["at"])) for key in data["revoked_keys"]]
    yield table("Keys revoked here", ("key (SHA-256)", "device", "reason", "since"), keys)


def _policy_rows(policy: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("proof", "ownership", "attestation", "revocationList"):
        yield name, policy[name]
    yield "bootReferences", ", ".join(one["name"] for one in policy["bootReferences"]) or "none"
