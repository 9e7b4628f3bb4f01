"""Types of the elements in SML message bodies: how each is checked, read and written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from lmn.sml import tlv
from lmn.sml.bodies import (
    ListEntry,
    PackHeader,
    PackPeriod,
    PackValue,
    PeriodEntry,
    Time,
    Tree,
    TupleEntry,
    Value,
)
from smgw_emu.core.errors import LocalProtocolError, RemoteProtocolError

ABSENT = bytes((tlv.ABSENT,))


class FieldType(NamedTuple):
    """How to read an element from the decoded tree, and how to write it."""

    name: str
    read: Callable[[Any], Any]
    write: Callable[[Any], bytes]


class Field(NamedTuple):
    """A named element of a body."""

    name: str
    type: FieldType
    optional: bool


def opt(name: str, kind: FieldType) -> Field:
    """Declare an optional element."""
    return Field(name, kind, optional=True)


def req(name: str, kind: FieldType) -> Field:
    """Declare a required element."""
    return Field(name, kind, optional=False)


def decode_fields(content: Any, fields: Sequence[Field]) -> list[Any]:
    """Read a list of elements by its layout.

    Raises:
        RemoteProtocolError: wrong number of elements, wrong type, required element absent.
    """
    if not isinstance(content, list) or len(content) != len(fields):
        raise RemoteProtocolError(f"a list of {len(fields)} elements expected")
    values: list[Any] = []
    for field, element in zip(fields, content, strict=True):
        if element is None:
            values.append(_absent(field))
        else:
            values.append(field.type.read(element))
    return values


def _absent(field: Field) -> bytes | None:
    """An empty octet string and an absent element are both 01 on the wire."""
    if field.optional:
        return None
    if field.type is OCTETS:
        return b""
    raise RemoteProtocolError(f"{field.name} is absent")


def encode_fields(record: object, fields: Sequence[Field]) -> bytes:
    """Write the attributes of a record by its layout.

    Raises:
        LocalProtocolError: a required attribute is None or a value does not fit.
    """
    encoded = []
    for name, kind, optional in fields:
        value = getattr(record, name)
        if value is not None:
            encoded.append(kind.write(value))
        elif optional:
            encoded.append(ABSENT)
        else:
            raise LocalProtocolError(f"{name} must not be absent")
    return tlv.sequence(encoded)


# -- scalars ---------------------------------------------------------------------------------


def _read_octets(element: Any) -> bytes:
    if not isinstance(element, bytes):
        raise RemoteProtocolError("octet string expected")
    return element


def _read_bool(element: Any) -> bool:
    if not isinstance(element, bool):
        raise RemoteProtocolError("boolean expected")
    return element


def _number(low: int, high: int) -> Callable[[Any], int]:
    def read(element: Any) -> int:
        if not isinstance(element, int) or isinstance(element, bool) or not low <= element <= high:
            raise RemoteProtocolError(f"number from {low} to {high} expected")
        return element

    return read


OCTETS = FieldType("octet string", _read_octets, tlv.octet_string)
BOOL = FieldType("boolean", _read_bool, tlv.boolean)
UNSIGNED8 = FieldType("Unsigned8", _number(0, 0xFF), lambda value: tlv.unsigned(value, 1))
UNSIGNED32 = FieldType("Unsigned32", _number(0, (1 << 32) - 1), lambda v: tlv.unsigned(v, 4))
UNSIGNED64 = FieldType("Unsigned64", _number(0, (1 << 64) - 1), lambda v: tlv.unsigned(v, 8))
INTEGER8 = FieldType("Integer8", _number(-128, 127), lambda value: tlv.integer(value, 1))


def _read_value(element: Any) -> Value:
    if isinstance(element, (bytes, int)):
        return element
    raise RemoteProtocolError("octet string, boolean or number expected")


def _write_value(value: Value) -> bytes:
    if isinstance(value, bytes):
        return tlv.octet_string(value)
    if isinstance(value, bool):
        return tlv.boolean(value)
    if isinstance(value, int):
        return tlv.number(value)
    raise LocalProtocolError(f"no SML value: {type(value).__name__}")


VALUE = FieldType("value", _read_value, _write_value)


# -- time ------------------------------------------------------------------------------------

_U32_MAX = (1 << 32) - 1


def read_optional_time(element: Any) -> Time | None:
    """Read SML_Time or None; a bare Unsigned32 (old Holley meters) is a seconds index."""
    return None if element is None else _read_time(element)


def _read_time(element: Any) -> Time:
    if isinstance(element, int) and not isinstance(element, bool) and 0 <= element <= _U32_MAX:
        return Time(1, element)
    if isinstance(element, list) and len(element) == 2:
        kind, content = element
        if kind in {1, 2} and isinstance(content, int) and 0 <= content <= _U32_MAX:
            return Time(int(kind), int(content))
        if kind == 3 and isinstance(content, list) and len(content) == 3:
            seconds, local_offset, season_offset = content
            if all(isinstance(part, int) for part in content) and 0 <= seconds <= _U32_MAX:
                return Time(3, _U32(seconds), _I16(local_offset), _I16(season_offset))
    raise RemoteProtocolError("SML_Time expected")


_U32 = _number(0, _U32_MAX)
_I16 = _number(-0x8000, 0x7FFF)


def _write_time(time: Time) -> bytes:
    seconds = tlv.unsigned(time.seconds, 4)
    if time.kind != 3:
        return tlv.sequence([tlv.unsigned(time.kind, 1), seconds])
    if time.local_offset is None or time.season_offset is None:
        raise LocalProtocolError("a local timestamp has two offsets")
    offsets = [tlv.integer(time.local_offset, 2), tlv.integer(time.season_offset, 2)]
    return tlv.sequence([tlv.unsigned(3, 1), tlv.sequence([seconds, *offsets])])


TIME = FieldType("time", _read_time, _write_time)


# -- lists of equal records --------------------------------------------------------------------


def list_of(name: str, read: Callable[[Any], Any], write: Callable[[Any], bytes]) -> FieldType:
    """Declare a list whose elements all have one type."""

    def read_all(element: Any) -> tuple[Any, ...]:
        if not isinstance(element, list):
            raise RemoteProtocolError(f"list of {name} expected")
        return tuple([read(item) for item in element])

    def write_all(values: Sequence[Any]) -> bytes:
        return tlv.sequence([write(value) for value in values])

    return FieldType(f"list of {name}", read_all, write_all)


def record(cls: type[Any], *fields: Field) -> FieldType:
    """Declare a record with a fixed layout."""
    return FieldType(
        cls.__name__,
        lambda element: cls(
            **dict(zip([f.name for f in fields], decode_fields(element, fields), strict=True))
        ),
        lambda value: encode_fields(value, fields),
    )


def _list(kind: FieldType) -> FieldType:
    return list_of(kind.name, kind.read, kind.write)


def _read_item_octets(element: Any) -> bytes:
    return b"" if element is None else _read_octets(element)


OBJECTS = list_of(OCTETS.name, _read_item_octets, OCTETS.write)
PACK_HEADERS = _list(
    record(PackHeader, req("name", OCTETS), req("unit", UNSIGNED8), req("scaler", INTEGER8))
)
PACK_PERIODS = _list(
    record(
        PackPeriod,
        req("val_time", TIME),
        req("status", UNSIGNED64),
        req("values", _list(record(PackValue, req("value", VALUE), opt("signature", OCTETS)))),
        opt("signature", OCTETS),
    )
)
PERIOD_ENTRY = record(
    PeriodEntry,
    req("name", OCTETS),
    req("unit", UNSIGNED8),
    req("scaler", INTEGER8),
    req("value", VALUE),
    opt("signature", OCTETS),
)
PROFILE_ENTRIES = _list(PERIOD_ENTRY)
_LIST_ENTRY_FIELDS = (
    req("name", OCTETS),
    opt("status", UNSIGNED64),
    opt("time", TIME),
    opt("unit", UNSIGNED8),
    opt("scaler", INTEGER8),
    opt("value", VALUE),  # required by the text, but EMH IW8E sends an empty element
    opt("signature", OCTETS),
)
LIST_ENTRY = record(ListEntry, *_LIST_ENTRY_FIELDS)


def read_list_entries(element: Any) -> tuple[ListEntry, ...]:
    """Read the registers of a list response; the hot path of :data:`LIST_ENTRY`."""
    if not isinstance(element, list):
        raise RemoteProtocolError("list of ListEntry expected")
    entries = []
    for item in element:
        if not isinstance(item, list) or len(item) != 7:
            raise RemoteProtocolError("a list entry has 7 elements")
        name, status, time, unit, scaler, value, signature = item
        name = b"" if name is None else name
        plain = (
            type(name) is bytes
            and (status is None or type(status) is int)
            and (unit is None or (type(unit) is int and 0 <= unit <= 0xFF))
            and (scaler is None or (type(scaler) is int and -128 <= scaler <= 127))
            and type(value) is not list
            and (signature is None or type(signature) is bytes)
        )
        if not plain or (status is not None and status < 0):
            raise RemoteProtocolError("a list entry has an element of a wrong type")
        moment = None if time is None else _read_time(time)
        entries.append(ListEntry(name, value, unit, scaler, status, moment, signature))
    return tuple(entries)


LIST_ENTRIES = list_of("ListEntry", LIST_ENTRY.read, LIST_ENTRY.write)

# SML_TupelEntry: server id, time, status, then (unit, scaler, value) for +A, R1, R4, a signature,
# the same for -A, R2, R3 and a second signature.
_TUPLE_TYPES = (
    OCTETS, TIME, UNSIGNED64, *(UNSIGNED8, INTEGER8, VALUE) * 3, OCTETS,
    *(UNSIGNED8, INTEGER8, VALUE) * 3, OCTETS,
)  # fmt: skip


def _read_tuple(element: Any) -> TupleEntry:
    if not isinstance(element, list) or len(element) != len(_TUPLE_TYPES):
        raise RemoteProtocolError(f"SML_TupelEntry has {len(_TUPLE_TYPES)} elements")
    pairs = zip(_TUPLE_TYPES, element, strict=True)
    return TupleEntry(tuple(None if item is None else kind.read(item) for kind, item in pairs))


def _write_tuple(entry: TupleEntry) -> bytes:
    if len(entry.elements) != len(_TUPLE_TYPES):
        raise LocalProtocolError(f"SML_TupelEntry has {len(_TUPLE_TYPES)} elements")
    pairs = zip(_TUPLE_TYPES, entry.elements, strict=True)
    return tlv.sequence([ABSENT if item is None else kind.write(item) for kind, item in pairs])


# -- trees -------------------------------------------------------------------------------------

# SML_ProcParValue: choice number -> type and Python class.
_CHOICES: dict[int, FieldType] = {
    1: VALUE,
    2: PERIOD_ENTRY,
    3: FieldType("tuple", _read_tuple, _write_tuple),
    4: TIME,
    5: LIST_ENTRY,
}
_CHOICE_OF: dict[type, int] = {PeriodEntry: 2, TupleEntry: 3, Time: 4, ListEntry: 5}


def _read_tree(element: Any) -> Tree:
    if not isinstance(element, list) or len(element) != 3:
        raise RemoteProtocolError("SML_Tree has 3 elements")
    name, value, children = element
    if value is not None:
        if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], int):
            raise RemoteProtocolError("SML_ProcParValue is a choice")
        choice = _CHOICES.get(value[0])
        if choice is None or value[1] is None:
            raise RemoteProtocolError(f"SML_ProcParValue has no choice {value[0]}")
        value = choice.read(value[1])
    if children is not None:
        if not isinstance(children, list):
            raise RemoteProtocolError("children of SML_Tree are a list")
        children = tuple([_read_tree(child) for child in children])
    return Tree(_read_item_octets(name), value, children)


def _write_tree(tree: Tree) -> bytes:
    value = ABSENT
    if tree.value is not None:
        number = _CHOICE_OF.get(type(tree.value), 1)
        content = _CHOICES[number].write(tree.value)
        value = tlv.sequence([tlv.unsigned(number, 1), content])
    children = ABSENT
    if tree.children is not None:
        children = tlv.sequence([_write_tree(child) for child in tree.children])
    return tlv.sequence([tlv.octet_string(tree.name), value, children])


TREE = FieldType("tree", _read_tree, _write_tree)
