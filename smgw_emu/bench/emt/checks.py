"""Plausibility, gaps and substitute values (WAN-52, WAN-53; scenario O11).

A value is usable up to PTB status 2 (``wan.md`` 5.4). A gap is a missing or unusable value between
two usable ones; it is filled by linear interpolation, marked as substitute. Substitutes are never
extrapolated: before the first and after the last usable value stays a gap.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from smgw_emu.core.instants import SECOND, DeviceTime
from smgw_emu.core.obis import Obis
from smgw_emu.core.status import PtbStatus, ptb_status
from wan.delivery import Column, Entry


class Quality(StrEnum):
    """What a stored value is worth."""

    MEASURED = "measured"
    UNUSABLE = "unusable"
    SUBSTITUTE = "substitute"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd in a delivery: what, where, when."""

    kind: str
    column: str
    detail: str


@dataclass(frozen=True, slots=True)
class Value:
    """A value at its target time.

    Attributes:
        column: ``<obis>.<owner>.sm``.
        target: end of its registration period.
        entry: as it came, or as it was formed.
        quality: what it is worth.
    """

    column: str
    target: DeviceTime
    entry: Entry
    quality: Quality


SERIES_TAFS = frozenset({7, 13})
PERIOD_TAFS = frozenset({1, 2, 3, 4, 5, 6, 8})
# own choice: periods a series is taken for, by the distance of its values
_PERIODS = (1, 5, 10, 15, 30, 60, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)


@dataclass(frozen=True, slots=True)
class Raster:
    """How a contract's values lie in time.

    Attributes:
        period_s: they stand on multiples of it; 1 for values of a moment.
        series: one follows another without gaps.
    """

    period_s: int
    series: bool = True


def taf_of(contract: str) -> int:
    """Return the use case in a contract's logical name (``01005e318027...`` is 7), 0 if none."""
    head = contract.partition(".")[0]
    if len(head) != 12 or not head.startswith("01005e3180"):
        return 0
    return int(head[10:], 16) - 0x20


def raster_of(contract: str, column: Column, default_s: int) -> Raster:
    """Tell how a column lies in time: by the use case, and by the distance of its values."""
    taf = taf_of(contract)
    if taf in PERIOD_TAFS:
        return Raster(default_s, series=False)
    if taf not in SERIES_TAFS and taf > 0:
        return Raster(1, series=False)
    captures = sorted({entry.capture.ns for entry in column.entries})
    steps = sorted(after - before for before, after in itertools.pairwise(captures))
    if not steps:
        return Raster(default_s)
    middle = steps[len(steps) // 2] / SECOND
    return Raster(min(_PERIODS, key=lambda period: abs(period - middle)))


def target_of(entry: Entry, period_s: int) -> DeviceTime:
    """Return the raster point a capture time belongs to (the nearest one, GW-N10)."""
    period = period_s * SECOND
    return DeviceTime((entry.capture.ns + period // 2) // period * period)


def usable(entry: Entry) -> bool:
    """Tell whether the status allows a value to be used."""
    words = int(entry.status[:8], 16), int(entry.status[8:], 16)
    return ptb_status(*words) < PtbStatus.CRITICAL_TEMPORARY_ERROR


def check_delivery(column: Column, raster: Raster) -> tuple[list[Value], list[Finding]]:
    """Place a column's entries on their raster and look for what is odd.

    Repeated values carry the capture time of the value they repeat, so they take the next free
    place of the raster and are unusable.
    """
    period_s = raster.period_s
    values: dict[DeviceTime, Value] = {}
    findings: list[Finding] = []
    previous: Entry | None = None
    last_good: Entry | None = None
    place: DeviceTime | None = None
    for entry in column.entries:
        target = target_of(entry, period_s)
        repeated = previous is not None and entry.capture == previous.capture
        if repeated and place is not None:
            target = place + period_s * SECOND
        good = usable(entry) and not repeated
        if not good:
            findings.append(Finding("unusable", column.name, f"{target.iso()} {entry.status}"))
        counts = Obis.parse(column.obis).is_counter
        if last_good is not None and good and counts and _decreased(last_good, entry):
            findings.append(Finding("decreased", column.name, target.iso()))
        if target in values:
            findings.append(Finding("duplicate", column.name, target.iso()))
        quality = Quality.MEASURED if good else Quality.UNUSABLE
        values[target] = Value(column.name, target, entry, quality)
        previous, place = entry, target
        last_good = entry if good else last_good
    ordered = [values[target] for target in sorted(values)]
    return ordered, findings + (_gaps(column.name, ordered, period_s) if raster.series else [])


def _decreased(previous: Entry, entry: Entry) -> bool:
    return previous.scaler == entry.scaler and entry.value < previous.value


def _gaps(name: str, values: Sequence[Value], period_s: int) -> list[Finding]:
    findings = []
    for before, after in itertools.pairwise(values):
        missing = (after.target - before.target) // (period_s * SECOND) - 1
        if missing > 0:
            findings.append(Finding("gap", name, f"{missing} after {before.target.iso()}"))
    return findings


def substitutes(values: Iterable[Value], period_s: int) -> list[Value]:
    """Form values for the gaps between usable ones, marked as substitutes."""
    good = [value for value in values if value.quality is Quality.MEASURED]
    formed: list[Value] = []
    for before, after in itertools.pairwise(good):
        steps = (after.target - before.target) // (period_s * SECOND)
        if steps < 2 or before.entry.scaler != after.entry.scaler:
            continue
        rise = after.entry.value - before.entry.value
        for step in range(1, steps):
            target = before.target + step * period_s * SECOND
            entry = replace(
                before.entry,
                value=before.entry.value + rise * step // steps,
                capture=target,
                signature=b"",
            )
            formed.append(Value(before.column, target, entry, Quality.SUBSTITUTE))
    return formed
