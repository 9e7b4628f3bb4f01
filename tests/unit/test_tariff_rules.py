"""Use cases one by one: what the norm says of each, and what a profile must fulfil."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal, localcontext

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import FakeKey
from tariff_lab import EXPORT, IMPORT, METER, POWER, SECOND_METER, TariffLab, contract

from smgw_emu import profiles
from smgw_emu.core.config import check_config
from smgw_emu.core.device import Device
from smgw_emu.core.device_clock import DeviceClock
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import MINUTE, SECOND, DeviceTime, WorldTime, parse_device_time
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.orders import Orders
from smgw_emu.core.signature import plain, signature_input
from smgw_emu.core.status import word_hex
from smgw_emu.core.store import Store
from smgw_emu.core.tariff import USE_CASES
from smgw_emu.core.tariff.calendar import TariffCalendar
from smgw_emu.core.tariff.totals import divide, round_half_up, to_inner
from smgw_emu.core.usage_point import (
    DayProfile,
    Prepaid,
    SpecialDay,
    Stage,
    Switch,
    Trigger,
    UsagePoint,
)

START = "2026-05-10T10:00:00Z"
GAS, WATER = "0700030000ff", "0800010000ff"
BOTH = (Meter(METER, obis=(IMPORT, EXPORT, POWER)),)
TWO_STAGES = (Stage(1), Stage(2))
ALL_DAY = {"day_profiles": (DayProfile(1, (Switch("00:00", 1),)),), "week": (1,) * 7}


def at(minutes: float) -> WorldTime:
    return WorldTime(parse_device_time(START).ns + round(minutes * MINUTE))


def quarters(lab: TariffLab, count: int, values=lambda n: n, first: int = 1, **more) -> None:
    for number in range(first, first + count):
        lab.feed(at(15 * number), values(number), **more)


# -- arithmetic ------------------------------------------------------------------------------


@pytest.mark.req("TR-03109-1 v1.0 4.3.3 no. 11")
@given(st.integers(-(10**20), 10**20), st.integers(0, 9))
@example(5, 1)
@example(-5, 1)
@example(4, 1)
def test_rounding_is_commercial(value, places):
    """0 to 4 down, 5 to 9 up, of the first dropped digit."""
    exact = Decimal(value).scaleb(-places)
    assert round_half_up(value, places) == exact.quantize(Decimal(1), ROUND_HALF_UP)


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**6))
def test_division_is_rounded_the_same_way(value, by):
    """Mean powers."""
    low = abs(value) // by
    up = 2 * (abs(value) - low * by) >= by
    assert divide(value, by) == (low + up) * (1 if value >= 0 else -1)


def test_a_sum_of_fine_readings_has_three_decimals():
    """Exact inside, rounded once: 0.0004 + 0.0004 is 0.001, not 0."""
    point = contract("taf1-1", 1, START, meters=(METER, SECOND_METER))
    lab = TariffLab(point, start="2026-05-10T09:59:00Z")
    lab.feed(START, 4, scaler=-4)
    lab.feed(START, 4, scaler=-4, meter=SECOND_METER)
    (line,) = lab.lines("taf1-1", "derived")
    assert (line.value, line.scaler) == (1, -3)
    assert to_inner(1234567, -7) == 123457


@pytest.mark.req("TR-03109-1 v1.0 4.2.2.1")
def test_meters_are_subtracted_and_transformers_multiply():
    """Consumption less a sub-meter behind a 40:1 transformer."""
    meters = (Meter(METER, factor=40), Meter(SECOND_METER))
    point = contract("taf1-1", 1, START, meters=(METER, SECOND_METER), subtract=(SECOND_METER,))
    lab = TariffLab(point, start="2026-05-10T09:59:00Z", meters=meters)
    lab.feed(START, 100)
    lab.feed(START, 1000, meter=SECOND_METER)
    assert lab.series("taf1-1", "derived") == [(START, 3000)]


# -- time ------------------------------------------------------------------------------------


def calendar(*switches: Switch, special: tuple[SpecialDay, ...] = ()) -> TariffCalendar:
    point = UsagePoint(
        "t", 2, "anna", (METER,), START, stages=TWO_STAGES,
        day_profiles=(DayProfile(1, switches), DayProfile(2, (Switch("00:00", 2),))),
        week=(1,) * 7, special_days=special,
    )  # fmt: skip
    return TariffCalendar(point)


def moment(text: str) -> DeviceTime:
    return parse_device_time(text)


def test_a_switch_at_half_past_two_on_the_days_the_clock_moves():
    """Spring: at the jump (01:00Z). Autumn: the hour comes twice, and so do its stages."""
    plan = calendar(Switch("00:00", 1), Switch("02:30", 2))
    changes, when = [], moment("2026-03-28T23:00:00Z")
    while (when := plan.next_change(when)) < moment("2026-03-30T00:00:00Z"):
        changes.append(when.iso())
    assert changes == ["2026-03-29T01:00:00Z", "2026-03-29T22:00:00Z"]
    changes, when = [], moment("2026-10-24T22:00:00Z")
    while (when := plan.next_change(when)) < moment("2026-10-25T22:00:00Z"):
        changes.append(when.iso()[11:16])
    assert changes == ["00:30", "01:00", "01:30"]


@given(st.integers(1_700_000_000, 1_900_000_000), st.integers(0, 95), st.integers(0, 95))
def test_the_next_change_is_the_first_moment_the_stage_differs(seconds, first, second):
    """Against a search minute by minute over two days."""
    clocks = sorted({f"{q // 4:02}:{q % 4 * 15:02}" for q in (first, second)} - {"00:00"})
    plan = calendar(Switch("00:00", 1), *(Switch(c, 2 - n % 2) for n, c in enumerate(clocks)))
    begin = DeviceTime.from_seconds(seconds // 60 * 60)
    stage = plan.stage_at(begin)
    searched = next(
        (t for t in (begin + n * MINUTE for n in range(1, 2 * 1440)) if plan.stage_at(t) != stage),
        None,
    )
    found = plan.next_change(begin)
    assert found == searched or (searched is None and (found is None or found > begin + 1))


def test_special_days_go_before_the_week_and_a_date_before_a_yearly_one():
    """24 December each year, and one Friday of its own."""
    plan = calendar(
        Switch("00:00", 1),
        special=(
            SpecialDay("0000-12-24", 2),
            SpecialDay("2026-05-15", 2),
            SpecialDay("2027-12-24", 1),
        ),
    )
    assert plan.stage_at(moment("2026-12-24T12:00:00Z")) == 2
    assert plan.stage_at(moment("2027-12-24T12:00:00Z")) == 1
    assert plan.stage_at(moment("2026-05-15T12:00:00Z")) == 2
    assert plan.stage_at(moment("2026-05-16T12:00:00Z")) == 1


def test_a_switch_off_the_raster_has_a_registration_of_its_own():
    """12:07:30 local: exact to the second; the shared series keeps its raster."""
    point = contract(
        "taf2-1", 2, START, stages=TWO_STAGES, week=(1,) * 7,
        day_profiles=(DayProfile(1, (Switch("00:00", 1), Switch("12:07:30", 2))),),
    )  # fmt: skip
    lab = TariffLab(point, contract("taf7-1", 7, START), start="2026-05-10T09:59:00Z")
    for minutes in (0, 7.5, 15, 30):
        lab.feed(at(minutes), int(minutes * 10))
    assert lab.series("taf2-1", "origin")[1] == ("2026-05-10T10:07:30Z", 75)
    assert [t for t, _ in lab.series("taf7-1", "origin")] == [at(n).iso() for n in (0, 15, 30)]
    entries = lab.series("taf2-1", "calculated", "0100010801ff")
    assert entries == [(START, 0), ("2026-05-10T10:07:30Z", 75)]
    now = {x.obis.hex: x.value for x in lab.view().last_readings(lab.point("taf2-1"), "calculated")}
    assert now[IMPORT] == 300
    assert (now["0100010801ff"], now["0100010802ff"]) == (75, 225)


@pytest.mark.req("T09")
@pytest.mark.req("GW-N10")
def test_values_at_the_edge_of_the_window():
    """8.9 s late counts; 9.1 s late does not: the value before is repeated, marked."""
    lab = TariffLab(contract("taf7-1", 7, START), start="2026-05-10T09:50:00Z")
    lab.feed(at(0), 1)
    lab.feed(WorldTime(at(15).ns + 8_900_000_000), 2)
    lab.feed(WorldTime(at(30).ns + 9_100_000_000), 3)
    lines = [(x.value, word_hex(x.smgw_word)) for x in lab.lines("taf7-1", "origin")]
    assert lines == [(1, "a0000000"), (2, "a0000000"), (2, "e0020000")]


@pytest.mark.req("T10")
@pytest.mark.req("SEC-23")
def test_values_stay_marked_after_the_time_is_valid_again_and_do_not_count():
    """Energy of the invalid time goes to the error register (4.3.4: time information invalid)."""
    point = contract("taf2-1", 2, START, stages=TWO_STAGES, **ALL_DAY)
    lab = TariffLab(point, start="2026-05-10T09:59:00Z")
    quarters(lab, 3, lambda n: 10 * n, first=0)
    device = lab.device
    device.lose_time(lab.now)
    quarters(lab, 2, lambda n: 10 * n, first=3)
    device.set_clock(lab.now, device.now(lab.now), valid=True)
    quarters(lab, 2, lambda n: 10 * n, first=5)
    words = [word_hex(x.smgw_word) for x in lab.lines("taf2-1", "origin")]
    assert words == ["a0000000"] * 3 + ["a0400000"] * 2 + ["a0000000"] * 2
    parts = {x.obis.hex: x.value for x in device.metering.current_registers(point, "calculated")}
    assert (parts["0100010801ff"], parts["010001083fff"], parts[IMPORT]) == (30, 30, 60)


@pytest.mark.req("GW-44")
@pytest.mark.parametrize("period", [1, 60, 300, 3600, 86_400, 2_678_400])
def test_any_period_from_a_second_to_a_month(period):
    """A day is the legal day, 2678400 the calendar month."""
    lab = TariffLab(contract("taf7-1", 7, START, period_s=period), start="2026-05-10T09:50:00Z")
    registrar = lab.device.metering.next_deadline()
    first = {86_400: "2026-05-10T22:00:00Z", 2_678_400: "2026-05-31T22:00:00Z",
             3600: START}.get(period)  # fmt: skip
    assert registrar is not None
    target = first or None
    if target is None:
        begin = parse_device_time("2026-05-10T09:50:00Z")
        target = DeviceTime((begin.ns // (period * SECOND) + 1) * period * SECOND).iso()
        lab = TariffLab(
            contract("taf7-1", 7, target, period_s=period), start="2026-05-10T09:50:00Z"
        )
    lab.feed(target, 7)
    assert lab.series("taf7-1", "origin") == [(target, 7)]


@pytest.mark.req("GW-04")
def test_gas_has_its_day_at_six_and_water_at_midnight():
    """Billing day and billing month of gas begin at 06:00 local (chapter 8)."""
    meters = (
        Meter("7EMU0000000001", obis=(GAS,), unit=13, word="gas"),
        Meter("8EMU0000000001", obis=(WATER,), unit=13, word="wireless"),
    )
    points = [
        contract(name, 1, "2026-05-30T10:00:00Z", meters=(meter.id,), period_s=3600)
        for name, meter in zip(("gas", "water"), meters, strict=True)
    ]
    lab = TariffLab(*points, start="2026-05-30T09:50:00Z", meters=meters)
    begin = parse_device_time("2026-05-30T10:00:00Z").ns
    for hour in range(48):
        when = WorldTime(begin + hour * 60 * MINUTE)
        lab.feed(when, {GAS: hour}, meter="7EMU0000000001", status=8, unit=13)
        lab.feed(when, {WATER: hour}, meter="8EMU0000000001", status=0, unit=13)
    assert lab.series("gas", "daily", GAS) == [
        ("2026-05-31T04:00:00Z", 18), ("2026-06-01T04:00:00Z", 42)
    ]  # fmt: skip
    assert [t for t, _ in lab.series("gas", "derived", GAS)][1:] == ["2026-06-01T04:00:00Z"]
    assert [t for t, _ in lab.series("water", "derived", WATER)][1:] == ["2026-05-31T22:00:00Z"]
    words = {word_hex(x.meter_word) for x in lab.lines("gas", "origin")}
    assert words == {"10000000"}
    view, now = lab.view(), lab.device.now(lab.now)
    (_, last) = view.billing_periods(lab.point("gas"), now)
    assert last.begin.iso() == "2026-06-01T04:00:00Z"
    assert view.daily_clock(lab.point("gas")) == "06:00:00"


# -- what happens to meters --------------------------------------------------------------------


@pytest.mark.req("LMN-15")
@pytest.mark.req("H26")
def test_a_meter_exchange_keeps_the_old_series_and_the_registers_go_on():
    """4.3.3 no. 5: contents survive; the consumer sees both meters' readings."""
    lab = TariffLab(
        contract("taf1-1", 1, "2026-05-31T10:00:00Z", billing_period="1M"),
        contract("taf2-1", 2, "2026-05-31T10:00:00Z", stages=TWO_STAGES, **ALL_DAY),
        start="2026-05-31T09:50:00Z",
    )
    begin = parse_device_time("2026-05-31T10:00:00Z").ns

    def hour(number: int, value: int, meter: str) -> None:
        for quarter in range(4):
            when = WorldTime(begin + (4 * number + quarter) * 15 * MINUTE)
            lab.feed(when, value + quarter, meter=meter)

    for number in range(6):
        hour(number, 500_000 + 4 * number, METER)
    lab.change(
        *(msgspec.structs.replace(p, meters=(SECOND_METER,)) for p in lab.config.usage_point)
    )
    for number in range(6, 14):
        hour(number, 4 * (number - 6), SECOND_METER)
    origin = lab.lines("taf1-1", "origin")
    assert [x.meter for x in origin].count(METER.lower()) == 24
    assert origin[-1].meter == SECOND_METER.lower()
    (_, end) = lab.series("taf1-1", "derived")
    # 23 on the old meter, 24 quarter hours on the new one after its first reading
    assert end == ("2026-05-31T22:00:00Z", 500_000 + 23 + 24)
    parts = (
        dict(lab.series("taf2-1", "derived", "010001083fff")),
        dict(lab.series("taf2-1", "derived", "0100010801ff")),
    )
    assert parts[0]["2026-05-31T22:00:00Z"] + parts[1]["2026-05-31T22:00:00Z"] == 23 + 24
    assert "EMU.181.0" in lab.events()


