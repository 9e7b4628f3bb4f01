"""Evaluation profiles as XML, the content of ``taf-profile`` (TR-03109-1 v1.0 4.4.1: MUST be XML).

The real schema (DIN VDE V 0418-63-8) is for sale; ``wan.md`` 3.9 shows only root names such as
``taf01:object``. This is our own form, described by ``schema/evaluation.xsd``: root ``object`` in
the namespace ``urn:smgw-emu:evaluation:1``, one element per parameter in the order of
:class:`~smgw_emu.core.usage_point.UsagePoint`. Lists hold ``item`` elements, records one element
per member, parameters at their default are left out. A package that knows the licensed schema
registers a :class:`ProfileFormat` under the entry point group ``smgw_emu.profile_formats``; the
device profile's ``[m2m] profile_format`` names it.
"""

from __future__ import annotations

import types
import typing
from importlib.metadata import entry_points
from typing import Protocol
from xml.etree import ElementTree as ET

import msgspec

from smgw_emu.core.errors import ConfigError
from smgw_emu.core.usage_point import UsagePoint
from wan.cosem.errors import XmlError
from wan.cosem.xml import local, no_text, parse

NAMESPACE = "urn:smgw-emu:evaluation:1"
GROUP = "smgw_emu.profile_formats"
OWN = "own"


class ProfileFormat(Protocol):
    """A way to write evaluation profiles as XML and to read them."""

    def write(self, point: UsagePoint) -> bytes:
        """Return the document in UTF-8."""
        ...

    def read(self, document: bytes) -> UsagePoint:
        """Read a document.

        Raises:
            XmlError: not such a document, or an element is wrong.
        """
        ...


def profile_format(name: str) -> ProfileFormat:
    """Return a format by its name.

    Raises:
        ConfigError: no installed package has it.
    """
    if name == OWN:
        return OwnFormat()
    found = next(iter(entry_points(group=GROUP, name=name)), None)
    if found is None:
        raise ConfigError(f"profile_format {name!r}: no package registers it under {GROUP}")
    loaded: ProfileFormat = found.load()()
    return loaded


class OwnFormat:
    """The documented form of this project."""

    def write(self, point: UsagePoint) -> bytes:
        """Return the document in UTF-8, marked TEST."""
        ET.register_namespace(f"taf{point.taf:02d}", NAMESPACE)
        root = ET.Element(_tag("object"), {"test": "true"})
        root.append(_element("logical_name", point.logical_name))
        for field in msgspec.structs.fields(point):
            value = getattr(point, field.name)
            if field.required or value != field.default:
                root.append(_element(field.name, value))
        return bytes(ET.tostring(root, "utf-8", xml_declaration=True))

    def read(self, document: bytes) -> UsagePoint:
        """Read a document.

        Raises:
            XmlError: not such a document, or an element is wrong.
        """
        root = parse(document)
        if local(root, NAMESPACE) != "object":
            raise XmlError("not an evaluation profile")
        values = _record(root, UsagePoint, "", skip="logical_name")
        try:
            point = msgspec.convert(values, UsagePoint, strict=False)
        except msgspec.ValidationError as error:
            raise XmlError(str(error)) from error
        named = root.find(_tag("logical_name"))
        if named is not None and named.text != point.logical_name:
            raise XmlError(f"logical_name is not {point.logical_name}")
        return point


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


def _element(name: str, value: object) -> ET.Element:
    element = ET.Element(_tag(name))
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            element.append(_element(field.name, getattr(value, field.name)))
    elif isinstance(value, tuple):
        for item in value:
            element.append(_element("item", item))
    elif isinstance(value, bool):
        element.text = "true" if value else "false"
    else:
        element.text = str(value)
    return element


def _record(element: ET.Element, wanted: object, where: str, skip: str = "") -> dict[str, object]:
    no_text(element, where)
    hints = typing.get_type_hints(wanted)
    values: dict[str, object] = {}
    for child in element:
        name = local(child, NAMESPACE)
        if name == skip:
            continue
        if name in values or name not in hints:
            raise XmlError(
                "given twice" if name in values else "no such element", f"{where}/{name}"
            )
        values[name] = _value(child, hints[name], f"{where}/{name}")
    return values


def _value(element: ET.Element, wanted: object, where: str) -> object:
    origin = typing.get_origin(wanted)
    if origin in {types.UnionType, typing.Union}:
        wanted = next(item for item in typing.get_args(wanted) if item is not type(None))
        return _value(element, wanted, where)
    if origin is tuple:
        no_text(element, where)
        inner = typing.get_args(wanted)[0]
        for child in element:
            if local(child, NAMESPACE) != "item":
                raise XmlError("a list holds item elements", where)
        return [_value(child, inner, where) for child in element]
    if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
        return _record(element, wanted, where)
    if len(element):
        raise XmlError("has no children", where)
    return element.text or ""
