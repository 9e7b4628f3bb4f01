"""The COSEM data types of Anlage II 8.3 (``cod:Data``), in XML and as literals of a URI.

``Data`` is one value of a named type. Octet strings and the fixed-length binary types hold
``bytes``, integers ``int``, text ``str``, arrays and structures tuples of ``Data``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias
from xml.etree.ElementTree import Element, SubElement

from wan.cosem.errors import XmlError
from wan.cosem.xml import COD, local, no_text

Value: TypeAlias = "bool | int | str | bytes | tuple[Data, ...] | CompactArray | None"


@dataclass(frozen=True, slots=True)
class Data:
    """One value.

    Attributes:
        kind: name of the type, as its element is called (``octet-string``).
        value: its value in Python's terms.
    """

    kind: str
    value: Value = None


@dataclass(frozen=True, slots=True)
class TypeDescription:
    """What a compact array's elements look like: type, count (arrays), parts."""

    kind: str
    count: int = 0
    parts: tuple[TypeDescription, ...] = ()


@dataclass(frozen=True, slots=True)
class CompactArray:
    """Type description and packed octets; the octets are not taken apart."""

    description: TypeDescription
    contents: bytes


_INTEGER = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
_BITS = re.compile(r"[01]*", re.ASCII)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# type -> (least, most), the XSD types of Anlage II 8.3; bcd is an Integer8 there
INTEGERS = {
    "double-long": (-(1 << 31), (1 << 31) - 1),
    "double-long-unsigned": (0, (1 << 32) - 1),
    "bcd": (-128, 127),
    "integer": (-128, 127),
    "long": (-(1 << 15), (1 << 15) - 1),
    "unsigned": (0, 255),
    "long-unsigned": (0, (1 << 16) - 1),
    "long64": (-(1 << 63), (1 << 63) - 1),
    "long64-unsigned": (0, (1 << 64) - 1),
    "enum": (0, 255),
}
# type -> octets; None: any number
OCTETS: dict[str, int | None] = {
    "octet-string": None,
    "floating-point": 4,
    "float32": 4,
    "float64": 8,
    "date_time": 12,
    "date": 5,
    "time": 4,
}
TEXTS = ("visible-string", "UTF8-string")
SEQUENCES = ("array", "structure")
EMPTY = ("null-data", "dont-care")
SIMPLE = (*EMPTY, "boolean", "bit-string", *INTEGERS, *OCTETS, *TEXTS)
KINDS = (*SIMPLE, *SEQUENCES, "compact-array")

NULL = Data("null-data")


def octets(value: bytes) -> Data:
    """Return an octet-string."""
    return Data("octet-string", value)


def text(value: str) -> Data:
    """Return a UTF8-string; characters XML cannot carry become U+FFFD."""
    return Data("UTF8-string", _ILLEGAL.sub("\ufffd", value))


def unsigned32(value: int) -> Data:
    """Return a double-long-unsigned."""
    return Data("double-long-unsigned", value)


def structure(*members: Data) -> Data:
    """Return a structure."""
    return Data("structure", members)


def array(*members: Data) -> Data:
    """Return an array."""
    return Data("array", members)


# -- reading ---------------------------------------------------------------------------------


def parse_simple(kind: str, content: str, where: str = "") -> Data:
    """Read the text of a simple type.

    Raises:
        XmlError: the text is none of that type.
    """
    if kind in TEXTS:
        return Data(kind, content)
    trimmed = content.strip(" \t\r\n")
    if kind in EMPTY:
        if trimmed:
            raise XmlError(f"{kind} has no content", where)
        return Data(kind)
    if kind == "boolean":
        if trimmed not in _BOOLEANS:
            raise XmlError(f"{trimmed[:20]!r} is no boolean", where)
        return Data(kind, _BOOLEANS[trimmed])
    if kind == "bit-string":
        if not _BITS.fullmatch(trimmed):
            raise XmlError("a bit-string holds 0 and 1 only", where)
        return Data(kind, trimmed)
    if kind in INTEGERS:
        return Data(kind, _in_range(trimmed, *INTEGERS[kind], where))
    return _parse_octets(kind, trimmed, where)


def _in_range(digits: str, least: int, most: int, where: str = "") -> int:
    if not _INTEGER.fullmatch(digits) or not least <= int(digits) <= most:
        raise XmlError(f"{digits[:24]!r} is not in {least}..{most}", where)
    return int(digits)


def _parse_octets(kind: str, trimmed: str, where: str) -> Data:
    if not _HEX.fullmatch(trimmed):
        raise XmlError(f"{kind} is hexadecimal", where)
    value, length = bytes.fromhex(trimmed), OCTETS[kind]
    if length is not None and len(value) != length:
        raise XmlError(f"{kind} has {length} octets, not {len(value)}", where)
    return Data(kind, value)


def parse_data(element: Element, where: str = "") -> Data:
    """Read one element of ``cod:Data``.

    Raises:
        XmlError: not of the schema.
    """
    kind = local(element, COD)
    if kind not in KINDS:
        raise XmlError(f"no data type {kind[:40]!r}", where)
    if element.attrib:
        raise XmlError(f"{kind} has no attributes", where)
    if kind in SEQUENCES:
        no_text(element, where)
        members = (parse_data(child, f"{where}/{n}") for n, child in enumerate(element, 1))
        return Data(kind, tuple(members))
    if kind == "compact-array":
        return Data(kind, _parse_compact(element, where))
    if len(element):
        raise XmlError(f"{kind} has no child elements", where)
    return parse_simple(kind, element.text or "", where)