@pytest.mark.req("L10")
def test_a_reset_register_is_marked_told_and_costs_nobody_anything():
    """The sum goes on; the line of the period carries a warning (PTB 1)."""
    point = contract("taf1-1", 1, START, end="2026-05-10T12:00:00Z")
    lab = TariffLab(point, start="2026-05-10T09:59:00Z")
    values = {0: 1000, 1: 1010, 2: 3, 3: 13, 4: 23, 5: 33, 6: 43, 7: 53, 8: 63}
    quarters(lab, 9, values.__getitem__, first=0)
    assert lab.series("taf1-1", "derived") == [(START, 1000), ("2026-05-10T12:00:00Z", 1060)]
    words = [word_hex(x.smgw_word) for x in lab.lines("taf1-1", "derived")]
    assert words == ["a0000000", "a0080000"]
    assert {"EMU.41.2", "EMU.181.2", "EMU.180.2"} <= set(lab.events())


def test_meters_of_different_resolution_share_one_scaler():
    """After an exchange old and new lines are shown with the finer one, and stay verifiable."""
    lab = TariffLab(contract("taf7-1", 7, START), start="2026-05-10T09:59:00Z")
    lab.feed(at(0), 1234, scaler=0)
    lab.feed(at(0), 1, scaler=-2, meter=SECOND_METER)
    lab.lines("taf7-1", "origin")
    lab.change(msgspec.structs.replace(lab.point("taf7-1"), meters=(SECOND_METER,)))
    lab.feed(at(15), 150, scaler=-2, meter=SECOND_METER)
    old, new = lab.lines("taf7-1", "origin")
    (channel,) = lab.view().channels(lab.point("taf7-1"), "origin")
    assert (old.scaler, new.scaler, channel.scaler) == (0, -2, -2)
    fine = replace(old, value=123_400, scaler=-2)
    assert signature_input(fine, old.meter) == signature_input(old, old.meter)


