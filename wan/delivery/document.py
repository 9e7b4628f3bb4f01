"""The value list in the class-based XML seen on real traffic (``wan.md`` 3.9).

``profile_generic-1`` object of class 7: logical name, captured registers, and a buffer with one
column per register and one ``entry_gateway_signed`` per value. The status is the 16 hex digits that
values to market participants carry (SMGW word, meter word). The schema itself is for sale; this is
the shape of the samples, and the reader skips elements it does not know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import DeviceTime, parse_device_time
from wan.cosem.errors import XmlError
from wan.cosem.xml import parse

GENERIC = "urn:k461-dke-de:profile_generic-1"
EXTENSION = "urn:k461-dke-de:extension-1"
VALUE_LIST = "01005e31803c"  # wan.md 3.9: originaere Messwertliste
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){0,256}", re.ASCII)
_NAME = re.compile(r"[0-9a-f]{12}\.[0-9a-z.-]{1,100}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """One value.

    Attributes:
        value, scaler, unit: as in a COSEM register.
        status: 16 hex digits.
        capture: when it was taken.
        signature: r||s, b"" without one.
    """

    value: int
    scaler: int
    unit: int
    status: str
    capture: DeviceTime
    signature: bytes = b""


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one register.

    Attributes:
        name: ``<obis>.<owner>.sm``.
        entries: oldest first.
    """

    name: str
    entries: tuple[Entry, ...]

    @property
    def obis(self) -> str:
        """The register, 12 hex digits."""
        return self.name.partition(".")[0]

    @property
    def owner(self) -> str:
        """Meter or contract, without ``.sm``."""
        return self.name.partition(".")[2].removesuffix(".sm")


@dataclass(frozen=True, slots=True)
class ValueList:
    """A delivery.

    Attributes:
        contract: logical name of the evaluation profile, ``01005e318027.taf7-1.sm``.
        gateway: logical device the list belongs to, ``<id>.sm`` or a pseudonym.
        columns: one per register.
    """

    contract: str
    gateway: str
    columns: tuple[Column, ...]


def _generic(name: str) -> str:
    return f"{{{GENERIC}}}{name}"


def _extension(name: str) -> str:
    return f"{{{EXTENSION}}}{name}"


def escape(text: str) -> str:
    """Return text for XML; the modules that have this bring megabytes with them."""
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(mark, entity)
    return text


def write_value_list(values: ValueList) -> bytes:
    """Return the document.

    Written as text: a day of quarter hours is 800 elements, and nothing in it needs more than the
    escaping of three names.
    """
    count = len(values.columns)
    captured = "".join(
        f'<e:capture_object id="{number}"><e:logical_name>{escape(column.name)}</e:logical_name>'
        "</e:capture_object>"
        for number, column in enumerate(values.columns, 1)
    )
    columns = "".join(
        f'<g:column id="{number}" count="{len(column.entries)}">{_entries(column)}</g:column>'
        for number, column in enumerate(values.columns, 1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<g:object xmlns:g="{GENERIC}" xmlns:e="{EXTENSION}" class_id="7"'
        f' id="{escape(values.contract)}">'
        '<g:attributes count="3">'
        f'<e:logical_name id="1">{VALUE_LIST}.{escape(values.gateway)}</e:logical_name>'
        f'<e:capture_objects id="2" count="{count}">{captured}</e:capture_objects>'
        f'<e:buffer id="3"><g:simple_data count="{count}">{columns}</g:simple_data></e:buffer>'
        "</g:attributes></g:object>"
    ).encode()


def _entries(column: Column) -> str:
    rows = []
    for number, entry in enumerate(column.entries, 1):
        signed = (
            f"<e:smgw_signature>{entry.signature.hex()}</e:smgw_signature>"
            if entry.signature
            else ""
        )
        rows.append(
            f'<g:entry_gateway_signed id="{number}">'
            f"<e:value><e:long64>{entry.value}</e:long64></e:value><e:scaler>{entry.scaler}</e:scaler>"
            f"<e:unit>{entry.unit}</e:unit>"
            f"<e:status><e:octet-string>{entry.status}</e:octet-string></e:status>"
            f"<e:capture_time>{entry.capture.iso()}</e:capture_time>{signed}"
            "</g:entry_gateway_signed>"
        )
    return "".join(rows)


# -- reading ---------------------------------------------------------------------------------


def read_value_list(data: bytes) -> ValueList:
    """Read a delivery.

    Raises:
        XmlError: not a value list, or a value is none.
    """
    root = parse(data)
    if root.tag != _generic("object") or root.get("class_id") != "7":
        raise XmlError("not a profile generic object")
    attributes = _child(root, _generic("attributes"))
    name = _child(attributes, _extension("logical_name")).text or ""
    names = {
        item.get("id", ""): (_child(item, _extension("logical_name")).text or "").strip()
        for item in _child(attributes, _extension("capture_objects"))
    }
    buffer = _child(_child(attributes, _extension("buffer")), _generic("simple_data"))
    columns = []
    for column in buffer.findall(_generic("column")):
        shown = names.get(column.get("id", ""), "")
        if not _NAME.fullmatch(shown):
            raise XmlError("a column has no captured object", "column")
        rows = column.findall(_generic("entry_gateway_signed"))
        entries = tuple(_read_entry(row, f"{shown}/{n}") for n, row in enumerate(rows, 1))
        columns.append(Column(shown, entries))
    return ValueList(root.get("id", ""), name.strip().partition(".")[2], tuple(columns))


def _child(element: Element, tag: str) -> Element:
    found = element.find(tag)
    if found is None:
        raise XmlError(f"<{tag.rpartition('}')[2]}> is missing")
    return found


def _text(element: Element, *path: str) -> str:
    for name in path:
        element = _child(element, _extension(name))
    return (element.text or "").strip()


def _integer(content: str, where: str) -> int:
    if not _INTEGER.fullmatch(content):
        raise XmlError(f"{content[:24]!r} is no integer", where)
    return int(content)


def _read_entry(row: Element, where: str) -> Entry:
    status = _text(row, "status", "octet-string").lower()
    signature = row.find(_extension("smgw_signature"))
    octets = "" if signature is None else (signature.text or "").strip()
    if len(status) != 16 or not _HEX.fullmatch(status) or not _HEX.fullmatch(octets):
        raise XmlError("status or signature is not hexadecimal", where)
    try:
        capture = parse_device_time(_text(row, "capture_time"))
    except RemoteProtocolError as error:
        raise XmlError(str(error), where) from error
    return Entry(
        _integer(_text(row, "value", "long64"), where),
        _integer(_text(row, "scaler"), where),
        _integer(_text(row, "unit"), where),
        status,
        capture,
        bytes.fromhex(octets),
    )