def _parse_compact(element: Element, where: str) -> CompactArray:
    no_text(element, where)
    children = list(element)
    names = [local(child, COD) for child in children]
    if names != ["contents-description", "array-contents"] or len(children[0]) != 1:
        raise XmlError("a compact-array has contents-description and array-contents", where)
    contents = parse_simple("octet-string", children[1].text or "", where).value
    assert isinstance(contents, bytes)
    return CompactArray(_parse_description(children[0][0], where), contents)


def _parse_description(element: Element, where: str) -> TypeDescription:
    kind, children = local(element, COD), list(element)
    if kind == "array":
        names = [local(child, COD) for child in children]
        if names != ["number-of-elements", "type-description"] or len(children[1]) != 1:
            raise XmlError(
                "an array description has number-of-elements and type-description", where
            )
        count = parse_simple("long-unsigned", children[0].text or "", where).value
        assert isinstance(count, int)
        return TypeDescription(kind, count, (_parse_description(children[1][0], where),))
    if kind == "structure":
        parts = []
        for child in children:
            if local(child, COD) != "TypeDescription" or len(child) != 1:
                raise XmlError("a structure description has TypeDescription elements", where)
            parts.append(_parse_description(child[0], where))
        return TypeDescription(kind, 0, tuple(parts))
    if kind not in SIMPLE or children:
        raise XmlError(f"no type description {kind[:40]!r}", where)
    return TypeDescription(kind)


# -- writing ---------------------------------------------------------------------------------


def format_simple(data: Data) -> str:
    """Return the text of a simple value."""
    value = data.value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def write_data(parent: Element, data: Data) -> None:
    """Append a value to an element."""
    element = SubElement(parent, f"{{{COD}}}{data.kind}")
    value = data.value
    if isinstance(value, tuple):
        for member in value:
            write_data(element, member)
    elif isinstance(value, CompactArray):
        description = SubElement(element, f"{{{COD}}}contents-description")
        _write_description(description, value.description)
        SubElement(element, f"{{{COD}}}array-contents").text = value.contents.hex()
    elif value is not None:
        element.text = format_simple(data)


def _write_description(parent: Element, description: TypeDescription) -> None:
    element = SubElement(parent, f"{{{COD}}}{description.kind}")
    if description.kind == "array":
        SubElement(element, f"{{{COD}}}number-of-elements").text = str(description.count)
        _write_description(SubElement(element, f"{{{COD}}}type-description"), description.parts[0])
    for part in description.parts if description.kind == "structure" else ():
        _write_description(SubElement(element, f"{{{COD}}}TypeDescription"), part)


# -- literals of a URI (Anlage II 7.7) ---------------------------------------------------------

_LITERAL_NUMBERS = {**INTEGERS, "bcd": (0, 255), "boolean": (-128, 127)}


def parse_literal(literal: str) -> Data:
    """Read ``type:value`` (table 13), e.g. ``long:-12345`` or ``{boolean:1,integer:4}``.

    Raises:
        XmlError: no literal.
    """
    data, rest = _literal(literal, 0)
    if rest:
        raise XmlError(f"{literal[:60]!r} goes on after its end")
    return data


def _literal(source: str, depth: int) -> tuple[Data, str]:
    if depth > 8:
        raise XmlError("literal nested too deep")
    for opening, closing, kind in (("[", "]", "array"), ("{", "}", "structure")):
        if source.startswith(opening):
            return _members(source[1:], closing, kind, depth)
    kind, colon, rest = source.partition(":")
    if not colon or kind not in SIMPLE:
        raise XmlError(f"{source[:40]!r} is no literal")
    end = min((rest.find(mark) for mark in ",]}" if mark in rest), default=len(rest))
    value, rest = rest[:end], rest[end:]
    return _typed(kind, value), rest


def _members(source: str, closing: str, kind: str, depth: int) -> tuple[Data, str]:
    members: list[Data] = []
    while not source.startswith(closing):
        if members:
            if not source.startswith(","):
                raise XmlError("literal: ',' expected")
            source = source[1:]
        member, source = _literal(source, depth + 1)
        members.append(member)
    return Data(kind, tuple(members)), source[1:]


def _typed(kind: str, value: str) -> Data:
    if kind in _LITERAL_NUMBERS:
        number = _in_range(value, *_LITERAL_NUMBERS[kind])
        return Data(kind, bool(number) if kind == "boolean" else number)
    if kind in EMPTY:
        return parse_simple(kind, value)
    octets_value = parse_simple("octet-string", value).value
    assert isinstance(octets_value, bytes)
    if kind == "bit-string":
        return Data(kind, "".join(f"{octet:08b}" for octet in octets_value))
    if kind in TEXTS:
        try:
            return Data(kind, octets_value.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise XmlError(f"{kind} is not UTF-8") from error
    return parse_simple(kind, value)
