"""Values on their way through the gateway: from a meter's report to a registered reading."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.obis import Obis

INT64_MAX = (1 << 63) - 1  # what a register of the store holds
UNIT_WATT_HOUR = 30  # DLMS unit codes, IEC 62056-62 table 4
UNIT_WATT = 27


def scaled(value: int, scaler: int) -> Decimal:
    """Return ``value * 10**scaler`` exactly."""
    return Decimal(value).scaleb(scaler)


@dataclass(frozen=True, slots=True)
class MeterValue:
    """One register of one report: integer ``value``, DLMS ``scaler`` exponent and ``unit`` code."""

    obis: Obis
    value: int
    scaler: int
    unit: int


@dataclass(frozen=True, slots=True)
class MeterReport:
    """What a meter said at one moment.

    Attributes:
        meter: device id in lower case, or the server id in hex where it has another form.
        values: the registers in the order sent.
        status: raw status word of the meter (bit 0 = least significant; of a wireless meter in
            printed order), None if absent.
        use: ``present``: shown, never registered; ``stored``: of the past, registered only.
        unverified: nobody has authenticated the sender (a lab's switch let it through).
    """

    meter: str
    values: tuple[MeterValue, ...]
    status: int | None = None
    use: Literal["both", "present", "stored"] = "both"
    unverified: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """One line of a value list.

    Attributes:
        sequence: number given by the store, 0 before it is stored.
        meter: id of the meter the value comes from.
        obis: the register.
        target: end of the registration period the value stands for.
        capture: when the value arrived (gateway time, TR-03109-1 v1.0 4.3.5).
        value, scaler, unit: as the meter sent them.
        smgw_word, meter_word: status, see :mod:`smgw_emu.core.status`.
        repeated: the last known value stands in for a missing one (GW-N09).
        signature: 64 octets r||s, or None for a repeated value.
    """

    meter: str
    obis: Obis
    target: DeviceTime
    capture: DeviceTime
    value: int
    scaler: int
    unit: int
    smgw_word: int
    meter_word: int
    repeated: bool = False
    signature: bytes | None = None
    sequence: int = 0
