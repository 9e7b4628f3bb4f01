"""Nested parameters of a profile as COSEM data: records are structures, tuples are arrays.

Members stand in the order of the record's fields. Integers are long64, text UTF8-string.
"""

from __future__ import annotations

import types
import typing

import msgspec

from wan.cosem.data import NULL, Data, text
from wan.cosem.errors import CosemError


def record_data(value: object) -> Data:
    """Return a parameter as data."""
    if value is None:
        return NULL
    if isinstance(value, msgspec.Struct):
        members = [getattr(value, item.name) for item in msgspec.structs.fields(value)]
        return Data("structure", tuple(record_data(member) for member in members))
    if isinstance(value, tuple | list):
        return Data("array", tuple(record_data(member) for member in value))
    if isinstance(value, bool):
        return Data("boolean", value)
    if isinstance(value, int):
        return Data("long64", value)
    return text(str(value))


def record_plain(data: Data, wanted: object, where: str) -> object:
    """Return data as plain values for ``msgspec.convert``: structures become mappings.

    Raises:
        CosemError: 422, another shape than ``wanted``, a record type or a tuple of one.
    """
    origin = typing.get_origin(wanted)
    if origin in {types.UnionType, typing.Union}:
        if data.kind == "null-data":
            return None
        wanted = next(item for item in typing.get_args(wanted) if item is not type(None))
        return record_plain(data, wanted, where)
    if origin is tuple:
        if data.kind != "array" or not isinstance(data.value, tuple):
            raise CosemError(422, f"array expected, not {data.kind}", where)
        inner = typing.get_args(wanted)[0]
        return [record_plain(item, inner, f"{where}/{n}") for n, item in enumerate(data.value, 1)]
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return _members(data, wanted, where)
    if isinstance(data.value, tuple):
        raise CosemError(422, f"a simple value expected, not {data.kind}", where)
    return data.value


def _members(data: Data, wanted: type[msgspec.Struct], where: str) -> dict[str, object]:
    fields = msgspec.structs.fields(wanted)
    if data.kind != "structure" or not isinstance(data.value, tuple):
        raise CosemError(422, f"structure expected, not {data.kind}", where)
    if len(data.value) != len(fields):
        names = ", ".join(item.name for item in fields)
        raise CosemError(422, f"{len(fields)} members expected: {names}", where)
    hints = typing.get_type_hints(wanted)
    return {
        field.name: record_plain(member, hints[field.name], f"{where}/{field.name}")
        for field, member in zip(fields, data.value, strict=True)
    }
