"""Instants, the device clock and legal local time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smgw_emu.core.device_clock import MAX_DRIFT_PPB, DeviceClock
from smgw_emu.core.errors import LocalProtocolError, RemoteProtocolError
from smgw_emu.core.instants import DAY, HOUR, SECOND, DeviceTime, WorldTime, parse_device_time
from smgw_emu.core.legal_time import day_start, month_starts, next_day_start, next_month_start

moments = st.integers(0, 4_000_000_000 * SECOND)


def test_world_and_device_time_never_mix():
    """Comparing or subtracting world time and device time is an error."""
    world, device = WorldTime(1), DeviceTime(1)
    assert world != device
    with pytest.raises(TypeError):
        _ = world < device  # type: ignore[operator]
    with pytest.raises(TypeError):
        _ = world - device  # type: ignore[operator]


@pytest.mark.req("IF_GW_CON A-1.1.3")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2019-01-07T15:22:45", "2019-01-07T15:22:45Z"),
        ("2019-01-07T15:22:45Z", "2019-01-07T15:22:45Z"),
        ("2019-01-07T15:22:45+01:00", "2019-01-07T14:22:45Z"),
        ("2019-01-07T15:22:45-1:00", "2019-01-07T16:22:45Z"),
        ("1960-02-29T00:00:00Z", "1960-02-29T00:00:00Z"),
        ("0999-12-31T23:59:59Z", "0999-12-31T23:59:59Z"),
    ],
)
def test_date_times_of_the_interface_description_are_read(text, expected):
    """No zone, Z, and offsets with one or two digits are all accepted."""
    assert parse_device_time(text).iso() == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2019-01-07",
        "2019-13-01T00:00:00Z",
        "2019-02-29T00:00:00Z",
        "2019-01-07 15:22:45",
        "2019-01-07T15:22:45+15:00",
        "2019-01-07T15:22:45+01:60",
        "٢٠١٩-01-07T15:22:45Z",
        "0001-01-01T00:00:00+14:00",
        "2019-01-07T24:00:00Z",
        "2019-01-07T15:22:45Z\n",
    ],
)
def test_other_date_times_are_refused(text):
    """Anything else is the peer's fault."""
    with pytest.raises(RemoteProtocolError):
        parse_device_time(text)


@given(moments)
def test_iso_form_round_trips(ns):
    """A whole second survives its text form."""
    moment = DeviceTime(ns // SECOND * SECOND)
    assert parse_device_time(moment.iso()) == moment
    assert DeviceTime.from_datetime(moment.datetime()) == moment


@pytest.mark.req("HW-09")
@given(moments, st.integers(-(10**15), 10**15), st.integers(-MAX_DRIFT_PPB, MAX_DRIFT_PPB), moments)
def test_device_clock_inverse_is_the_first_instant(world0, offset, drift, at):
    """world_at() is the first world instant at which the device clock shows the time."""
    clock = DeviceClock(WorldTime(world0), DeviceTime(world0 + offset), drift_ppb=drift)
    target = DeviceTime(at + offset)
    world = clock.world_at(target)
    assert clock.read(world) >= target
    assert clock.read(world + -1) < target


def test_drift_of_50_ppm_is_432_seconds_in_100_days():
    """50 ppm over 8 640 000 s gain 432 s, exactly."""
    clock = DeviceClock(WorldTime(0), drift_ppb=50_000)
    assert clock.deviation(WorldTime(100 * DAY)) == 432 * SECOND


def test_setting_the_clock_returns_the_step_and_keeps_the_drift():
    """A step is new minus old reading; changing the drift makes no step."""
    clock = DeviceClock(WorldTime(0), drift_ppb=1_000_000)
    assert clock.set(WorldTime(1000 * SECOND), DeviceTime(1000 * SECOND)) == -SECOND
    clock.set_drift(WorldTime(2000 * SECOND), 0)
    assert clock.read(WorldTime(2000 * SECOND)) == DeviceTime(2001 * SECOND)
    with pytest.raises(LocalProtocolError):
        clock.set_drift(WorldTime(0), MAX_DRIFT_PPB + 1)


@pytest.mark.req("GW-N13")
@pytest.mark.parametrize(
    ("day", "hours"), [("2026-03-28", 24), ("2026-03-29", 23), ("2026-10-25", 25)]
)
def test_local_days_have_23_24_or_25_hours(day, hours):
    """DST days are right although everything inside is UTC."""
    noon = DeviceTime.from_datetime(datetime.fromisoformat(f"{day}T10:00:00+00:00"))
    begin, end = day_start(noon), next_day_start(noon)
    assert end - begin == hours * HOUR
    assert begin <= noon < end


@pytest.mark.req("GW-N13")
def test_billing_periods_begin_at_local_midnight():
    """Month edges are 23:00Z in winter and 22:00Z in summer."""
    begin = DeviceTime.from_datetime(datetime(2026, 1, 31, 23, tzinfo=UTC))
    end = DeviceTime.from_datetime(datetime(2026, 6, 1, tzinfo=UTC))
    edges = [edge.iso() for edge in month_starts(begin, end)]
    assert edges == [
        "2026-02-28T23:00:00Z",
        "2026-03-31T22:00:00Z",
        "2026-04-30T22:00:00Z",
        "2026-05-31T22:00:00Z",
    ]


@given(moments)
def test_next_month_start_is_the_first_of_a_month(ns):
    """The edge lies after the moment and within 32 days."""
    moment = DeviceTime(ns)
    edge = next_month_start(moment)
    assert 0 < edge - moment <= 31 * DAY + HOUR
    assert day_start(edge) == edge
