"""When values are registered: the raster of a registration period, and moments besides it.

Periods below a day lie on the UTC raster. A period of a day or a month follows the billing day or
month of legal local time, so it has 23, 24 or 25 hours, or 28 to 31 days.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable
from datetime import time

from smgw_emu.core.instants import SECOND, DeviceTime
from smgw_emu.core.legal_time import MIDNIGHT, next_day_start, next_month_start
from smgw_emu.core.usage_point import DAY_S, MONTH_S

_NEVER = DeviceTime(1 << 62)
MAX_EXTRA = 1000  # own choice: events that wait for their moment


def valid_period(period_s: int) -> bool:
    """Tell whether a registration period is possible: it divides a day, or is a month."""
    return period_s == MONTH_S or (0 < period_s <= DAY_S and DAY_S % period_s == 0)


class Raster:
    """The raster of one registration period.

    Args:
        period_s: seconds, see :func:`valid_period`.
        clock: when the billing day begins.
    """

    def __init__(self, period_s: int, clock: time = MIDNIGHT) -> None:
        self.period_s = period_s
        self.clock = clock
        self._step = period_s * SECOND

    def after(self, moment: DeviceTime) -> DeviceTime:
        """Return the first target after a moment."""
        if self.period_s == MONTH_S:
            return next_month_start(moment, self.clock)
        if self.period_s == DAY_S:
            return next_day_start(moment, self.clock)
        return DeviceTime((moment.ns // self._step + 1) * self._step)


class Events(Raster):
    """No raster at all: only moments that are added."""

    def after(self, moment: DeviceTime) -> DeviceTime:  # noqa: ARG002
        """Return a moment that never comes."""
        return _NEVER


class Schedule:
    """A raster with further moments.

    Args:
        raster: the registration period.
        planned: returns the first planned moment after another, None for none any more.
    """

    def __init__(
        self,
        raster: Raster,
        planned: Callable[[DeviceTime], DeviceTime | None] | None = None,
    ) -> None:
        self.raster = raster
        self._planned = planned
        self._next: DeviceTime | None = None
        self._asked: tuple[DeviceTime, DeviceTime] | None = None
        self._extra: list[DeviceTime] = []

    @property
    def period_ns(self) -> int:
        """The registration period."""
        return self.raster.period_s * SECOND

    def add(self, moment: DeviceTime) -> None:
        """Add a moment; the oldest goes when there are too many."""
        if moment not in self._extra:
            insort(self._extra, moment)
            del self._extra[:-MAX_EXTRA]

    def after(self, moment: DeviceTime) -> DeviceTime:
        """Return the first target after a moment."""
        target = self.raster.after(moment)
        planned = self._plan(moment)
        if planned is not None and planned < target:
            target = planned
        place = bisect_right(self._extra, moment)
        if place < len(self._extra):
            target = min(target, self._extra[place])
        return target

    def _plan(self, moment: DeviceTime) -> DeviceTime | None:
        """Ask for the next planned moment; the answer holds until then."""
        if self._planned is None:
            return None
        if self._asked is not None and self._asked[0] <= moment < self._asked[1]:
            return self._next
        self._next = self._planned(moment)
        self._asked = (moment, self._next if self._next is not None else _NEVER)
        return self._next