@given(st.integers(-(2**63), 2**63), st.integers(-30, 30))
@example(-1, -2)
@example(100, -2)
@example(0, -3)
def test_the_signed_number_is_the_same_with_any_scaler(value, scaler):
    """Against Decimal; never an exponent, never a trailing zero after the point."""
    text = plain(value, scaler)
    with localcontext(prec=80):
        assert Decimal(text) == Decimal(value).scaleb(scaler)
    assert "E" not in text and not ("." in text and text.endswith(("0", ".")))
    assert plain(value * 1000, scaler - 3) == text


def test_a_missing_quarter_hour_does_not_touch_the_sum_of_a_month():
    """TAF1 needs the readings at the edges only; TAF8 needs all of them and says so."""
    end = "2026-05-10T12:00:00Z"
    points = contract("taf1-1", 1, START, end=end), contract("taf8-1", 8, START, end=end, maxima=1)
    lab = TariffLab(*points, start="2026-05-10T09:59:00Z")
    for number in (0, 1, 2, 4, 5, 6, 7, 8):
        lab.feed(at(15 * number), 10 * number)
    words = [word_hex(x.smgw_word) for x in lab.lines("taf1-1", "derived")]
    assert words == ["a0000000", "a0000000"]
    (extreme,) = lab.lines("taf8-1", "derived")
    assert (extreme.value, word_hex(extreme.smgw_word)) == (40_000, "a0080000")


