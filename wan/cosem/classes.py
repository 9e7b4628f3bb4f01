"""The class table: which COSEM classes the device knows, as data (``classes.toml``)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import msgspec

from smgw_emu.core.errors import ConfigError
from wan.cosem.data import KINDS, Data, Value
from wan.cosem.errors import CosemError
from wan.cosem.records import record_data

_ALIASES = {"hex": "octet-string", "der": "octet-string", "record": "structure"}


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """One attribute of a class.

    Attributes:
        index: -128..127, not 0.
        name: of the text, and the field of a profile.
        kind: COSEM type, ``any``, ``array:T``, ``hex``, ``der`` or ``record``.
        writable, optional, secret: the flags.
    """

    index: int
    name: str
    kind: str
    writable: bool = False
    optional: bool = False
    secret: bool = False


@dataclass(frozen=True, slots=True)
class ClassSpec:
    """One class.

    Attributes:
        id, version, name: of the class.
        source: the text it comes from.
        kind: of the profile it describes, "" for others.
        container: container id of such a profile.
        attributes: by index.
        methods: names by index.
    """

    id: int
    version: int
    name: str
    source: str
    kind: str
    container: str
    attributes: dict[int, AttributeSpec]
    methods: dict[int, str]


class _Row(msgspec.Struct, rename={"class_id": "id"}, forbid_unknown_fields=True):
    class_id: int
    version: int
    name: str
    source: str
    attributes: list[str]
    methods: list[str] = []
    kind: str = ""
    container: str = ""


def _attribute(text: str) -> AttributeSpec:
    index, name, kind, *flags = text.split()
    base = kind.removeprefix("array:")
    if base != "any" and _ALIASES.get(base, base) not in KINDS:
        raise ConfigError(f"class table: no type {kind!r}")
    marks = "".join(flags)
    return AttributeSpec(int(index), name, kind, "w" in marks, "?" in marks, "!" in marks)


def load_classes(path: Path | None = None) -> dict[int, ClassSpec]:
    """Return the class table by class id; ``path`` adds to or replaces the built-in one.

    Raises:
        ConfigError: the file has another shape.
    """
    table = dict(_built_in())
    if path is not None:
        table |= _parse(path.read_text("utf-8"))
    return table


@lru_cache(maxsize=1)
def _built_in() -> dict[int, ClassSpec]:
    return _parse(resources.files("wan.cosem").joinpath("classes.toml").read_text("utf-8"))


def _parse(text: str) -> dict[int, ClassSpec]:
    table: dict[int, ClassSpec] = {}
    try:
        rows = msgspec.convert(tomllib.loads(text), dict[str, list[_Row]]).get("class", [])
        for row in rows:
            attributes = [_attribute(item) for item in row.attributes]
            methods = [item.split() for item in row.methods]
            table[row.class_id] = ClassSpec(
                row.class_id,
                row.version,
                row.name,
                row.source,
                row.kind,
                row.container,
                {item.index: item for item in attributes},
                {int(index): name for index, name in methods},
            )
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise ConfigError(f"class table: {error}") from error
    return table


def check_type(spec: AttributeSpec, data: Data, where: str) -> None:
    """Check the type of an attribute's value.

    Raises:
        CosemError: 422, another type.
    """
    array = spec.kind.startswith("array:")
    wanted = spec.kind.removeprefix("array:")
    wanted = _ALIASES.get(wanted, wanted)
    if array:
        good = data.kind == "array" and isinstance(data.value, tuple)
        members = data.value if isinstance(data.value, tuple) else ()
        good = good and all(member.kind == wanted for member in members)
    else:
        good = wanted in {"any", data.kind}
    if not good:
        raise CosemError(422, f"{spec.kind} expected, not {data.kind}", where)


def to_python(spec: AttributeSpec, data: Data) -> object:
    """Return an attribute's value as a profile keeps it."""
    return _plain(spec.kind.removeprefix("array:"), data.value)


def _plain(kind: str, value: Value) -> object:
    if isinstance(value, tuple):
        return tuple(_plain(kind, member.value) for member in value)
    return value.hex() if kind == "hex" and isinstance(value, bytes) else value


def from_python(spec: AttributeSpec, value: object) -> Data:
    """Return a profile's value as the attribute's data.

    Raises:
        ConfigError: text that must be hexadecimal is not.
    """
    kind = spec.kind.removeprefix("array:")
    if kind == "record":
        return record_data(value)
    if spec.kind.startswith("array:"):
        assert isinstance(value, tuple | list)
        return Data("array", tuple(_data(kind, item) for item in value))
    return _data(kind, value)


def _data(kind: str, value: object) -> Data:
    if kind == "hex":
        try:
            return Data("octet-string", bytes.fromhex(str(value)))
        except ValueError:
            raise ConfigError(f"{str(value)[:40]!r} is not hexadecimal") from None
    assert isinstance(value, bool | int | str | bytes)
    return Data(_ALIASES.get(kind, kind), value)
