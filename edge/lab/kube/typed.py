"""Bodies that are not stored objects (reviews, evictions, delete options): read and checked against their kind."""

from __future__ import annotations

from edge.lab.kube.bodies import decode_object
from edge.lab.kube.call import Call
from edge.lab.kube.checks import undecodable, wrong_types
from edge.lab.kube.schema import builtin_schema
from edge.lab.kube.store import Obj

_Kind = tuple[str, str, str]
EVICTION: _Kind = ("policy", "v1", "Eviction")
BINDING: _Kind = ("", "v1", "Binding")
SCALE: _Kind = ("autoscaling", "v1", "Scale")
TOKEN_REQUEST: _Kind = ("authentication.k8s.io", "v1", "TokenRequest")
DELETE_OPTIONS: _Kind = ("", "v1", "DeleteOptions")


def read_typed(call: Call, kind: _Kind) -> Obj:
    """The body as an object of `kind`: unknown fields dropped, every value of its type. ApiError 400 otherwise."""
    return as_typed(decode_object(call.body, call.headers.get("content-type", "")), kind)


def as_typed(obj: Obj, kind: _Kind) -> Obj:
    """`obj` checked in place as an object of `kind`."""
    schema = builtin_schema(*kind)
    if schema is None:
        raise KeyError(kind)
    schema.prune(obj)
    wrong = wrong_types(schema, obj)
    if wrong:
        raise undecodable(kind[2], kind[1], wrong[0].message)
    return obj