def test_a_rollover_is_no_reset():
    """A six-digit register passes 999999: no mark, no loss."""
    point = contract("taf1-1", 1, START, end="2026-05-10T12:00:00Z")
    lab = TariffLab(point, start="2026-05-10T09:59:00Z", meters=(Meter(METER, digits=6),))
    quarters(lab, 9, lambda n: (999_998 + n) % 10**6, first=0)
    assert lab.series("taf1-1", "derived")[-1][1] == 1_000_006
    assert {x.smgw_word for x in lab.lines("taf1-1", "origin")} == {0xA0000000}
    assert "EMU.181.1" in lab.events()


def test_a_balancing_meter_may_count_down():
    """T38 Saldierend."""
    meters = (Meter(METER, balancing=True),)
    point = contract("taf2-1", 2, START, stages=TWO_STAGES, **ALL_DAY)
    lab = TariffLab(point, start="2026-05-10T09:59:00Z", meters=meters)
    quarters(lab, 4, lambda n: 100 - 10 * n, first=0)
    parts = {x.obis.hex: x.value for x in lab.device.metering.current_registers(point, "derived")}
    assert (parts[IMPORT], parts["0100010801ff"], parts["010001083fff"]) == (-30, -30, 0)


@pytest.mark.req("L08")
@pytest.mark.req("L09")
@pytest.mark.req("GW-N07")
@pytest.mark.parametrize(
    ("fault", "event", "word"), [(9, "EMU.180.1", "20400000"), (17, "EMU.180.0", "20004000")]
)
def test_tamper_and_fatal_errors_reach_value_logs_and_participants(fault, event, word):
    """PTB 3 and 4; the participant learns of a fatal error without any reading (T36)."""
    point = contract("taf1-1", 1, START, billing_period="1M")
    lab = TariffLab(point, start="2026-05-10T09:59:00Z")
    quarters(lab, 2, first=0)
    quarters(lab, 2, first=2, status=4 | 1 << fault)
    lines = lab.lines("taf1-1", "origin")
    assert word_hex(lines[-1].meter_word) == word
    assert event in lab.events() and event in lab.events("calibration")
    barred = [e for e in lab.device.logbooks.entries("consumer", "anna") if e.event == "EMU.180.2"]
    assert len(barred) == 1 and "2" in barred[0].message
    if fault == 17:
        ((name, values, reason),) = lab.sent
        assert (name, reason) == ("taf1-1", "meter-fatal")
        assert [reading.obis.hex for _, reading in values] == ["0000616100ff"]
    else:
        assert lab.sent == []


def test_two_meters_with_one_id_end_in_marks_not_in_a_bill():
    """Two registers answer under one id: every fall is marked and logged, the sum never jumps."""
    point = contract("taf2-1", 2, START, stages=TWO_STAGES, **ALL_DAY)
    lab = TariffLab(point, start="2026-05-10T09:59:00Z")
    quarters(lab, 12, lambda n: 1000 + n if n % 2 else 900_000 + n, first=0)
    words = [word_hex(x.smgw_word) for x in lab.lines("taf2-1", "origin")]
    assert words[1::2] == ["a0020000"] * 6
    parts = {x.obis.hex: x.value for x in lab.device.metering.current_registers(point, "derived")}
    assert parts["0100010801ff"] == 0
    assert parts[IMPORT] == parts["010001083fff"] == 10
    with pytest.raises(ConfigError, match="given twice"):
        TariffLab(start=START, meters=(Meter(METER), Meter(METER.lower())))


def test_values_from_the_future_are_not_written_twice():
    """The clock was ahead and is set back: lines stay, targets go on where the clock is again."""
    lab = TariffLab(contract("taf7-1", 7, START), start="2026-05-10T09:59:00Z")
    quarters(lab, 4, first=0)
    device = lab.device
    device.set_clock(lab.now, device.now(lab.now) + -30 * MINUTE, valid=True)
    quarters(lab, 4, first=4)
    assert [t for t, _ in lab.series("taf7-1", "origin")] == [
        at(15 * n).iso() for n in (0, 1, 2, 3, 4, 5)
    ]
    assert "EMU.50.0" in lab.events("calibration")


