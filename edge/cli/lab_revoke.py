"""`edge lab revoke`: the lab's manufacturer takes certificates of devices back, as a real one would."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from cryptography import x509

from edge.cli.output import JsonFlag, emit, speaks
from edge.errors import InvalidInput


@speaks
def revoke(
    devices: Annotated[list[str], typer.Argument(metavar="DEVICE...", help="Ids of devices of the lab.")],
    state: Annotated[Path | None, typer.Option("--state", help="The lab's folder; without it, EDGE_HOME's.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Revoke certificates of devices: the manufacturer's list is written anew, with those of earlier lists in it.

    The platform knows nothing of it until it is given the list with `edge trust crl`.
    """
    from edge.lab.ca import Authority  # noqa: PLC0415 - help stays quick without the lab
    from edge.lab.layout import Layout  # noqa: PLC0415 - as above
    from edge.lab.process import describe  # noqa: PLC0415 - as above
    from edge.settings import Settings  # noqa: PLC0415 - as above

    said = describe(Layout((state or Settings().home / "lab").absolute()))
    maker = said["manufacturer"]
    fresh = {_serial(said, device) for device in devices}
    file = Path(maker["crl_file"])
    earlier = _earlier(file)
    Authority.open(Path(maker["ca_file"]).with_suffix(""), "").revoke(file, sorted(earlier | fresh))
    data = {"file": str(file), "revoked": list(dict.fromkeys(devices)), "certificates": len(earlier | fresh)}
    drawn = (
        f"Revoked certificates: {len(fresh - earlier)} new, {len(earlier | fresh)} in all\nNext: edge trust crl {file}"
    )
    emit(data, drawn, as_json=as_json)


def _serial(said: Mapping[str, Any], device: str) -> int:
    """Serial number of the device's certificate."""
    if device not in {site["device_id"] for site in said["sites"]}:
        raise InvalidInput("The lab has no such device", field="DEVICE", value=device)
    file = Path(said["manufacturer"]["devices"]) / f"{device}.crt"
    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).serial_number
    except (OSError, ValueError) as error:
        raise InvalidInput("The device's certificate cannot be read", file=file) from error


def _earlier(file: Path) -> set[int]:
    """Serial numbers on the list as it is."""
    try:
        return {entry.serial_number for entry in x509.load_pem_x509_crl(file.read_bytes())}
    except FileNotFoundError:
        return set()
    except (OSError, ValueError) as error:
        remedy = "Remove it, and start the lab again: it then writes an empty one"
        raise InvalidInput("The revocation list cannot be read", file=file, remedy=remedy) from error
