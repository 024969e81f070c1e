"""`edge stamp package`: a stamp as one artifact, for a registry or a file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from edge.cli.output import JsonFlag, emit, speaks, table
from edge.clients.files import write_new
from edge.clients.stamp_archive import ARCHIVES, pack_stamp
from edge.errors import InvalidInput, NotFound
from edge.model.stamp import Stamp, StampSource
from edge.policy.stamp import parse_stamp
from edge.settings import Settings


@speaks
def package(
    stamp: Annotated[str, typer.Argument(help="The stamp's folder, or a shipped stamp's name.")],
    to: Annotated[str, typer.Option("--to", help="FILE.tar.gz, or oci://host/repository[:tag].")],
    as_json: JsonFlag = False,
) -> None:
    """Make one artifact of a stamp: the same content gives the same bytes, and a tag is never given to another content.

    The address by digest is printed; `edge stamp roll-out` takes it, the tag's, and the file. Logins of registries come
    from Docker's config.json, a private CA from EDGE_REGISTRY_CA_FILE.
    """
    source = _source(stamp)
    parsed = parse_stamp(source)
    address, digest = _put(parsed, source, to)
    said = {"stamp": parsed.name, "version": parsed.version, "digest": parsed.digest, "address": address}
    row = (parsed.name, parsed.version, parsed.digest[:12], address)
    shown = table("Packaged", ("stamp", "version", "content", "address"), [row])
    emit({**said, "artifact": digest}, shown, as_json=as_json)


def _source(stamp: str) -> StampSource:
    from edge.clients.stamp_artifacts import read_stamp_source  # noqa: PLC0415 - registries take long to import

    try:
        return read_stamp_source(stamp, Settings().stamp_folders)
    except NotFound as missing:
        raise InvalidInput(missing.what, remedy=missing.remedy, **missing.where) from missing


def _put(stamp: Stamp, source: StampSource, to: str) -> tuple[str, str]:
    """Where it is now, and the digest of what is there."""
    from edge.clients.stamp_artifacts import push_stamp  # noqa: PLC0415 - as above

    if to.startswith("oci://"):
        address = push_stamp(stamp, source, to)
        return address, address.rpartition("@")[2]
    if not to.endswith(ARCHIVES):
        remedy = "Write a file that ends in .tar.gz, or oci://host/repository"
        raise InvalidInput("A stamp cannot be packaged to this", remedy=remedy, field="--to", value=to)
    content = pack_stamp(source.files)
    write_new(Path(to), content)
    return to, f"sha256:{hashlib.sha256(content).hexdigest()}"
