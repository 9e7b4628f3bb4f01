"""Which stage the clock says: day profiles, the week and special days (TR-03109-1 v1.0 4.2.2.2).

Terms are those of AR 2418-6 (DayProfile, week mapping, SpecialDayProfile). The stage is a function
of what a wall clock in Germany shows, so a customer can read it off his tariff sheet on any day: a
switching time that a spring day jumps over takes effect at the jump; in the repeated hour of an
autumn day the stages of that hour come twice.
"""

from __future__ import annotations

from datetime import date, time, timedelta
from itertools import pairwise

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.legal_time import MIDNIGHT, at_local, local
from smgw_emu.core.usage_point import DayProfile, SpecialDay, UsagePoint, parse_date

_SEARCH_DAYS = 800  # a stage that lasts longer than two years has no next change


class TariffCalendar:
    """The switching times of one contract."""

    def __init__(self, point: UsagePoint) -> None:
        self._days = {
            day.id: [(switch.clock, switch.stage) for switch in day.switches]
            for day in point.day_profiles
        }
        self._week = point.week
        self._special = {parse_date(special.date): special.day for special in point.special_days}

    def day_profile(self, day: date) -> list[tuple[time, int]]:
        """Return the switching times of a date; a dated special day goes before a yearly one."""
        for year in (day.year, 0):
            number = self._special.get((year, day.month, day.day))
            if number is not None:
                return self._days[number]
        return self._days[self._week[day.weekday()]]

    def stage_at(self, moment: DeviceTime) -> int:
        """Return the stage of what is used from ``moment`` on."""
        shown = local(moment)
        clock, stage = shown.time(), 0
        for at, number in self.day_profile(shown.date()):
            if at > clock:
                break
            stage = number
        return stage

    def next_change(self, after: DeviceTime) -> DeviceTime | None:
        """Return the first moment after ``after`` at which the stage changes."""
        if len({stage for day in self._days.values() for _, stage in day}) < 2:
            return None
        day = local(after).date()
        stage = self.stage_at(after)
        for _ in range(_SEARCH_DAYS):
            for moment in self._moments(day):
                if moment > after and self.stage_at(moment) != stage:
                    return moment
            day += timedelta(days=1)
        return None

    def _moments(self, day: date) -> list[DeviceTime]:
        """Return every moment of a day at which its stage may change."""
        start, end = at_local(day, MIDNIGHT), at_local(day + timedelta(days=1), MIDNIGHT)
        clocks = [at for at, _ in self.day_profile(day)]
        moments = {at_local(day, clock, fold) for clock in clocks for fold in (0, 1)}
        hours = [DeviceTime(ns) for ns in range(start.ns, end.ns + 1, 3_600_000_000_000)]
        moments |= {
            late
            for early, late in pairwise(hours)
            if local(early).utcoffset() != local(late).utcoffset()
        }
        return sorted(moments)


def calendar_faults(point: UsagePoint) -> list[tuple[str, str]]:
    """Return what is wrong with a calendar: element and reason."""
    faults: list[tuple[str, str]] = []
    known = {day.id for day in point.day_profiles}
    stages = {stage.number for stage in point.stages}
    if not point.day_profiles:
        faults.append(("day_profiles", "no switching times"))
    if len(known) != len(point.day_profiles):
        faults.append(("day_profiles", "an id is given twice"))
    for day in point.day_profiles:
        faults += _day_faults(day, stages)
    if len(point.week) != 7:
        faults.append(("week", f"7 days from Monday to Sunday, not {len(point.week)}"))
    for number in point.week:
        if number not in known:
            faults.append(("week", f"no day profile {number}"))
    return faults + _special_faults(point.special_days, known)


def _day_faults(day: DayProfile, stages: set[int]) -> list[tuple[str, str]]:
    where = f"day_profiles/{day.id}"
    faults = [
        (where, f"no stage {switch.stage}") for switch in day.switches if switch.stage not in stages
    ]
    clocks = [switch.clock for switch in day.switches]
    if not clocks or clocks[0] != MIDNIGHT:
        faults.append((where, "the first switching time must be 00:00"))
    for early, late in pairwise(clocks):
        if early == late:
            faults.append((where, f"two switching times at {early}"))
        elif early > late:
            faults.append((where, f"{late} stands after {early}"))
    return faults


def _special_faults(days: tuple[SpecialDay, ...], known: set[int]) -> list[tuple[str, str]]:
    faults = []
    dates = [parse_date(special.date) for special in days]
    for special, day in zip(days, dates, strict=True):
        where = f"special_days/{special.date}"
        if special.day not in known:
            faults.append((where, f"no day profile {special.day}"))
        if dates.count(day) > 1:
            faults.append((where, "given twice"))
    return faults
