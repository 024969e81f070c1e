"""A stamp as one archive (`.tar.gz`): the same content gives the same bytes on every machine.

So names are sorted, owners, times and modes are fixed, and the gzip has stored blocks only: what a compressor makes of
a text changes with the version of zlib. A stamp is small.
"""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Mapping

from edge.clients.files import LONGEST_STAMP, MOST_FILES
from edge.clients.stamp_files import StampFiles
from edge.errors import InvalidInput
from edge.model.stamp import StampSource

ARCHIVES = (".tar.gz", ".tgz")
LARGEST = LONGEST_STAMP + MOST_FILES * 4096
"""How many bytes the archive may have, unpacked as well: every file, and what a tar puts around it."""
_BLOCK = 65_535
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def pack_stamp(files: Mapping[str, str]) -> bytes:
    """The archive of these files (path -> text)."""
    return _gzip(tar_of(files))


def tar_of(files: Mapping[str, str]) -> bytes:
    """A plain tar of these files (path -> text), which depends on nothing else."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(files):
            content = files[path].encode()
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))
    return plain.getvalue()


def unpack_stamp(archive: bytes, *, origin: str) -> StampSource:
    """The files in an archive. Raises InvalidInput naming the entry: a link, a device, a path that leads out of the
    stamp, too many, too large; also for what is no archive, or is cut off. NotFound without a stamp.yaml.
    """
    plain = _gunzip(archive, origin)
    files = StampFiles(origin)
    try:
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as opened:
            for member in opened:
                _take(opened, member, files)
    except (tarfile.TarError, UnicodeError, EOFError) as error:
        raise InvalidInput("This is not a stamp's archive", file=origin) from error
    return files.source()


def _take(opened: tarfile.TarFile, member: tarfile.TarInfo, files: StampFiles) -> None:
    path = member.name.removeprefix("./")
    if member.isdir():
        return
    if member.islnk() or member.issym():
        raise files.refuse(path, "A stamp may not contain links")
    if not member.isreg() or member.issparse():
        raise files.refuse(path, "A stamp may contain only files and folders")
    if not files.wants(path, member.size):
        return
    content = opened.extractfile(member)
    assert content is not None  # a regular file has content
    files.add(path, content.read())


def _gzip(plain: bytes) -> bytes:
    """gzip with stored blocks: each has its length twice, the second time with all bits turned."""
    made = [_HEADER]
    for start in range(0, len(plain), _BLOCK):
        block = plain[start : start + _BLOCK]
        is_last = start + _BLOCK >= len(plain)
        made += [bytes([is_last]), _number(len(block), 2), _number(len(block) ^ 0xFFFF, 2), block]
    return b"".join([*made, _number(zlib.crc32(plain), 4), _number(len(plain), 4)])


def _number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def _gunzip(archive: bytes, origin: str) -> bytes:
    reader = zlib.decompressobj(wbits=31)
    try:
        plain = reader.decompress(archive, LARGEST + 1)
    except zlib.error as error:
        raise InvalidInput("This is not a stamp's archive", file=origin) from error
    if len(plain) > LARGEST:
        raise InvalidInput(f"The archive holds more than {LARGEST} bytes", file=origin)
    if not reader.eof:
        raise InvalidInput("The archive is cut off", file=origin)
    return plain
