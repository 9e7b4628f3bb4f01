"""Registration against a naive model written from the rule's own words."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smgw_emu.core.instants import SECOND, DeviceTime
from smgw_emu.core.obis import ACTIVE_ENERGY_EXPORT, ACTIVE_ENERGY_IMPORT
from smgw_emu.core.registration import Registrar, tolerance_ns
from smgw_emu.core.schedule import Events, Raster, Schedule
from smgw_emu.core.values import MeterReport, MeterValue

PERIOD = 900
IMPORT, EXPORT = ACTIVE_ENERGY_IMPORT, ACTIVE_ENERGY_EXPORT


def report(value: int, *obis) -> MeterReport:
    return MeterReport("m", tuple(MeterValue(o, value, -1, 30) for o in obis or (IMPORT,)), 4)


def new_registrar(channels, start=None, **more) -> Registrar:
    schedule = Schedule(Raster(PERIOD))
    return Registrar(
        channels, schedule, tolerance_ns(PERIOD, 10, 400), start or DeviceTime(0), **more
    )


def naive(arrivals: list[tuple[int, int]], end: int) -> list[tuple[int, int, int, bool]]:
    """For every target up to ``end``: nearest arrival within 9 s, earlier one wins; else repeat."""
    lines, last = [], None
    for target in range(PERIOD, end, PERIOD):
        if target + 9 >= end:
            break
        near = [(abs(t - target), t, v) for t, v in arrivals if abs(t - target) <= 9]
        if near:
            _, t, v = min(near)
            last = (t, v)
            lines.append((target, t, v, False))
        elif last:
            lines.append((target, *last, True))
    return lines


times = st.lists(
    st.one_of(
        st.integers(1, 8 * PERIOD),
        st.builds(lambda n, d: n * PERIOD + d, st.integers(1, 8), st.integers(-12, 12)),
    ),
    unique=True,
    max_size=40,
).map(sorted)


@pytest.mark.req("GW-N09")
@pytest.mark.req("GW-N10")
@given(times)
@example([891, 909])
@example([900])
@example([890, 910])
@example([])
def test_registration_agrees_with_the_naive_model(moments):
    """Nearest value in the window of 1 %, else the last one repeated, for every target."""
    arrivals = [(t, 1000 + n) for n, t in enumerate(moments)]
    end = 9 * PERIOD
    registrar = new_registrar([IMPORT], DeviceTime(0))
    settled = []
    for t, v in arrivals:
        settled += registrar.on_report(report(v), DeviceTime.from_seconds(t))
    settled += registrar.on_time(DeviceTime.from_seconds(end))
    lines = [
        (s.target.seconds, v.capture.seconds, v.value, v.repeated)
        for s in settled
        for v in s.values
    ]
    assert lines == naive(arrivals, end)


@given(times, st.integers(1, 10**9), st.integers(-30, 30))
def test_the_order_of_deadlines_and_reports_does_not_matter(moments, nudge, shift):
    """Calling on_time at every deadline gives what late calls give."""
    eager, lazy = (new_registrar([IMPORT], DeviceTime(0)) for _ in range(2))
    first, second = [], []
    for t in moments:
        at = DeviceTime.from_seconds(t)
        while eager.next_deadline() < at:
            first += eager.on_time(eager.next_deadline() + 1)
        first += eager.on_report(report(t), at)
        second += lazy.on_report(report(t), at)
    end = DeviceTime.from_seconds(20 * PERIOD)
    assert first + eager.on_time(end) == second + lazy.on_time(end)


def test_every_register_is_settled_together():
    """A target closes at once only when each register has a value at or after it."""
    registrar = new_registrar([IMPORT, EXPORT], DeviceTime(0))
    assert registrar.on_report(report(1, IMPORT), DeviceTime.from_seconds(900)) == []
    (settled,) = registrar.on_report(report(2, EXPORT), DeviceTime.from_seconds(903))
    assert [(v.obis, v.value) for v in settled.values] == [(IMPORT, 1), (EXPORT, 2)]


def test_a_register_that_never_spoke_is_missing_not_invented():
    """Nothing is repeated that was never measured (GW-03)."""
    registrar = new_registrar([IMPORT, EXPORT], DeviceTime(0))
    registrar.on_report(report(1, IMPORT), DeviceTime.from_seconds(899))
    (settled,) = registrar.on_time(DeviceTime.from_seconds(910))
    assert settled.missing == (EXPORT,)
    assert [value.obis for value in settled.values] == [IMPORT]


@given(st.lists(st.integers(0, 20 * PERIOD), min_size=1, max_size=10))
def test_targets_only_rise_whatever_the_clock_does(moments):
    """Steps back and forth never settle a target twice."""
    registrar = new_registrar([IMPORT], DeviceTime(0))
    targets = []
    for number, t in enumerate(moments):
        at = DeviceTime.from_seconds(t)
        if number % 2:
            registrar.resync(at)
        targets += [s.target for s in registrar.on_report(report(number), at)]
    assert targets == sorted(set(targets))


def test_a_huge_step_forward_is_bounded():
    """A clock set ten years ahead repeats max_catch_up targets, not 350 000."""
    registrar = new_registrar([IMPORT], DeviceTime(0), max_catch_up=10)
    registrar.on_report(report(1), DeviceTime.from_seconds(900))
    settled = registrar.on_time(DeviceTime(10 * 365 * 86400 * SECOND))
    assert len(settled) <= 11


def test_a_new_registrar_goes_on_with_what_the_old_one_heard():
    """A change of profiles within a window costs no value."""
    old = new_registrar([IMPORT, EXPORT])
    old.on_report(report(7), DeviceTime.from_seconds(899))
    new = new_registrar([IMPORT], old.floor)
    new.adopt(old)
    (settled,) = new.on_time(DeviceTime.from_seconds(910))
    assert [(v.value, v.capture.seconds, v.repeated) for v in settled.values] == [(7, 899, False)]


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=6, unique=True).map(sorted),
    st.lists(st.integers(1, 100), max_size=30, unique=True).map(sorted),
)
def test_moments_beside_the_raster_are_registered_like_targets(extra, arrivals):
    """Overlapping windows: each target gets the value nearest to it, the earlier of two."""
    schedule = Schedule(Events(900))
    registrar = Registrar([IMPORT], schedule, 5 * SECOND, DeviceTime(0))
    for moment in extra:
        schedule.add(DeviceTime.from_seconds(moment))
    registrar.resync(DeviceTime(0))
    settled = []
    for t in arrivals:
        settled += registrar.on_report(report(t), DeviceTime.from_seconds(t))
    settled += registrar.on_time(DeviceTime.from_seconds(200))
    expected, last = [], None
    for target in extra:
        near = [(abs(t - target), t) for t in arrivals if abs(t - target) <= 5]
        value, repeated = (min(near)[1], False) if near else (last, True)
        if value is not None:
            expected.append((target, value, repeated))
            last = value
    shown = [(s.target.seconds, v.value, v.repeated) for s in settled for v in s.values]
    assert shown == expected


@pytest.mark.req("GW-N09", "LMN-N05")
@given(
    st.lists(st.integers(1, 30 * PERIOD), unique=True, max_size=12).map(sorted),
    st.integers(1, 8),
    st.integers(0, 6 * PERIOD),
)
@example([3 * PERIOD + 100, 4 * PERIOD + 100], 4, 2 * PERIOD)
def test_compact_profiles_fill_targets_as_long_as_they_are_waited_for(telegrams, count, wait):
    """A telegram tells the ``count`` quarters before its base; each target waits ``wait`` seconds.

    The naive reading: a target has a value if any telegram that came in its time has told it.
    """
    registrar = new_registrar([IMPORT], wait_ns=wait * SECOND)
    found, end = [], 40 * PERIOD
    for at in telegrams:
        found += registrar.on_time(DeviceTime.from_seconds(at))
        base = at // PERIOD
        for quarter in range(max(1, base - count), base):
            moment = DeviceTime.from_seconds(quarter * PERIOD)
            stored = MeterReport("m", (MeterValue(IMPORT, quarter, -1, 30),), 4, "stored")
            found += registrar.on_report(stored, moment)
    found += registrar.on_time(DeviceTime.from_seconds(end))
    late = max(wait, 9)  # the window itself is waited for too
    told = {
        quarter
        for quarter in range(1, 40)
        for at in telegrams
        if at // PERIOD - count <= quarter < at // PERIOD and at <= quarter * PERIOD + late
    }
    lines = {
        settled.target.seconds // PERIOD: value.value
        for settled in found
        for value in settled.values
        if not value.repeated
    }
    assert lines == {quarter: quarter for quarter in told}
    targets = [settled.target for settled in found]
    assert targets == sorted(set(targets))