@pytest.mark.req("H27")
@pytest.mark.req("GW-12")
def test_moving_out_archives_the_contract_and_hides_it_from_the_next():
    """The old contract stays readable for its consumer; the new one sees only his time."""
    lab = TariffLab(contract("old", 7, START), start="2026-05-10T09:59:00Z")
    quarters(lab, 5, first=0)
    old = msgspec.structs.replace(lab.point("old"), end=at(60).iso())
    new = msgspec.structs.replace(old, name="new", consumer="bert", start=at(60).iso(), end="")
    lab.change(old, new)
    quarters(lab, 4, first=5)
    now = lab.device.now(lab.now)
    assert (old.state(now), new.state(now)) == ("archive", "running")
    assert [v for _, v in lab.series("old", "origin")] == [0, 1, 2, 3, 4]
    assert [v for _, v in lab.series("new", "origin")] == [4, 5, 6, 7, 8]
    assert lab.view("bert").usage_point(old.logical_name) is None
    versions = lab.device.history.versions("usage-point", "old")
    assert [(v.number, v.ended is None) for v in versions] == [(1, False), (2, True)]


# -- power cuts --------------------------------------------------------------------------------


def test_a_power_cut_over_the_end_of_the_month_leaves_a_marked_line(tmp_path):
    """The bill's line is there, marked, and the gap's energy lies in the error register."""
    start = "2026-05-31T20:00:00Z"
    points = (
        contract("taf1-1", 1, start),
        contract("taf2-1", 2, start, stages=TWO_STAGES, **ALL_DAY),
    )
    lab = TariffLab(*points, start="2026-05-31T19:59:00Z")
    store = Store(tmp_path / "state.db")
    base = parse_device_time(start).ns

    def device(when: int) -> Device:
        clock = DeviceClock(WorldTime(when))
        profile = profiles.load()
        made = Device(lab.config, profile, store, FakeKey(), clock, "ab" * 32)
        made.power_on(WorldTime(when))
        lab.device = made
        return made

    device(base - MINUTE)
    for n in range(5):
        lab.feed(WorldTime(base + n * 15 * MINUTE), 100 + n)
    device(base + 20 * 15 * MINUTE - MINUTE)  # power was off for four hours, over midnight
    for n in range(20, 24):
        lab.feed(WorldTime(base + n * 15 * MINUTE), 100 + n)
    store.check()
    (first, marked) = lab.lines("taf1-1", "derived")
    assert (first.value, marked.value, marked.repeated) == (100, 104, True)
    assert marked.target.iso() == "2026-05-31T22:00:00Z"
    parts = {
        x.obis.hex: x.value for x in lab.device.metering.current_registers(points[1], "derived")
    }
    assert (parts["0100010801ff"], parts["010001083fff"], parts[IMPORT]) == (7, 16, 23)
    store.close()


def test_a_contract_that_ends_while_power_is_off_has_all_its_lines():
    """Month, days and end are written at the next registration, marked."""
    start = "2026-05-30T20:00:00Z"
    point = contract("taf1-1", 1, start, end="2026-06-02T10:00:00Z")
    lab = TariffLab(point, start="2026-05-30T19:59:00Z")
    lab.feed(start, 5)
    device = lab.device
    device.metering.clock_set_back(device.now(lab.now))  # forgets its windows
    lab.device = Device(
        lab.config, profiles.load(), device.store, FakeKey(),
        DeviceClock(WorldTime(parse_device_time("2026-06-03T10:00:01Z").ns)), "ab" * 32,
    )  # fmt: skip
    lab.now = WorldTime(parse_device_time("2026-06-03T10:00:01Z").ns)
    lab.device.power_on(lab.now)
    lab.feed("2026-06-03T10:15:00Z", 9)
    lines = [(x.target.iso(), x.value, x.repeated) for x in lab.lines("taf1-1", "derived")]
    assert lines == [
        (start, 5, False), ("2026-05-31T22:00:00Z", 5, True), ("2026-06-02T10:00:00Z", 5, True),
    ]  # fmt: skip
    days = [t for t, _ in lab.series("taf1-1", "daily")]
    assert days == ["2026-05-30T22:00:00Z", "2026-05-31T22:00:00Z", "2026-06-01T22:00:00Z"]


# -- profiles ----------------------------------------------------------------------------------

BAD = {
    "overlapping switching times": (
        {"taf": 2, "stages": TWO_STAGES, "week": (1,) * 7,
         "day_profiles": (DayProfile(1, (Switch("00:00", 1), Switch("06:00", 2), Switch("06:00", 1))),)},
        "day_profiles/1: two switching times at 06:00:00",
    ),
    "a day that does not begin": (
        {"taf": 2, "stages": TWO_STAGES, "week": (1,) * 7,
         "day_profiles": (DayProfile(1, (Switch("06:00", 2),)),)},
        "the first switching time must be 00:00",
    ),
    "a special day twice": (
        {"taf": 2, "stages": TWO_STAGES, **ALL_DAY,
         "special_days": (SpecialDay("2026-05-01", 1), SpecialDay("2026-05-01", 1))},
        "special_days/2026-05-01: given twice",
    ),
    "a date that is none": (
        {"taf": 2, "stages": TWO_STAGES, **ALL_DAY, "special_days": (SpecialDay("2026-02-30", 1),)},
        "special day '2026-02-30'",
    ),
    "unknown OBIS": ({"taf": 7, "obis": ("0100630100ff",)}, "0100630100ff is no register of meter"),
    "a sum of nothing that counts": ({"taf": 1, "obis": (POWER,)}, "no register that counts"),
    "lists of others": ({"taf": 7, "sources": ("berts",)}, "only TAF13 shows"),
    "two years": ({"taf": 1, "billing_period": "24M"}, "billing_period '24M'"),
    "no OBIS": ({"taf": 7, "obis": ("x",)}, "not an OBIS code"),
    "a billing period below a month": ({"taf": 1, "billing_period": "1D"}, "not shorter than one month"),
    "a billing period that is none": ({"taf": 1, "billing_period": "monthly"}, "billing_period 'monthly'"),
    "no stage": ({"taf": 2, **ALL_DAY}, "stages: none given"),
    "the error register as stage": ({"taf": 2, "stages": (Stage(63),), **ALL_DAY}, "stages/63"),
    "quotas that fall": (
        {"taf": 4, "stages": (Stage(1, quota=50), Stage(2, quota=40), Stage(3))}, "must rise"),
    "TAF5 without a first stage": ({"taf": 5, "stages": TWO_STAGES}, "first_stage: TAF5"),
    "two meters for TAF7": ({"taf": 7, "meters": (METER, SECOND_METER)}, "TAF7 reads one meter"),
    "one meter twice": ({"taf": 1, "meters": (METER, METER.lower())}, "is given twice"),
    "a meter that is slower": ({"taf": 7, "period_s": 60, "meters": (SECOND_METER,)},
                               "gives values every 900 s only"),
    "a period that divides no day": ({"taf": 7, "period_s": 7}, "period_s must divide a day"),
    "no extremes": ({"taf": 8}, "at least one minimum or maximum"),
    "a trigger on a foreign register": (
        {"taf": 10, "triggers": (Trigger("above", "0100200700ff", 230),)}, "triggers/1"),
    "a trigger without bits": ({"taf": 10, "triggers": (Trigger("status", mask="0"),)}, "mask"),
    "prepaid without energy": ({"taf": 12}, "prepaid: TAF12"),
    "another consumer's lists": ({"taf": 13, "sources": ("berts",)}, "is another consumer's"),
    "lists of nobody": ({"taf": 13, "sources": ("nobody",)}, "is not configured"),
    "an end before the start": ({"taf": 7, "end": "2026-05-01T00:00:00Z"}, "end is not after start"),
    "no such time of day": ({"taf": 7, "capture_time": "25:00"}, "capture_time: '25:00'"),
}  # fmt: skip


