"""PCR values: whether they are the quoted ones, and which known good boot they fit.

A refusal names the PCRs that differ from the nearest reference set, so that an operator sees at once whether the
firmware (0), its settings (1), the boot loader (4) or the secure boot keys (7) are others.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from edge.errors import IdentityRefused
from edge.model.admission import PcrReference
from edge.model.identity import Refusal
from edge.policy.tpm_key import HASHES
from edge.policy.tpm_quote import Quote
from edge.policy.tpm_wire import invalid, refused

Pcrs = Mapping[tuple[str, int], bytes]
"""Values by bank and index."""

MAX_PCR: Final = 31
_SIZES: Final = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
_SHOWN: Final = 4


def read_pcrs(banks: Mapping[str, Mapping[str, str]]) -> dict[tuple[str, int], bytes]:
    """The values that a device tells. Raises IdentityRefused (`attestation-invalid`) when one is malformed."""
    return {
        (bank, _index(index)): _value(bank, value) for bank, found in banks.items() for index, value in found.items()
    }


def check_digest(quote: Quote, pcrs: Pcrs, *, hash_alg: int) -> None:
    """The digest in the quote must be that of the values, in the order in which the quote selects them.

    A value that the quote does not cover is refused as well: nothing would vouch for it.
    """
    if not quote.selection:
        raise invalid("The quote covers no PCR")
    if set(pcrs) != set(quote.selection):
        raise invalid("The PCR values are not those that the quote selects")
    digest = hashlib.new(HASHES[hash_alg]().name, b"".join(pcrs[place] for place in quote.selection)).digest()
    if not hmac.compare_digest(digest, quote.pcr_digest):
        raise invalid("The PCR values are not the ones that were quoted")


def fitting_reference(pcrs: Pcrs, references: Sequence[PcrReference], *, model: str) -> str:
    """Name of the first reference set for this model that the values fit; empty when the policy has no sets at all.

    Raises IdentityRefused (`pcr-mismatch`) that names what differs from the nearest set.
    """
    if not references:
        return ""
    fits = [reference for reference in references if reference.model in ("", model)]
    if not fits:
        raise _mismatch(f"No reference set is for the model {model!r}")
    differing = {reference.name: tuple(_differing(pcrs, reference)) for reference in fits}
    nearest = min(differing, key=lambda name: len(differing[name]))
    if differing[nearest]:
        raise _mismatch(_told(nearest, differing[nearest]))
    return nearest


def as_reference(name: str, model: str, pcrs: Pcrs, *, only: Sequence[int] = ()) -> PcrReference:
    """These values as a reference set; `only` names the PCRs to keep (empty: all)."""
    banks: dict[str, dict[str, tuple[str, ...]]] = {}
    for (bank, index), value in sorted(pcrs.items()):
        if not only or index in only:
            banks.setdefault(bank, {})[str(index)] = (value.hex(),)
    return PcrReference(name=name, model=model, pcrs=banks)


def _differing(pcrs: Pcrs, reference: PcrReference) -> Iterable[str]:
    if not any(reference.pcrs.values()):
        yield "it names no PCR"
    for bank, allowed in sorted(reference.pcrs.items()):
        for index, values in sorted(allowed.items(), key=lambda item: item[0].zfill(2)):
            found = pcrs.get((bank, int(index))) if index.isdecimal() else None
            if found is None:
                yield f"PCR {index} of {bank} was not quoted"
            elif found.hex() not in {value.lower().removeprefix("0x") for value in values}:
                known = ", ".join(value.removeprefix("0x")[:8] for value in values[:_SHOWN])
                yield f"PCR {index} of {bank} is {found.hex()[:8]}, known {known}"


def _told(name: str, differing: Sequence[str]) -> str:
    more = f", and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    return f"Nearest is the reference set {name!r}, but {'; '.join(differing[:_SHOWN])}{more}"


def _index(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 2 and str(int(text)) == text and int(text) <= MAX_PCR):
        raise invalid(f"There is no PCR {text[:8]!r}")
    return int(text)


def _value(bank: str, text: str) -> bytes:
    if bank not in _SIZES:
        raise invalid(f"There is no PCR bank {bank[:16]!r}")
    try:
        value = bytes.fromhex(text)
    except ValueError as error:
        raise invalid(f"A PCR value of the bank {bank} is not hex") from error
    if len(value) != _SIZES[bank] or len(text) != 2 * _SIZES[bank]:
        raise invalid(f"A PCR value of the bank {bank} has not {_SIZES[bank]} bytes")
    return value


def _mismatch(what: str) -> IdentityRefused:
    remedy = "Add a reference set to the admission policy if this boot is a good one (`edge device pcrs`)"
    return refused(Refusal.PCR_MISMATCH, what, remedy)
