"""Data fields of records: integers, BCD, reals, variable length, dates (EN 13757-3 Annex A).

Numbers stay integers; the power of ten is the header's. ``None`` stands for "no valid value": BCD
with digits A to E, the integer 80..00, a date that is none.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal

import msgspec

from lmn.mbus.header import Header
from smgw_emu.core.errors import RemoteProtocolError

INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 6: 6, 7: 8}  # coding -> octets
BCD = {0x9: 1, 0xA: 2, 0xB: 3, 0xC: 4, 0xE: 6}
LENGTHS = {0: 0, 5: 4, 8: 0} | INTEGERS | BCD  # 8: selection for readout, without data


class MeterTime(msgspec.Struct, frozen=True):
    """Date, time or both, as a meter tells it: its local time.

    ``summer``: the meter says it is summer time; ``invalid``: it does not trust its clock.
    """

    value: datetime | date | time
    summer: bool = False
    invalid: bool = False

    def __str__(self) -> str:
        marks = (" summer" if self.summer else "") + (" invalid" if self.invalid else "")
        return self.value.isoformat() + marks


Value = int | Decimal | str | bytes | MeterTime | None


def variable_length(lvar: int) -> int:
    """Return the octets of variable data after its LVAR octet (EN 13757-3 6.3.3).

    Raises:
        RemoteProtocolError: a reserved code.
    """
    if lvar <= 0xBF:
        return lvar
    if lvar <= 0xEF:
        if lvar & 0x0F > 9 and lvar < 0xE0:
            raise RemoteProtocolError(f"reserved LVAR {lvar:02X}")
        return lvar & 0x0F
    if lvar <= 0xF6:
        return {0xF5: 48, 0xF6: 64}.get(lvar, 4 * (lvar - 0xEC))
    raise RemoteProtocolError(f"reserved LVAR {lvar:02X}")


def integer(data: bytes) -> int | None:
    """Read a signed integer, LSB first; the lowest one means "invalid"."""
    value = int.from_bytes(data, "little", signed=True)
    return None if value == -1 << (8 * len(data) - 1) else value


def bcd(data: bytes) -> int | None:
    """Read BCD, LSB first; a leading F is a minus sign, other letters are no number."""
    digits = data[::-1].hex()
    if digits[0] == "f":
        digits = "-" + (digits[1:] or "0")
    try:
        return int(digits)
    except ValueError:
        return None


def element(coding: int, data: bytes) -> int | None:
    """Read a number of a fixed coding."""
    return integer(data) if coding in INTEGERS else bcd(data)


def decode(header: Header, data: bytes) -> Value:
    """Read a record's data (without its LVAR octet if it has one, see :func:`variable`)."""
    coding, kind = header.coding, header.quantity.kind
    if kind != "number":
        special = _special(kind, coding)
        if special is not None:
            return special(data)
    if coding in INTEGERS:
        return integer(data)
    if coding in BCD:
        return bcd(data)
    return _real(data) if coding == 5 else None


def _special(kind: str, coding: int) -> Callable[[bytes], Value] | None:
    if kind == "bits" and coding in INTEGERS:
        return _unsigned
    if kind == "text" and coding in BCD:
        return _digits
    if kind in {"date", "datetime"} and coding in INTEGERS:
        return _DATES.get(coding, _no_value)
    return None


def _unsigned(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _digits(data: bytes) -> str:
    return data[::-1].hex().upper()


def _no_value(_data: bytes) -> None:
    return None


def variable(header: Header, lvar: int, data: bytes) -> Value:
    """Read data of variable length: text, BCD of up to 18 digits, a binary number."""
    if header.profile or header.quantity.kind in {"date", "datetime"}:
        return data  # date and time of type M: its layout is in the norm only
    if lvar <= 0xBF:
        return data[::-1].decode("latin-1")
    if lvar < 0xE0:
        digits = data[::-1].hex() or "0"
        sign = -1 if lvar >= 0xD0 else 1
        return sign * int(digits) if digits.isdecimal() else None
    return int.from_bytes(data, "little", signed=lvar < 0xF0 and header.quantity.kind == "number")


def _real(data: bytes) -> Decimal | None:
    (value,) = struct.unpack("<f", data)
    # nine digits tell every single precision number apart
    return Decimal(f"{value:.9g}") if math.isfinite(value) else None


# -- dates (types F, G, I, J) --------------------------------------------------------------------


def date_g(data: bytes) -> MeterTime | None:
    """Type G: 16 bit; day 0-4, year 5-7 and 12-15, month 8-11."""
    day, month = data[0] & 0x1F, data[1] & 0x0F
    year = (data[0] >> 5) | ((data[1] & 0xF0) >> 1)
    try:
        return MeterTime(date(_century(year, 0), month, day))
    except ValueError:
        return None


def time_j(data: bytes) -> MeterTime | None:
    """Type J: 24 bit; second, minute, hour."""
    try:
        return MeterTime(time(data[2] & 0x1F, data[1] & 0x3F, data[0] & 0x3F))
    except ValueError:
        return None


def datetime_f(data: bytes) -> MeterTime | None:
    """Type F: 32 bit; minute 0-5, invalid 7, hour 8-12, century 13-14, summer time 15, date."""
    year = (data[2] >> 5) | ((data[3] & 0xF0) >> 1)
    try:
        value = datetime(  # noqa: DTZ001  # a meter's local time
            _century(year, (data[1] >> 5) & 3),
            data[3] & 0x0F,
            data[2] & 0x1F,
            data[1] & 0x1F,
            data[0] & 0x3F,
        )
    except ValueError:
        return None
    return MeterTime(value, summer=bool(data[1] & 0x80), invalid=bool(data[0] & 0x80))


def datetime_i(data: bytes) -> MeterTime | None:
    """Type I: 48 bit; second, minute (7: invalid), hour, date, week day and week.

    Bit 6 of the first octet: summer time [S].
    """
    year = (data[3] >> 5) | ((data[4] & 0xF0) >> 1)
    try:
        value = datetime(  # noqa: DTZ001
            _century(year, 0),
            data[4] & 0x0F,
            data[3] & 0x1F,
            data[2] & 0x1F,
            data[1] & 0x3F,
            data[0] & 0x3F,
        )
    except ValueError:
        return None
    return MeterTime(value, summer=bool(data[0] & 0x40), invalid=bool(data[1] & 0x80))


_DATES: dict[int, Callable[[bytes], Value]] = {
    2: date_g,
    3: time_j,
    4: datetime_f,
    6: datetime_i,
}


def _century(year: int, hundred: int) -> int:
    """1900 + 100 HY + year; HY = 0 and year up to 80 means 2000 + year (table A.5)."""
    return 2000 + year if hundred == 0 and year <= 80 else 1900 + 100 * hundred + year
