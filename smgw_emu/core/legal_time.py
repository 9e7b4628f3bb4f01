"""Legal local time of Germany, for billing periods, tariffs and daily values; inside, all is UTC.

The zone comes from the ``tzdata`` package where the host has none; the host's own zone setting
is never used. A time of day that a spring day does not have is the moment the clock jumps over it;
one that an autumn day has twice is the first of both.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from smgw_emu.core.instants import SECOND, DeviceTime

ZONE = ZoneInfo("Europe/Berlin")
MIDNIGHT = time()


def local(moment: DeviceTime) -> datetime:
    """Return the local date and time of ``moment``."""
    return moment.datetime().astimezone(ZONE)


def at_local(day: date, clock: time, fold: int = 0) -> DeviceTime:
    """Return the moment at which the local clock shows ``clock`` on ``day``.

    ``fold`` = 1 is the second of two such moments on an autumn day.
    """
    wanted = datetime(day.year, day.month, day.day, clock.hour, clock.minute, clock.second,
                      tzinfo=ZONE, fold=fold)  # fmt: skip
    moment = DeviceTime.from_datetime(wanted)
    if local(moment).time() == clock:
        return moment
    return _jump(wanted)


def _jump(wanted: datetime) -> DeviceTime:
    """Return the moment at which the clock jumps over a time that does not exist."""
    low = DeviceTime.from_datetime(wanted.replace(fold=1))  # read with summer time: before
    high = DeviceTime.from_datetime(wanted.replace(fold=0))
    before = local(low).utcoffset()
    while high - low > SECOND:
        middle = DeviceTime.from_seconds((low.seconds + high.seconds) // 2)
        if local(middle).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high


def billing_day(moment: DeviceTime, clock: time = MIDNIGHT) -> date:
    """Return the date of the billing calendar day, which begins at ``clock``, of ``moment``."""
    day = local(moment).date()
    return day if at_local(day, clock) <= moment else day - timedelta(days=1)


def day_start(moment: DeviceTime) -> DeviceTime:
    """Return the local midnight at or before ``moment``."""
    return at_local(local(moment), MIDNIGHT)


def next_day_start(moment: DeviceTime, clock: time = MIDNIGHT) -> DeviceTime:
    """Return the start of the billing day after ``moment`` (23, 24 or 25 hours after the last)."""
    return at_local(billing_day(moment, clock) + timedelta(days=1), clock)


def month_start(moment: DeviceTime) -> DeviceTime:
    """Return the local start of the month of ``moment``."""
    return at_local(local(moment).replace(day=1), MIDNIGHT)


def next_month_start(moment: DeviceTime, clock: time = MIDNIGHT) -> DeviceTime:
    """Return the local start of the billing month after ``moment``."""
    return month_at(month_index(billing_day(moment, clock)) + 1, clock)


def month_starts(begin: DeviceTime, end: DeviceTime) -> Iterator[DeviceTime]:
    """Yield every local month start t with ``begin < t <= end``."""
    edge = next_month_start(begin)
    while edge <= end:
        yield edge
        edge = next_month_start(edge)


def month_index(day: date) -> int:
    """Return a running number of the month of ``day``."""
    return day.year * 12 + day.month - 1


def month_at(index: int, clock: time = MIDNIGHT) -> DeviceTime:
    """Return the start of a month by its running number."""
    return at_local(date(index // 12, index % 12 + 1, 1), clock)
