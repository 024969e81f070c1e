"""The agents' chart as an archive: the folder `chart/`, packed so that the same files always give the same bytes."""

from __future__ import annotations

import gzip
import io
import tarfile
from importlib import resources
from importlib.resources.abc import Traversable

import yaml


def chart_metadata() -> dict[str, str]:
    """Name, version and the rest of Chart.yaml."""
    text = _folder().joinpath("Chart.yaml").read_text(encoding="utf-8")
    metadata: dict[str, str] = yaml.safe_load(text)
    return metadata


def chart_archive() -> bytes:
    """The chart as Helm packs it: a gzipped tar with everything below a folder of the chart's name."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        _add(archive, _folder(), chart_metadata()["name"])
    return gzip.compress(plain.getvalue(), mtime=0)


def _folder() -> Traversable:
    return resources.files("edge.lab.azure").joinpath("chart")


def _add(archive: tarfile.TarFile, source: Traversable, name: str) -> None:
    if source.is_dir():
        for child in sorted(source.iterdir(), key=lambda one: one.name):
            _add(archive, child, f"{name}/{child.name}")
        return
    content = source.read_bytes()
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o644
    archive.addfile(member, io.BytesIO(content))
