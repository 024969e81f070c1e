"""Protobuf bodies: what kubectl's typed commands send becomes JSON, and nothing strange passes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.lab.kube.errors import ApiError
from edge.lab.kube.protobuf import MAGIC, decode


def _varint(number: int) -> bytes:
    out = b""
    while True:
        number, low = number >> 7, number & 0x7F
        out += bytes([low | (0x80 if number else 0)])
        if not number:
            return out


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    head = _bytes(1, api_version) + _bytes(2, kind)
    return MAGIC + _bytes(1, head) + _bytes(2, raw) + _bytes(3, "") + _bytes(4, "")


def test_a_namespace_is_read_without_what_go_writes_for_nothing() -> None:
    labels = _bytes(11, _bytes(1, "a") + _bytes(2, "b"))
    meta = _bytes(1, "line") + _bytes(3, "") + _bytes(5, "") + _number(7, 0) + _bytes(8, b"") + labels
    body = _envelope("v1", "Namespace", _bytes(1, meta) + _bytes(2, b"") + _bytes(3, _bytes(1, "")))
    assert decode(body) == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "line", "labels": {"a": "b"}},
        "spec": {},
        "status": {},
    }


def test_numbers_text_and_bytes_keep_their_meaning() -> None:
    port = _number(3, 80) + _bytes(4, _number(1, 1) + _bytes(3, "http")) + _number(5, 0)
    service = _envelope("v1", "Service", _bytes(2, _bytes(1, port) + _bytes(2, _bytes(1, "app") + _bytes(2, "x"))))
    assert decode(service)["spec"] == {"ports": [{"port": 80, "targetPort": "http"}], "selector": {"app": "x"}}
    secret = _envelope("v1", "Secret", _bytes(2, _bytes(1, "k") + _bytes(2, b"\x00\xff")))
    assert decode(secret)["data"] == {"k": "AP8="}


def test_a_negative_number_and_a_false_pointer_are_kept() -> None:
    scale = _envelope("autoscaling/v1", "Scale", _bytes(2, _number(1, 2**64 - 1)))
    assert decode(scale)["spec"] == {"replicas": -1}
    config = _envelope("v1", "ConfigMap", _number(4, 0))
    assert decode(config)["immutable"] is False


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"kind":"Namespace"}', id="json"),
        pytest.param(_envelope("v1", "Unheard", b""), id="kind"),
        pytest.param(_envelope("v1", "Namespace", _number(99, 1)), id="field"),
        pytest.param(_envelope("v1", "Namespace", _bytes(1, b"\x0a\x7f")), id="cut"),
    ],
)
def test_what_is_not_understood_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        decode(body)
    assert refused.value.code == 400


@given(st.binary(max_size=200), st.sampled_from(["Namespace", "Deployment", "Ingress", "DeleteOptions"]))
def test_no_bytes_break_the_reader(raw: bytes, kind: str) -> None:
    with suppress(ApiError):
        assert decode(_envelope("v1", kind, raw))["kind"] == kind
