"""Value information fields of EN 13757-3 clause 6: what is measured, in which unit and scale.

Three tables: primary VIF, first extension (after FD) and second extension (after FB); the
combinable VIFEs that qualify any of them stand in :data:`MODIFIERS`. Sources: ``lmn-wireless.md``
3.2; the codes it does not list are those of the M-Bus Usergroup's public documentation, chapter
8.4, which the norm took over [S]; each is held against pymbusparser in
tests/interop/test_wmbus_foreign.py.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Quantity(msgspec.Struct, frozen=True):
    """What a VIF says: name, unit symbol, power of ten, DLMS unit code (255: none).

    ``kind`` tells how the value is to be read: ``number``, ``date``, ``datetime``, ``bits`` (no
    sign), ``text`` (an identification).
    """

    name: str
    unit: str = ""
    exponent: int = 0
    dlms: int = 255
    kind: str = "number"


# IEC 62056-6-2 table 4
_DLMS = {
    "Wh": 30, "J": 25, "m3": 13, "kg": 20, "W": 27, "J/h": 26, "m3/h": 15, "C": 9, "K": 9,
    "bar": 24, "s": 7, "min": 6, "h": 5, "d": 4, "mo": 2, "a": 1, "V": 35, "A": 33, "Hz": 44,
    "varh": 32, "VAh": 31, "var": 29, "VA": 28, "deg": 8, "%": 56, "dBm": 70,
}  # fmt: skip
_TIMES = ("s", "min", "h", "d")
_LONG_TIMES = ("h", "d", "mo", "a")


def _scale(
    table: dict[int, Quantity], first: int, count: int, name: str, unit: str, exponent: int
) -> None:
    """``count`` codes from ``first`` on, each ten times the one before."""
    for step in range(count):
        table[first + step] = Quantity(name, unit, exponent + step, _DLMS.get(unit, 255))


def _units(table: dict[int, Quantity], first: int, name: str, units: Iterable[str]) -> None:
    for step, unit in enumerate(units):
        table[first + step] = Quantity(name, unit, 0, _DLMS.get(unit, 255))


def _named(table: dict[int, Quantity], names: dict[int, str], kind: str = "number") -> None:
    table |= {code: Quantity(name, kind=kind) for code, name in names.items()}


def _primary() -> dict[int, Quantity]:
    table: dict[int, Quantity] = {}
    _scale(table, 0x00, 8, "energy", "Wh", -3)
    _scale(table, 0x08, 8, "energy", "J", 0)
    _scale(table, 0x10, 8, "volume", "m3", -6)
    _scale(table, 0x18, 8, "mass", "kg", -3)
    _units(table, 0x20, "on time", _TIMES)
    _units(table, 0x24, "operating time", _TIMES)
    _scale(table, 0x28, 8, "power", "W", -3)
    _scale(table, 0x30, 8, "power", "J/h", 0)
    _scale(table, 0x38, 8, "volume flow", "m3/h", -6)
    _scale(table, 0x40, 8, "volume flow", "m3/min", -7)
    _scale(table, 0x48, 8, "volume flow", "m3/s", -9)
    _scale(table, 0x50, 8, "mass flow", "kg/h", -3)
    _scale(table, 0x58, 4, "flow temperature", "C", -3)
    _scale(table, 0x5C, 4, "return temperature", "C", -3)
    _scale(table, 0x60, 4, "temperature difference", "K", -3)
    _scale(table, 0x64, 4, "external temperature", "C", -3)
    _scale(table, 0x68, 4, "pressure", "bar", -3)
    table[0x6C] = Quantity("date", kind="date")
    table[0x6D] = Quantity("date and time", kind="datetime")
    table[0x6E] = Quantity("heat cost units")
    _units(table, 0x70, "averaging duration", _TIMES)
    _units(table, 0x74, "actuality duration", _TIMES)
    _named(table, {0x78: "fabrication number", 0x79: "enhanced identification"}, "text")
    _named(table, {0x7A: "address"}, "bits")
    return table


def _first_extension() -> dict[int, Quantity]:
    table: dict[int, Quantity] = {}
    _scale(table, 0x00, 4, "credit", "currency", -3)
    _scale(table, 0x04, 4, "debit", "currency", -3)
    _named(
        table,
        {
            0x08: "access number", 0x09: "device type", 0x0A: "manufacturer",
            0x0B: "parameter set", 0x0C: "model", 0x0D: "hardware version",
            0x0E: "firmware version", 0x0F: "software version", 0x10: "customer location",
            0x11: "customer", 0x12: "user access code", 0x13: "operator access code",
            0x14: "system operator access code", 0x15: "developer access code", 0x16: "password",
            0x67: "special supplier information",
        },
        "text",
    )  # fmt: skip
    _named(
        table,
        {
            0x17: "error flags", 0x18: "error mask", 0x19: "security key", 0x1A: "digital output",
            0x1B: "digital input", 0x1F: "remote control", 0x62: "control signal",
            0x66: "state of parameter activation", 0x72: "daylight saving",
            0x73: "listening window management",
        },
        "bits",
    )  # fmt: skip
    table[0x1C] = Quantity("baud rate", "Bd")
    table[0x1D] = Quantity("response delay", "bit times")
    _named(
        table,
        {
            0x1E: "retries", 0x20: "first cyclic storage", 0x21: "last cyclic storage",
            0x22: "storage block size", 0x23: "tariff descriptor", 0x2A: "operator specific data",
            0x3A: "dimensionless", 0x3B: "container of the radio protocol", 0x60: "reset counter",
            0x61: "cumulation counter", 0x63: "day of week", 0x64: "week number",
            0x65: "time of day change", 0x75: "times the meter was stopped",
            0x76: "container of the manufacturer's protocol",
        },
    )  # fmt: skip
    _units(table, 0x24, "storage interval", (*_TIMES, "mo", "a"))
    table[0x2B] = Quantity("time point", "s")
    _units(table, 0x2C, "duration since last readout", _TIMES)
    table[0x30] = Quantity("start of tariff", kind="datetime")
    _units(table, 0x31, "duration of tariff", _TIMES[1:])
    _units(table, 0x34, "period of tariff", (*_TIMES, "mo", "a"))
    _units(table, 0x3C, "transmission interval", _TIMES)
    _scale(table, 0x40, 16, "voltage", "V", -9)
    _scale(table, 0x50, 16, "current", "A", -12)
    _units(table, 0x68, "duration since last cumulation", _LONG_TIMES)
    _units(table, 0x6C, "operating time of battery", _LONG_TIMES)
    table[0x70] = Quantity("battery change", kind="datetime")
    table[0x71] = Quantity("radio level", "dBm", 0, _DLMS["dBm"])
    table[0x74] = Quantity("remaining battery life", "d", 0, _DLMS["d"])
    return table


def _second_extension() -> dict[int, Quantity]:
    table: dict[int, Quantity] = {}
    _scale(table, 0x00, 2, "energy", "Wh", 5)
    _scale(table, 0x02, 2, "reactive energy", "varh", 3)
    _scale(table, 0x04, 2, "apparent energy", "VAh", 3)
    table[0x06] = Quantity("coefficient of performance", "", -1)
    _scale(table, 0x08, 2, "energy", "J", 8)
    _scale(table, 0x0C, 4, "energy", "cal", 5)
    _scale(table, 0x10, 2, "volume", "m3", 2)
    _scale(table, 0x14, 4, "reactive power", "var", 0)
    _scale(table, 0x18, 2, "mass", "kg", 5)
    _scale(table, 0x1A, 2, "relative humidity", "%", -1)
    table[0x20] = Quantity("volume", "ft3", 0)
    table[0x21] = Quantity("volume", "ft3", -1)
    table[0x22] = Quantity("volume", "gal", -1)
    table[0x23] = Quantity("volume", "gal", 0)
    table[0x24] = Quantity("volume flow", "gal/min", -3)
    table[0x25] = Quantity("volume flow", "gal/min", 0)
    table[0x26] = Quantity("volume flow", "gal/h", 0)
    _scale(table, 0x28, 2, "power", "W", 5)
    table[0x2A] = Quantity("phase voltage to voltage", "deg", -1, _DLMS["deg"])
    table[0x2B] = Quantity("phase voltage to current", "deg", -1, _DLMS["deg"])
    _scale(table, 0x2C, 4, "frequency", "Hz", -3)
    _scale(table, 0x30, 2, "power", "J/h", 8)
    _scale(table, 0x34, 4, "apparent power", "VA", 0)
    _scale(table, 0x58, 4, "flow temperature", "F", -3)
    _scale(table, 0x5C, 4, "return temperature", "F", -3)
    _scale(table, 0x60, 4, "temperature difference", "F", -3)
    _scale(table, 0x64, 4, "external temperature", "F", -3)
    _named(
        table,
        {
            0x68: "resulting rating factor", 0x69: "thermal output rating factor",
            0x6A: "thermal coupling rating factor overall",
            0x6B: "thermal coupling rating factor room side",
            0x6C: "thermal coupling rating factor heating side",
            0x6D: "low temperature rating factor", 0x6E: "display output scaling factor",
        },
    )  # fmt: skip
    _scale(table, 0x70, 4, "temperature limit", "F", -3)
    _scale(table, 0x74, 4, "temperature limit", "C", -3)
    _scale(table, 0x78, 8, "maximum power counter", "W", -3)
    return table


PRIMARY = _primary()
FIRST_EXTENSION = _first_extension()
SECOND_EXTENSION = _second_extension()

AVERAGE, INVERSE_PROFILE = 0x12, 0x13
PROFILE_WITH_REGISTERS, PROFILE = 0x1E, 0x1F
MANUFACTURER_VIFE, SECOND_LEVEL, TIMES_1000 = 0x7F, 0x7C, 0x7D

# Combinable (orthogonal) VIFEs by their low seven bits
MODIFIERS: dict[int, str] = {
    0x12: "average", 0x13: "inverse compact profile", 0x14: "relative deviation",
    0x1D: "standard conform data", 0x1E: "compact profile with registers",
    0x1F: "compact profile",
    0x20: "per s", 0x21: "per min", 0x22: "per h", 0x23: "per d", 0x24: "per week",
    0x25: "per month", 0x26: "per year", 0x27: "per revolution",
    0x28: "increment per input pulse 0", 0x29: "increment per input pulse 1",
    0x2A: "increment per output pulse 0", 0x2B: "increment per output pulse 1",
    0x2C: "per l", 0x2D: "per m3", 0x2E: "per kg", 0x2F: "per K", 0x30: "per kWh",
    0x31: "per GJ", 0x32: "per kW", 0x33: "per K l", 0x34: "per V", 0x35: "per A",
    0x36: "times s", 0x37: "times s/V", 0x38: "times s/A", 0x39: "start of",
    0x3A: "uncorrected", 0x3B: "forward", 0x3C: "backward", 0x3D: "non-metric",
    0x3E: "base conditions", 0x3F: "OBIS declaration",
    0x40: "lower limit", 0x48: "upper limit", 0x41: "exceeds of lower limit",
    0x49: "exceeds of upper limit", 0x7E: "future",
}  # fmt: skip
# 15 to 1C tell of the record itself (EN 13757-3, record errors)
RECORD_ERRORS: dict[int, str] = {
    0x15: "no data available", 0x16: "data overflow", 0x17: "data underflow", 0x18: "data error",
}  # fmt: skip
# after FC
SECOND_MODIFIERS: dict[int, str] = {
    0x01: "phase L1", 0x02: "phase L2", 0x03: "phase L3", 0x04: "neutral",
    0x05: "L1 to L2", 0x06: "L2 to L3", 0x07: "L3 to L1",
    0x08: "quadrant 1", 0x09: "quadrant 2", 0x0A: "quadrant 3", 0x0B: "quadrant 4",
    0x0C: "quadrants difference", 0x10: "absolute", 0x11: "difference",
}  # fmt: skip
