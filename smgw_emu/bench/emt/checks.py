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


def target_of(entry: Entry, period_s: int) -> DeviceTime:
    """Return the raster point a capture time belongs to (the nearest one, GW-N10)."""
    period = period_s * SECOND
    return DeviceTime((entry.capture.ns + period // 2) // period * period)


def usable(entry: Entry) -> bool:
    """Tell whether the status allows a value to be used."""
    words = int(entry.status[:8], 16), int(entry.status[8:], 16)
    return ptb_status(*words) < PtbStatus.CRITICAL_TEMPORARY_ERROR


def check_delivery(column: Column, period_s: int) -> tuple[list[Value], list[Finding]]:
    """Place a column's entries on their raster and look for what is odd.

    Repeated values carry the capture time of the value they repeat, so they take the next free
    place of the raster and are unusable.
    """
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
        if last_good is not None and good and _decreased(last_good, entry):
            findings.append(Finding("decreased", column.name, target.iso()))
        if target in values:
            findings.append(Finding("duplicate", column.name, target.iso()))
        quality = Quality.MEASURED if good else Quality.UNUSABLE
        values[target] = Value(column.name, target, entry, quality)
        previous, place = entry, target
        last_good = entry if good else last_good
    ordered = [values[target] for target in sorted(values)]
    return ordered, findings + _gaps(column.name, ordered, period_s)


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
