"""Registration: one value per register and target time, chosen around it.

Theory of operation (TR-03109-1 v1.0 4.3.2, 4.3.5; requirements GW-N09, GW-N10):

* Targets come from a schedule: the raster of the registration period and, for use cases that
  switch, moments of their own. Values are stamped on arrival; a value counts for a target only if
  it arrived within the tolerance around it (1 % of the period, 9 s at 900 s).
* Of the values in the window the one nearest to the target is taken, the earlier one of two
  equally near. The target is settled when every register has a value at or after it, else at the
  end of the window. Windows may overlap; targets are settled in order.
* A register without a value in the window repeats its last registered value with the old capture
  time and the new target; one that never had a value registers nothing.
* Targets only rise: a clock step back does not register a target twice.

The machine is sans-IO: reports and times go in, :class:`Settled` comes out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from smgw_emu.core.instants import MILLISECOND, SECOND, DeviceTime
from smgw_emu.core.obis import Obis
from smgw_emu.core.schedule import Schedule
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
    unverified: bool = False


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
    unverified: bool = False


@dataclass(slots=True)
class _Window:
    """The nearest samples before and after a target."""

    target: DeviceTime
    before: dict[Obis, _Sample] = field(default_factory=dict)
    after: dict[Obis, _Sample] = field(default_factory=dict)

    def take(self, sample: _Sample, tolerance: int) -> None:
        distance = sample.capture - self.target
        obis = sample.value.obis
        if -tolerance <= distance <= 0:
            self.before[obis] = sample
        if 0 <= distance <= tolerance:
            self.after.setdefault(obis, sample)


class Registrar:
    """Registers the values of one meter on one schedule.

    Args:
        channels: the registers to hold.
        schedule: when.
        tolerance_ns: half width of the window.
        start: device time; the first target lies after it.
        last: newest stored line per register, to repeat and to keep targets rising.
        max_catch_up: most targets repeated after one forward step of the clock.
        wait_ns: how long after a target values for it may still arrive (compact profiles).
    """

    def __init__(
        self,
        channels: Iterable[Obis],
        schedule: Schedule,
        tolerance_ns: int,
        start: DeviceTime,
        last: Mapping[Obis, Reading] | None = None,
        max_catch_up: int = 4000,
        wait_ns: int = 0,
    ) -> None:
        self._wait = max(tolerance_ns, wait_ns)
        self.channels = tuple(channels)
        self.schedule = schedule
        self._tolerance = tolerance_ns
        self._max_catch_up = max_catch_up
        self._last: dict[Obis, Registered] = {}
        self._floor = start
        for obis, reading in (last or {}).items():
            self._last[obis] = _from_reading(reading)
            self._floor = max(self._floor, reading.target)
        self._latest: dict[Obis, _Sample] = {}
        self._windows: deque[_Window] = deque()
        self._open_next(self._floor)

    @property
    def floor(self) -> DeviceTime:
        """The last target, or the start: later ones lie after it."""
        return self._floor

    @property
    def target(self) -> DeviceTime:
        """The target that is settled next."""
        return self._windows[0].target

    def next_deadline(self) -> DeviceTime:
        """Return the end of the present target's window."""
        return self._windows[0].target + self._wait

    def on_report(self, report: MeterReport, capture: DeviceTime) -> list[Settled]:
        """Take a meter's report of ``capture``; returns the targets it settles.

        Stored values come in the order of their times, so one beyond a window closes it, however
        long values may be waited for.
        """
        settled = self.on_time(capture)
        while report.use == "stored" and capture > self.target + self._tolerance:
            settled.append(self._settle())
        while capture >= self._windows[-1].target + -self._tolerance:
            self._open_next(self._windows[-1].target)
        for value in report.values:
            if value.obis in self.channels and abs(value.value) <= INT64_MAX:
                sample = _Sample(capture, value, report.status, report.unverified)
                self._latest[value.obis] = sample
                for window in self._windows:
                    window.take(sample, self._tolerance)
        while capture >= self.target and len(self._windows[0].after) == len(self.channels):
            settled.append(self._settle())
        return settled

    def on_time(self, now: DeviceTime) -> list[Settled]:
        """Settle every target whose window has passed."""
        if now > self.next_deadline():
            self._skip(now)
        settled = []
        while now > self.next_deadline():
            settled.append(self._settle())
        return settled

    def add_target(self, moment: DeviceTime) -> None:
        """Register at one more moment, which is not before the last target (an event)."""
        self.schedule.add(moment)
        if moment <= self._floor or moment >= self._windows[-1].target:
            return
        if any(window.target == moment for window in self._windows):
            return
        window = _Window(moment)
        for sample in self._latest.values():
            window.take(sample, self._tolerance)
        later = [w for w in self._windows if w.target > moment]
        earlier = [w for w in self._windows if w.target < moment]
        self._windows = deque([*earlier, window, *later])

    def adopt(self, old: Registrar) -> None:
        """Go on where another registrar stopped: what it heard last may still be in a window."""
        for obis, sample in old._latest.items():
            if obis in self.channels:
                self._latest[obis] = sample
                for window in self._windows:
                    window.take(sample, self._tolerance)

    def resync(self, now: DeviceTime) -> None:
        """Start again at the next target after ``now`` (the clock was set back)."""
        self._latest.clear()
        self._windows.clear()
        self._open_next(max(now, self._floor))

    def _skip(self, now: DeviceTime) -> None:
        """Leave out the oldest targets after a very long absence."""
        far = now + -self._max_catch_up * self.schedule.period_ns
        if far > self.target:
            self._windows.clear()
            self._open_next(far)

    def _open_next(self, after: DeviceTime) -> None:
        self._windows.append(_Window(self.schedule.after(after)))

    def _settle(self) -> Settled:
        window = self._windows.popleft()
        target = window.target
        values: list[Registered] = []
        missing: list[Obis] = []
        for obis in self.channels:
            registered = self._choose(window, obis)
            if registered is None:
                missing.append(obis)
            else:
                values.append(registered)
                self._last[obis] = registered
        self._floor = target
        if not self._windows:
            self._open_next(target)
        return Settled(target, tuple(values), tuple(missing))

    def _choose(self, window: _Window, obis: Obis) -> Registered | None:
        target = window.target
        before, after = window.before.get(obis), window.after.get(obis)
        sample = before or after
        if before and after and after.capture - target < target - before.capture:
            sample = after
        if sample is not None:
            value = sample.value
            return Registered(obis, target, sample.capture, value.value, value.scaler,
                              value.unit, sample.status, repeated=False,
                              unverified=sample.unverified)  # fmt: skip
        last = self._last.get(obis)
        if last is None:
            return None
        return Registered(obis, target, last.capture, last.value, last.scaler, last.unit,
                          None, repeated=True)  # fmt: skip


def tolerance_ns(period_s: int, permille: int, floor_ms: int) -> int:
    """Return half the width of the registration window.

    ``permille`` of the period, at least ``floor_ms``, always less than half the period.
    """
    period = period_s * SECOND
    return min(max(period * permille // 1000, floor_ms * MILLISECOND), period // 2 - 1)


def _from_reading(reading: Reading) -> Registered:
    return Registered(reading.obis, reading.target, reading.capture, reading.value, reading.scaler,
                      reading.unit, None, reading.repeated)  # fmt: skip
