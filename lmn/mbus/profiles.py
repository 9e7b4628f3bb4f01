"""Compact profiles: many values of one quantity in one record (EN 13757-3 Annex F).

Data of such a record: spacing control, spacing value, elements. Spacing control: bits 3-0 coding of
the elements, 5-4 unit of the spacing (s, min, h, day or month), 7-6 mode: 0 absolute values,
1 increments, 2 decrements, 3 signed differences. The base is the record of the same quantity, place
and modifiers; a *compact* profile goes on from it in time, an *inverse* one goes back. With
registers, each element has a storage number of its own.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import datetime, timedelta

import msgspec

from lmn.mbus.records import Application, Record
from lmn.mbus.values import BCD, INTEGERS, MeterTime, element
from smgw_emu.core.errors import RemoteProtocolError

_UNIT_SECONDS = (1, 60, 3600, 86_400)
_DAYS = 3
# with the unit "day or month"; 254: worked example F.2.6 (storage 33, 34 are a month apart); 253:
# lmn-wireless.md 3.4 names both values, in an order that contradicts the example
HALF_MONTH, MONTH = 253, 254
_ABSOLUTE, _INCREMENT, _DECREMENT = 0, 1, 2


class Spacing(msgspec.Struct, frozen=True):
    """The pause between two elements: seconds, or half months (calendar)."""

    seconds: int = 0
    half_months: int = 0


class CompactProfile(msgspec.Struct, frozen=True):
    """A profile, taken apart.

    Attributes:
        record: it came in.
        base: record it starts from, None if the telegram has none.
        spacing: pause between elements.
        inverse: later elements are older.
        values: of the elements, in the order sent, scaled like the base; None: no valid value.
    """

    record: Record
    base: Record | None
    spacing: Spacing
    inverse: bool
    values: tuple[int | None, ...]

    def moment(self, base: datetime, number: int) -> datetime:
        """Return the time of element ``number`` (1 is the first) if the base is at ``base``."""
        steps = -number if self.inverse else number
        if not self.spacing.half_months:
            return base + timedelta(seconds=self.spacing.seconds * steps)
        half = self.spacing.half_months * steps + (1 if base.day > 15 else 0)
        months = base.year * 12 + base.month - 1 + half // 2
        day = base.day - (15 if base.day > 15 else 0) + (15 if half % 2 else 0)
        year, month = months // 12, months % 12 + 1
        return base.replace(year=year, month=month, day=min(day, monthrange(year, month)[1]))


def expand(application: Application) -> list[CompactProfile]:
    """Return the profiles of a telegram.

    Raises:
        RemoteProtocolError: one is cut off or coded in a way the norm does not know.
    """
    return [
        profile_of(record, application) for record in application.records if record.header.profile
    ]


def base_time(profile: CompactProfile, application: Application) -> MeterTime | None:
    """Return the meter's own time of the base: the date record with its storage number."""
    for record in application.records:
        same = record.header.storage == profile.record.header.storage
        if same and record.header.quantity.kind in {"date", "datetime"}:
            return record.value if isinstance(record.value, MeterTime) else None
    return None


def profile_of(record: Record, application: Application) -> CompactProfile:
    """Take one profile's record apart.

    Raises:
        RemoteProtocolError: see :func:`expand`.
    """
    data = record.raw
    if len(data) < 2:
        raise RemoteProtocolError("a compact profile without spacing")
    coding, unit, mode = data[0] & 0x0F, (data[0] >> 4) & 3, data[0] >> 6
    length = INTEGERS.get(coding) or BCD.get(coding)
    if length is None or (len(data) - 2) % length:
        raise RemoteProtocolError("the elements of a compact profile do not fit its data")
    base = _base(record, application)
    inverse = record.header.profile == "inverse"
    values = _run(
        [_number(coding, mode, data[at : at + length]) for at in range(2, len(data), length)],
        mode,
        base.value if base is not None else None,
        inverse=inverse,
    )
    return CompactProfile(record, base, _spacing(unit, data[1]), inverse, tuple(values))


def _number(coding: int, mode: int, data: bytes) -> int | None:
    if mode in {_INCREMENT, _DECREMENT} and coding in INTEGERS:
        value = int.from_bytes(data, "little")  # counts one way only: no sign
        return None if value == (1 << 8 * len(data)) - 1 else value
    return element(coding, data)


def _spacing(unit: int, value: int) -> Spacing:
    if unit == _DAYS and value in {HALF_MONTH, MONTH}:
        return Spacing(half_months=1 if value == HALF_MONTH else 2)
    if not 1 <= value <= 250:
        raise RemoteProtocolError(f"spacing value {value} of a compact profile")
    return Spacing(seconds=_UNIT_SECONDS[unit] * value)


def _base(record: Record, application: Application) -> Record | None:
    wanted = record.header
    for other in application.records:
        have = other.header
        if have.profile or have.place != wanted.place or have.function != wanted.function:
            continue
        if have.quantity == wanted.quantity and have.modifiers == wanted.modifiers:
            return other
    return None


def _run(elements: list[int | None], mode: int, base: object, *, inverse: bool) -> list[int | None]:
    """Turn differences into values; after an invalid one nothing is known."""
    if mode == _ABSOLUTE:
        return elements
    values: list[int | None] = []
    last = base if isinstance(base, int) else None
    sign = (-1 if mode == _DECREMENT else 1) * (-1 if inverse else 1)
    for step in elements:
        last = None if last is None or step is None else last + sign * step
        values.append(last)
    return values
