"""From records to registers: the OBIS map, and a meter's status word.

``lmn-wireless.md`` 0.2 and 3.6. The map is data (``obis.toml``): who has OMS-S2 Annex A corrects it
without touching code.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from decimal import Decimal
from importlib import resources
from typing import Literal

import msgspec

from lmn.mbus.header import Function, Header
from lmn.mbus.records import Application, Record
from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.obis import Obis
from smgw_emu.core.values import MeterValue

NO_UNIT = 255
_UNITLESS = "heat cost units"
_GAS = 0x03
_MAX_SCALER = 30
_MAX_CACHED = 4096


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the map."""

    types: tuple[str, ...]
    quantity: str
    obis: str
    modifiers: tuple[str, ...] = ()
    function: Literal["instantaneous", "maximum", "minimum", "error"] = "instantaneous"
    storage: int = 0
    tariff: int = 0
    subunit: int = 0


_Key = tuple[int, str, tuple[str, ...], Function, int, int, int]


class ObisMap:
    """Which OBIS code a record has.

    Args:
        entries: of the map; the first that fits counts.

    Raises:
        ConfigError: an entry has a wrong type or code.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._codes: dict[_Key, Obis] = {}
        self._found: dict[tuple[int, bytes, bool], Obis | None] = {}
        for entry in entries:
            try:
                code = Obis.parse(entry.obis)
                types = [int(text, 16) for text in entry.types]
            except (RemoteProtocolError, ValueError) as error:
                raise ConfigError(f"OBIS map: {error}") from error
            function = Function[entry.function.upper()]
            place = entry.storage, entry.tariff, entry.subunit
            for kind in types:
                key = (kind, entry.quantity, entry.modifiers, function, *place)
                self._codes.setdefault(key, code)

    def find(self, device_type: int, header: Header, *, stored: bool = False) -> Obis | None:
        """Return a record's code, None if the map has none.

        Args:
            device_type: of the meter (EN 13757-7).
            header: of the record.
            stored: the record belongs to a profile: its storage number does not count.
        """
        key = device_type, header.octets, stored
        try:
            return self._found[key]
        except KeyError:
            pass
        if len(self._found) >= _MAX_CACHED:
            self._found.clear()
        found = self._found[key] = self._look_up(device_type, header, stored=stored)
        return found

    def _look_up(self, device_type: int, header: Header, *, stored: bool) -> Obis | None:
        quantity = header.quantity
        if quantity.dlms == NO_UNIT and quantity.name != _UNITLESS:
            return None  # a unit DLMS does not know (gallons, calories)
        storage = 0 if stored else header.storage
        place = storage, header.tariff, header.subunit
        key = (device_type, quantity.name, header.modifiers, header.function, *place)
        return self._codes.get(key)


def load_obis_map(text: str | None = None) -> ObisMap:
    """Return a map; ``text`` replaces the built-in file.

    Raises:
        ConfigError: the file has another shape.
    """
    if text is None:
        text = resources.files("lmn.mbus").joinpath("obis.toml").read_text("utf-8")
    try:
        table = msgspec.convert(tomllib.loads(text), dict[str, tuple[Entry, ...]])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"OBIS map: {error}") from error
    if table.keys() != {"entry"}:
        raise ConfigError("OBIS map: [[entry]] tables are expected, nothing else")
    return ObisMap(table["entry"])


def meter_value(obis: Obis, header: Header, value: object) -> MeterValue | None:
    """Return a register's value; None if the record has no number."""
    quantity = header.quantity
    if type(value) is int:
        return MeterValue(obis, value, quantity.exponent, quantity.dlms)
    if isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        assert isinstance(exponent, int)
        number = int("".join(map(str, digits))) * (-1 if sign else 1)
        scaler = exponent + quantity.exponent
        if abs(scaler) <= _MAX_SCALER:
            return MeterValue(obis, number, scaler, quantity.dlms)
    return None


def registers(application: Application, device_type: int, codes: ObisMap) -> list[MeterValue]:
    """Return the registers of a telegram that the map knows; profiles are not among them."""
    found = []
    for record in application.records:
        header = record.header
        if header.profile or record.value is None:
            continue
        obis = codes.find(device_type, header)
        if obis is not None:
            value = meter_value(obis, header, record.value)
            if value is not None:
                found.append(value)
    return found


def error_flags(application: Application) -> bytes:
    """Return EF1 to EF3 (MM02, MM03): the error flags record, three octets."""
    record: Record | None = application.find("error flags")
    value = record.value if record is not None else None
    return (
        value.to_bytes(8, "little")[:3]
        if isinstance(value, int) and value >> 64 == 0
        else b"\0\0\0"
    )


def status_word(application: Application, status: int, device_type: int) -> int:
    """Return the meter word in printed order (Detailspezifikation v2.0 table 15.1).

    Table and text number the bits of EF1 to EF3 and of the status octet STS with 7 as the lowest;
    so in printed order, bit 0 first, the word is the octets EF1 EF2 EF3 STS as they are. Gas meters
    have EF1 only.
    """
    flags = error_flags(application)
    if device_type == _GAS:
        flags = flags[:1] + b"\0\0"
    return int.from_bytes(flags + bytes((status,)), "big")