@pytest.mark.req("TR-03109-1 v1.0 4.4.3")
@pytest.mark.req("GW-49")
@pytest.mark.parametrize("name", BAD)
def test_a_wrong_profile_is_refused_with_element_and_reason(name):
    """Nothing of it is activated."""
    changes, reason = BAD[name]
    point = contract(
        "bad", changes.get("taf"), START, **{k: v for k, v in changes.items() if k != "taf"}
    )
    others = contract("berts", 7, START)
    with pytest.raises(ConfigError) as caught:
        TariffLab(
            point, msgspec.structs.replace(others, consumer="bert"), start=START,
            meters=(Meter(METER, obis=(IMPORT, POWER)), Meter(SECOND_METER, interval_s=900)),
        )  # fmt: skip
    assert reason in str(caught.value)
    assert str(caught.value).startswith("usage_point 'bad'")


def test_every_wrong_element_is_named():
    """Not only the first one."""
    lab = TariffLab(start=START)
    point = contract("bad", 99, START, end="x", capture_time="7", meters=("1XXX0000000001",))
    with pytest.raises(ConfigError) as caught:
        check_config(msgspec.structs.replace(lab.config, usage_point=(point,)))
    for element in ("taf:", "end:", "capture_time:", "meters:"):
        assert element in str(caught.value)


@pytest.mark.req("GW-N03")
def test_there_is_a_use_case_for_every_number_but_fifteen():
    """GW-N03 and the TR minimum."""
    assert sorted(USE_CASES) == [*range(1, 15), 16]


# -- events, present values ----------------------------------------------------------------------


def mean(lab: TariffLab, name: str) -> list[int]:
    return [v for _, v in lab.series(name, "calculated", "0000600e00ff")]


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=40))
@example([1250, 1251])
def test_load_stages_by_mean_power(loads):
    """TAF3 method A: the stage of a period is decided at the end of the one before."""
    point = contract("taf3-1", 3, START, stages=(Stage(1), Stage(2, threshold=5000)))
    lab = TariffLab(point, start="2026-05-10T09:59:00Z")
    reading, stage, parts, changes = 0, 1, {1: 0, 2: 0}, [1]
    lab.feed(START, 0)
    for number, load in enumerate(loads, 1):
        reading += load
        lab.feed(at(15 * number), reading)
        parts[stage] += load
        new = 2 if load * 4 > 5000 else 1
        if new != stage:
            changes.append(new)
        stage = new
    assert mean(lab, "taf3-1") == changes
    shown = {x.obis.hex: x.value for x in lab.device.metering.current_registers(point, "derived")}
    assert (shown["0100010801ff"], shown["0100010802ff"]) == (parts[1], parts[2])


def test_an_expired_instruction_is_dropped_and_the_administrator_told():
    """4.2.2.5.1; the instruction was given in time and came due too late (power was off)."""
    point = contract("taf5-1", 5, START, stages=TWO_STAGES, first_stage=1)
    lab = TariffLab(point, start="2026-05-10T09:59:00Z")
    lab.feed(START, 0)
    now = lab.device.now(lab.now)
    orders = Orders(lab.device)
    due = orders.switch(point, 2, now + 20 * MINUTE, now + 25 * MINUTE, now)
    assert due.iso() == "2026-05-10T10:20:00Z"
    with pytest.raises(ConfigError, match="expired"):
        orders.switch(point, 2, now, now + -1, now)
    with pytest.raises(ConfigError, match="no stage 7"):
        orders.switch(point, 7, now, now + MINUTE, now)
    # a clock set forward over the moment: the next registration comes after the expiry
    state = lab.device.metering.rules.of(point).state
    assert [item.stage for item in state.pending] == [2]
    lab.device.set_clock(lab.now, now + 40 * MINUTE, valid=True)
    lab.feed(WorldTime(lab.now.ns + 5 * MINUTE), 10)
    assert mean(lab, "taf5-1") == [1]
    assert "EMU.183.2" in lab.events("calibration")
    assert lab.device.metering.rules.of(point).state.pending == []


