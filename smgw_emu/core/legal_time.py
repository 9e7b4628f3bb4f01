"""Legal local time of Germany, for billing periods and daily values; inside, all is UTC.

The zone comes from the ``tzdata`` package where the host has none; the host's own zone setting
is never used.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from smgw_emu.core.instants import DeviceTime

ZONE = ZoneInfo("Europe/Berlin")


def local(moment: DeviceTime) -> datetime:
    """Return the local date and time of ``moment``."""
    return moment.datetime().astimezone(ZONE)


def at_local(day: datetime, clock: time) -> DeviceTime:
    """Return the moment at which the local clock shows ``clock`` on the date of ``day``."""
    return DeviceTime.from_datetime(datetime.combine(day.date(), clock, ZONE))


def day_start(moment: DeviceTime) -> DeviceTime:
    """Return the local midnight at or before ``moment``."""
    return at_local(local(moment), time())


def next_day_start(moment: DeviceTime) -> DeviceTime:
    """Return the local midnight after ``moment`` (23, 24 or 25 hours after the one before)."""
    return at_local(local(moment) + timedelta(days=1), time())


def month_start(moment: DeviceTime) -> DeviceTime:
    """Return the local start of the month of ``moment``."""
    return at_local(local(moment).replace(day=1), time())


def next_month_start(moment: DeviceTime) -> DeviceTime:
    """Return the local start of the month after ``moment``."""
    first = local(moment).replace(day=1, hour=12)
    return at_local((first + timedelta(days=32)).replace(day=1), time())


def month_starts(begin: DeviceTime, end: DeviceTime) -> Iterator[DeviceTime]:
    """Yield every local month start t with ``begin < t <= end``."""
    edge = next_month_start(begin)
    while edge <= end:
        yield edge
        edge = next_month_start(edge)
