"""Containers of configuration profiles: XML to typed records and back, by the class table.

A container of a known kind holds one object of the kind's class; its attributes are the record's
fields. Anything else is unknown: stored, given back byte for byte, never applied.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any

import msgspec

from smgw_emu.core.administration import Record, record_key
from smgw_emu.core.cls_profiles import ClsProfile, ProxyProfile
from smgw_emu.core.config import Consumer
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import (
    HanProfile,
    LmnProfile,
    Technician,
    WanProfile,
)
from wan.cosem.classes import ClassSpec, check_type, from_python, to_python
from wan.cosem.data import NULL, Data, octets
from wan.cosem.documents import Container, CosemObject, read_container, write_container
from wan.cosem.errors import CosemError, XmlError
from wan.cosem.records import record_plain

_TYPES: dict[str, type[Any]] = {
    "meter": Meter,
    "consumer": Consumer,
    "technician": Technician,
    "usage-point": UsagePoint,
    "wan": WanProfile,
    "han": HanProfile,
    "lmn": LmnProfile,
    "cls": ClsProfile,
    "proxy": ProxyProfile,
}
SECRETS = ("master_key",)  # go to the security module, never into a record
_TAFS = range(1, 17)


@dataclass(frozen=True, slots=True)
class ReadProfile:
    """A known profile out of its container.

    Attributes:
        kind: of the profile.
        name: key within its kind.
        record: the typed profile.
        secrets: values for the security module, by field.
    """

    kind: str
    name: str
    record: Record
    secrets: dict[str, bytes]

    def __repr__(self) -> str:
        return f"ReadProfile({self.kind!r}, {self.name!r})"


class ProfileTable:
    """The kinds of profiles of a class table."""

    def __init__(self, classes: dict[int, ClassSpec]) -> None:
        self._by_kind = {spec.kind: spec for spec in classes.values() if spec.kind}
        self._by_container = {spec.container: spec for spec in self._by_kind.values()}
        evaluation = self._by_kind.get("usage-point")
        if evaluation is not None:
            base = int(evaluation.container, 16)
            for taf in _TAFS:
                self._by_container[f"{base + taf:012x}"] = evaluation

    def spec(self, container: str) -> ClassSpec | None:
        """Return the class of a container id, None for unknown ones."""
        return self._by_container.get(container)

    def container_id(self, kind: str, record: Record) -> str:
        """Return the container id of a record."""
        base = self._by_kind[kind].container
        if isinstance(record, UsagePoint):
            return f"{int(base, 16) + record.taf:012x}"
        return base

    def kinds(self) -> list[str]:
        """Return the kinds of profiles."""
        return list(self._by_kind)

    def read(self, container: str, body: bytes) -> ReadProfile | None:
        """Read a container; None: it is none of the known ones.

        Raises:
            CosemError: 422, a known container with a wrong element.
        """
        spec = self.spec(container)
        if spec is None:
            return None
        try:
            document = read_container(body)
        except XmlError:
            if b"cod-1" in body or b"cor-1" in body:
                raise
            return None  # of another schema, e.g. the licensed one
        if all(item.class_id != spec.id for item in document.objects):
            return None
        return self._record(spec, document, container)

    def _record(self, spec: ClassSpec, document: Container, container: str) -> ReadProfile:
        if document.name != container:
            raise CosemError(422, f"the URI names {container}", "container")
        if len(document.objects) != 1:
            raise CosemError(422, "one object expected", "container")
        item = document.objects[0]
        if item.version != spec.version:
            raise CosemError(422, f"class version {spec.version} expected", "object")
        fields, secrets = _fields(spec, item)
        try:
            record: Record = msgspec.convert(fields, _TYPES[spec.kind])
        except msgspec.ValidationError as error:
            raise CosemError(422, str(error), spec.name) from error
        if spec.kind == "usage-point" and self.container_id(spec.kind, record) != container:
            raise CosemError(422, "taf does not fit the container's id", f"{spec.name}/taf")
        return ReadProfile(spec.kind, record_key(spec.kind, record), record, secrets)

    def has_secret(self, found: ReadProfile) -> bool:
        """Tell whether a record holds something that must not be read back."""
        spec = self._by_kind[found.kind]
        return any(
            attribute.secret and getattr(found.record, attribute.name, b"")
            for attribute in spec.attributes.values()
        )

    def write(self, kind: str, record: Record, secrets: dict[str, bytes] | None = None) -> bytes:
        """Return a record as a container; secrets that are not given are left out (null)."""
        spec, given = self._by_kind[kind], secrets or {}
        defaults = {item.name: item.default for item in msgspec.structs.fields(record)}
        values: dict[int, Data] = {1: octets(bytes.fromhex(self.container_id(kind, record)))}
        for index, attribute in spec.attributes.items():
            if index == 1:
                continue
            if attribute.name in SECRETS:
                secret = given.get(attribute.name)
                values[index] = NULL if secret is None else octets(secret)
                continue
            value = getattr(record, attribute.name)
            hidden = attribute.secret and secrets is None
            if hidden or (attribute.optional and value == defaults.get(attribute.name)):
                values[index] = NULL
            else:
                values[index] = from_python(attribute, value)
        shown = {index: data for index, data in values.items() if data is not NULL}
        item = CosemObject(spec.id, spec.version, self.container_id(kind, record), shown)
        return write_container(Container(item.name, (item,)))


def _fields(spec: ClassSpec, item: CosemObject) -> tuple[dict[str, object], dict[str, bytes]]:
    fields: dict[str, object] = {}
    secrets: dict[str, bytes] = {}
    for index, data in item.attributes.items():
        attribute = spec.attributes.get(index)
        where = f"{spec.name}/{attribute.name if attribute else index}"
        if attribute is None:
            raise CosemError(422, "no such attribute in this class", where)
        if data.kind == "null-data" and attribute.optional:
            continue
        check_type(attribute, data, where)
        if attribute.name in SECRETS:
            assert isinstance(data.value, bytes)
            if len(data.value) != 16:
                raise CosemError(422, "a key of 16 octets", where)
            secrets[attribute.name] = data.value
        elif attribute.kind.endswith("record"):
            hint = typing.get_type_hints(_TYPES[spec.kind])[attribute.name]
            fields[attribute.name] = record_plain(data, hint, where)
        elif index != 1:
            fields[attribute.name] = to_python(attribute, data)
    for attribute in spec.attributes.values():
        if not attribute.optional and attribute.name not in fields:
            raise CosemError(422, "is missing", f"{spec.name}/{attribute.name}")
    return fields, secrets