@pytest.mark.req("GW-46")
@pytest.mark.req("H12")
@pytest.mark.req("H13")
@pytest.mark.req("HAN-37")
@pytest.mark.parametrize(("taf", "signed"), [(9, True), (10, False), (14, False)])
def test_present_values_are_shown_and_sent_but_never_stored(taf, signed):
    """No history; the last reading is the present one; a cycle sends (10, 14)."""
    point = contract("now-1", taf, START, obis=(POWER,), period_s=60)
    lab = TariffLab(point, start="2026-05-10T09:59:00Z", meters=BOTH)
    for minute in range(5):
        lab.feed(at(minute), {IMPORT: 100, POWER: 500 + minute})
    assert lab.lines("now-1", "origin") == []
    assert lab.device.store.channels("origin", METER.lower(), "60") == []
    (line,) = lab.view().last_readings(point, "origin")
    assert (line.value, line.unit, line.signature is not None) == (504, 27, signed)
    (channel,) = lab.view().channels(point, "origin")
    assert (channel.obis.hex, channel.records) == (POWER, 0)
    values = [[reading.value for _, reading in sent] for _, sent, _ in lab.sent]
    assert values == ([] if taf == 9 else [[500 + n] for n in range(5)])


def test_thresholds_and_status_bits_send_once_per_crossing():
    """TAF10: above, below, a bit of the meter's word (4.2.4.1)."""
    triggers = (
        Trigger("above", POWER, 1000), Trigger("below", POWER, 200),
        Trigger("status", mask="00400000"),
    )  # fmt: skip
    point = contract("grid-1", 10, START, obis=(POWER,), triggers=triggers, period_s=86_400)
    lab = TariffLab(point, start="2026-05-10T09:59:00Z", meters=BOTH)
    for second, (power, status) in enumerate(
        [(500, 4), (1001, 4), (1500, 4), (900, 4), (100, 4), (1200, 4), (500, 4 | 1 << 9)]
    ):
        lab.feed(WorldTime(at(1).ns + second * SECOND), {POWER: power}, status=status)
    assert [reason for _, _, reason in lab.sent] == [
        f"{POWER} above 1000", f"{POWER} below 200", f"{POWER} above 1000", "status 00400000",
    ]  # fmt: skip


def test_control_signals_are_recorded_with_energy_and_power():
    """TAF11: one entry each, sent at once; nothing between."""
    point = contract("taf11-1", 11, START, obis=(IMPORT, POWER))
    lab = TariffLab(point, start="2026-05-10T09:59:00Z", meters=BOTH)
    orders = Orders(lab.device)
    for minute, level, energy, power in ((3.2, 70, 123, 5000), (47, 0, 145, 0)):
        now = lab.device.now(lab.until(at(minute)))
        orders.control(point, level, now)
        lab.feed(WorldTime(at(minute).ns + SECOND), {IMPORT: energy, POWER: power})
        lab.until(WorldTime(lab.now.ns + MINUTE))
    assert [v for _, v in lab.series("taf11-1", "origin")] == [123, 145]
    assert [v for _, v in lab.series("taf11-1", "origin", POWER)] == [5000, 0]
    assert [v for _, v in lab.series("taf11-1", "calculated", "0000603200ff")] == [70, 0]
    assert [reason for _, _, reason in lab.sent] == ["control 70 %", "control 0 %"]
    with pytest.raises(ConfigError, match="0 to 100"):
        orders.control(point, 101, lab.device.now(lab.now))


def test_every_meter_of_an_event_is_sent():
    """TAF11 and TAF16 with two meters: what was registered of both goes out, not of the last."""
    both = {"meters": (METER, SECOND_METER)}
    points = contract("taf11-1", 11, START, **both), contract("taf16-1", 16, START, **both)
    lab = TariffLab(*points, start="2026-05-10T09:59:00Z")
    now = lab.device.now(lab.until(at(1)))
    Orders(lab.device).control(points[0], 30, now)
    Orders(lab.device).capture(points[1], now)
    lab.feed(at(1), 7)
    lab.feed(at(1), 9, meter=SECOND_METER)
    sent = {name: [reading.value for _, reading in values] for name, values, _ in lab.sent}
    assert sent == {"taf11-1": [30, 7, 9], "taf16-1": [7, 9]}


def test_a_notification_holds_nothing_but_its_value():
    """TAF12: a mark at midnight does not carry the daily reading to the participant."""
    start = "2026-05-10T21:45:00Z"
    prepaid = Prepaid(energy=10, start=start, threshold=5)
    lab = TariffLab(contract("taf12-1", 12, start, prepaid=prepaid), start="2026-05-10T21:44:00Z")
    lab.feed(start, 1000)
    lab.feed("2026-05-10T22:00:00Z", 1006)
    assert lab.series("taf12-1", "daily") == [("2026-05-10T22:00:00Z", 1006)]
    ((_, values, reason),) = lab.sent
    assert ([reading.value for _, reading in values], reason) == ([4], "prepaid-low")


def test_a_fatal_error_is_told_as_its_use_case_signs():
    """Grid data carry no inner signature, nor does the status that goes with them."""
    point = contract("grid-1", 10, START, obis=(POWER,), period_s=3600)
    lab = TariffLab(point, start="2026-05-10T09:59:00Z", meters=BOTH)
    lab.feed(at(1), {POWER: 1}, status=4 | 1 << 17)
    ((_, [(_, status)], reason),) = lab.sent
    assert (reason, status.signature, status.obis.hex) == ("meter-fatal", None, "0000616100ff")


