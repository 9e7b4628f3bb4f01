"""Registration: one value per register and registration period, chosen around the target time.

Theory of operation (TR-03109-1 v1.0 4.3.2, 4.3.5; requirements GW-N09, GW-N10):

* Targets lie on the raster of the period in UTC (00:00, 00:15, ...). Values are stamped on
  arrival; a value counts for a target only if it arrived within the tolerance around it (1 % of
  the period, 9 s at 900 s).
* Of the values in the window the one nearest to the target is taken, the earlier one of two
  equally near. The target is settled when every register has a value at or after it, else at the
  end of the window.
* A register without a value in the window repeats its last registered value with the old capture
  time and the new target; one that never had a value registers nothing.
* Targets only rise: a clock step back does not register a target twice.

The machine is sans-IO: reports and times go in, :class:`Registered` comes out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from smgw_emu.core.instants import SECOND, DeviceTime
from smgw_emu.core.obis import Obis
from smgw_emu.core.values import INT64_MAX, MeterReport, MeterValue, Reading


@dataclass(frozen=True, slots=True)
class Registered:
    """A value taken for a target; ``status`` is the meter's raw status, None if it sent none."""

    obis: Obis
    target: DeviceTime
    capture: DeviceTime
    value: int
    scaler: int
    unit: int
    status: int | None
    repeated: bool


@dataclass(frozen=True, slots=True)
class Settled:
    """A finished target: the registered values and the registers that never had one."""

    target: DeviceTime
    values: tuple[Registered, ...]
    missing: tuple[Obis, ...]


@dataclass(frozen=True, slots=True)
class _Sample:
    capture: DeviceTime
    value: MeterValue
    status: int | None


class Registrar:
    """Registers the values of one meter at one period.

    Args:
        channels: the registers to hold.
        period_s: registration period in seconds.
        tolerance_permille: half width of the window in 1/1000 of the period.
        start: device time; the first target lies after it.
        last: newest stored line per register, to repeat and to keep targets rising.
        max_catch_up: most targets repeated after one forward step of the clock.
    """

    def __init__(
        self,
        channels: Iterable[Obis],
        period_s: int,
        tolerance_permille: int,
        start: DeviceTime,
        last: Mapping[Obis, Reading] | None = None,
        max_catch_up: int = 4000,
    ) -> None:
        self._channels = tuple(channels)
        self._period = period_s * SECOND
        self._tolerance = self._period * tolerance_permille // 1000
        self._max_catch_up = max_catch_up
        self._last: dict[Obis, Registered] = {}
        self._floor = start
        for obis, reading in (last or {}).items():
            self._last[obis] = _from_reading(reading)
            self._floor = max(self._floor, reading.target)
        self._before: dict[Obis, _Sample] = {}
        self._after: dict[Obis, _Sample] = {}
        self.target = self._next_raster(self._floor)

    def _next_raster(self, moment: DeviceTime) -> DeviceTime:
        return DeviceTime((moment.ns // self._period + 1) * self._period)

    def next_deadline(self) -> DeviceTime:
        """Return the end of the present target's window."""
        return self.target + self._tolerance

    def on_report(self, report: MeterReport, capture: DeviceTime) -> list[Settled]:
        """Take a meter's report that arrived at ``capture``; returns the targets it settles."""
        settled = self.on_time(capture)
        for value in report.values:
            if value.obis in self._channels and abs(value.value) <= INT64_MAX:
                self._take(_Sample(capture, value, report.status))
        if capture >= self.target and len(self._after) == len(self._channels):
            settled.append(self._settle())
        return settled

    def _take(self, sample: _Sample) -> None:
        obis = sample.value.obis
        distance = sample.capture - self.target
        if -self._tolerance <= distance <= 0:
            self._before[obis] = sample
        if 0 <= distance <= self._tolerance:
            self._after.setdefault(obis, sample)

    def on_time(self, now: DeviceTime) -> list[Settled]:
        """Settle every target whose window has passed."""
        overdue = (now - self.target) // self._period
        if overdue > self._max_catch_up:
            self._clear()
            self.target = self.target + (overdue - self._max_catch_up) * self._period
        settled = []
        while now > self.next_deadline():
            settled.append(self._settle())
        return settled

    def resync(self, now: DeviceTime) -> None:
        """Start again at the next target after ``now`` (the clock was set back)."""
        self._clear()
        self.target = self._next_raster(max(now, self._floor))

    def _clear(self) -> None:
        self._before.clear()
        self._after.clear()

    def _settle(self) -> Settled:
        target = self.target
        values: list[Registered] = []
        missing: list[Obis] = []
        for obis in self._channels:
            registered = self._choose(obis)
            if registered is None:
                missing.append(obis)
            else:
                values.append(registered)
                self._last[obis] = registered
        self._clear()
        self._floor = target
        self.target = target + self._period
        return Settled(target, tuple(values), tuple(missing))

    def _choose(self, obis: Obis) -> Registered | None:
        before, after = self._before.get(obis), self._after.get(obis)
        sample = before or after
        if before and after and after.capture - self.target < self.target - before.capture:
            sample = after
        if sample is not None:
            value = sample.value
            return Registered(obis, self.target, sample.capture, value.value, value.scaler,
                              value.unit, sample.status, repeated=False)  # fmt: skip
        last = self._last.get(obis)
        if last is None:
            return None
        return Registered(obis, self.target, last.capture, last.value, last.scaler, last.unit,
                          None, repeated=True)  # fmt: skip


def _from_reading(reading: Reading) -> Registered:
    return Registered(reading.obis, reading.target, reading.capture, reading.value, reading.scaler,
                      reading.unit, None, reading.repeated)  # fmt: skip
