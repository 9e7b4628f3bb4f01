"""Billing periods and billing days in legal local time (TR-03109-1 v1.0 chapter 8 and 4.2.2).

A billing day begins at 00:00 for electricity and at 06:00 for gas (glossary of chapter 8). Billing
periods are counted in months, or days, from the one in which the contract begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, time

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.legal_time import at_local, billing_day, month_at, month_index
from smgw_emu.core.obis import GAS, Obis
from smgw_emu.core.usage_point import UsagePoint, parse_clock

_GAS_DAY = time(6)


def billing_clock(registers: Iterable[Obis]) -> time:
    """Return the time of day at which the billing day of these registers begins."""
    return _GAS_DAY if any(obis.medium == GAS for obis in registers) else time()


def daily_clock(point: UsagePoint, registers: Iterable[Obis]) -> time:
    """Return the time of day of a contract's daily values (T27, start of the billing day)."""
    return parse_clock(point.capture_time) if point.capture_time else billing_clock(registers)


def next_edge(point: UsagePoint, clock: time, after: DeviceTime) -> DeviceTime:
    """Return the first start of a billing period after ``after``, whatever the validity."""
    count, unit = point.billing
    if unit == "D":
        origin = billing_day(point.begin, clock).toordinal()
        day = billing_day(after, clock).toordinal() + 1
        day += (origin - day) % count
        return at_local(date.fromordinal(day), clock)
    start = month_index(billing_day(point.begin, clock))
    month = month_index(billing_day(after, clock)) + 1
    month += (start - month) % count
    return month_at(month, clock)


def last_edge(point: UsagePoint, clock: time, moment: DeviceTime) -> DeviceTime:
    """Return the last start of a billing period not after a moment, whatever the validity."""
    count, unit = point.billing
    origin, today = billing_day(point.begin, clock), billing_day(moment, clock)
    if unit == "D":
        day = today.toordinal()
        return at_local(date.fromordinal(day - (day - origin.toordinal()) % count), clock)
    month = month_index(today)
    return month_at(month - (month - month_index(origin)) % count, clock)


def edges(
    point: UsagePoint, clock: time, after: DeviceTime, until: DeviceTime
) -> Iterator[DeviceTime]:
    """Yield the edges t of a contract's billing periods with ``after < t <= until``.

    The begin and the end of the contract are edges too.
    """
    begin, finish = point.begin, point.finish
    if after < begin <= until:
        yield begin
    last = until if finish is None else min(until, finish)
    edge = next_edge(point, clock, max(after, begin))
    while edge <= last:
        yield edge
        edge = next_edge(point, clock, edge)
    if finish is not None and after < finish <= until and not is_period_start(point, clock, finish):
        yield finish


def is_period_start(point: UsagePoint, clock: time, moment: DeviceTime) -> bool:
    """Tell whether a billing period starts at a moment, whatever the validity."""
    return next_edge(point, clock, moment + -1) == moment


class Marks:
    """Moments that come again and again, for a question that is asked at every registration.

    Args:
        following: returns the first of them after a moment.
    """

    def __init__(self, following: Callable[[DeviceTime], DeviceTime]) -> None:
        self._following = following
        self._after = self._next = DeviceTime(0)

    def hit(self, moment: DeviceTime) -> bool:
        """Tell whether one of them is at ``moment``."""
        if not self._after < moment < self._next:
            self._after = moment + -1
            self._next = self._following(self._after)
        return moment == self._next