def test_readings_at_an_order_and_at_a_trigger():
    """TAF16."""
    point = contract("taf16-1", 16, START, triggers=(Trigger("above", IMPORT, 100),))
    lab = TariffLab(point, start="2026-05-10T09:59:00Z")
    lab.feed(at(1), 50)
    Orders(lab.device).capture(point, lab.device.now(lab.now))
    lab.until(at(2))
    lab.feed(at(3), 101)
    lab.until(at(4))
    assert lab.series("taf16-1", "origin") == [(at(1).iso(), 50), (at(3).iso(), 101)]
    assert len(lab.sent) == 2


def test_prepaid_energy_runs_out():
    """TAF12: threshold, exhaustion, end of tolerance; a new setting begins anew."""
    prepaid = Prepaid(energy=100, start=START, threshold=30, tolerance_s=1800, breakers=("b1",))
    point = contract("taf12-1", 12, START, prepaid=prepaid)
    lab = TariffLab(point, start="2026-05-10T09:59:00Z")
    quarters(lab, 9, lambda n: 20 * n, first=0)
    left = [v for _, v in lab.series("taf12-1", "derived", "0000131400ff")]
    assert left == [100, 80, 60, 40, 20, 0, 0, 0, 0]
    assert [e for e in lab.events() if e.startswith("EMU.185")] == [
        "EMU.185.0", "EMU.185.1", "EMU.185.2"
    ]  # fmt: skip
    assert [reason for _, _, reason in lab.sent] == [
        "prepaid-low", "prepaid-used-up", "prepaid-breaker"
    ]  # fmt: skip
    assert all(line.signature is None for line in lab.lines("taf12-1", "derived"))
    lab.change(msgspec.structs.replace(point, prepaid=msgspec.structs.replace(prepaid, energy=500)))
    quarters(lab, 2, lambda n: 20 * n, first=9)
    assert lab.series("taf12-1", "derived", "0000131400ff")[-1][1] == 480


def test_the_lists_of_other_contracts_are_shown():
    """TAF13."""
    show = contract("taf13-1", 13, START, sources=("taf7-1", "taf1-1"))
    lab = TariffLab(
        contract("taf1-1", 1, START), contract("taf7-1", 7, START), show,
        start="2026-05-10T09:59:00Z",
    )  # fmt: skip
    quarters(lab, 3, first=0)
    assert lab.series("taf13-1", "derived") == lab.series("taf1-1", "derived")
    assert {v for _, v in lab.series("taf13-1", "origin")} == {0, 1, 2}
    assert [c.obis.hex for c in lab.view().channels(show, "origin")] == [IMPORT]


def test_feed_in_has_registers_of_its_own():
    """One TAF2 contract for both directions (4.2.1)."""
    point = contract("taf2-1", 2, START, stages=TWO_STAGES, obis=(IMPORT, EXPORT), **ALL_DAY)
    lab = TariffLab(point, start="2026-05-10T09:59:00Z", meters=BOTH)
    for n in range(4):
        lab.feed(at(15 * n), {IMPORT: n, EXPORT: 10 * n})
    shown = {x.obis.hex: x.value for x in lab.device.metering.current_registers(point, "derived")}
    assert (shown["0100010801ff"], shown["0100020801ff"]) == (3, 30)
    assert {"010001083fff", "010002083fff"} <= shown.keys()


@pytest.mark.req("TR-03109-1 v1.0 4.2.2")
def test_which_use_cases_carry_the_inner_signature():
    """TAF1 to 9 and 11; not 10 and 12 (the norm); 14 as 10, 13 and 16 as what they show."""
    signed = {number for number, cls in USE_CASES.items() if cls.SIGNED}
    assert signed & set(range(1, 13)) == {*range(1, 10), 11}
    assert 14 not in signed


@pytest.mark.req("GW-11")
def test_a_meter_that_comes_by_exchange_brings_no_strangers_values():
    """The second meter was Bert's; Anna sees it from the exchange on, Bert until then."""
    anna = contract("anna-7", 7, START)
    bert = contract("bert-7", 7, START, meters=(SECOND_METER,))
    bert = msgspec.structs.replace(bert, consumer="bert")
    lab = TariffLab(anna, bert, start="2026-05-10T09:59:00Z")
    for number in range(8):
        if number == 4:
            lab.change(
                msgspec.structs.replace(anna, meters=(SECOND_METER,)),
                msgspec.structs.replace(bert, end=at(46).iso()),
            )
        lab.feed(at(15 * number), number)
        lab.feed(at(15 * number), 900 + number, meter=SECOND_METER)
    assert [v for _, v in lab.series("anna-7", "origin")] == [0, 1, 2, 3, 904, 905, 906, 907]
    assert [v for _, v in lab.series("bert-7", "origin")] == [900, 901, 902, 903]


def test_nothing_depends_on_the_zone_of_the_host(monkeypatch):
    """Legal local time is Germany's, wherever the emulator runs."""
    lists = []
    for zone in ("UTC", "Pacific/Kiritimati", "America/New_York"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        start = "2026-10-24T20:00:00Z"
        day = (DayProfile(1, (Switch("00:00", 2), Switch("06:00", 1))),)
        point = contract("taf2-1", 2, start, stages=TWO_STAGES, day_profiles=day, week=(1,) * 7)
        lab = TariffLab(point, start="2026-10-24T19:59:00Z")
        base = parse_device_time(start).ns
        for number in range(60):
            lab.feed(WorldTime(base + number * 15 * MINUTE), number)
        lists.append([lab.lines("taf2-1", name) for name in ("calculated", "daily")])
    monkeypatch.undo()
    time.tzset()
    assert lists[0] == lists[1] == lists[2]
    assert lists[0][1][0].target.iso() == "2026-10-24T22:00:00Z"
