"""The worked examples of TR-03109-1 v1.0: tables 19, 22 and 24, figures 23 to 25.

Readings in kWh; the tables' times are local winter time, here on the UTC raster an hour earlier.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from tariff_lab import IMPORT, METER, POWER, SECOND_METER, TariffLab, contract

from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.usage_point import DayProfile, Stage, Switch

KWH = {"scaler": 3}
HT, NT = "0100010801ff", "0100010802ff"
ERROR = "010001083fff"
ENERGY_AND_POWER = (Meter(METER, obis=(IMPORT, POWER)),)


@pytest.mark.req("TR-03109-1 v1.0 T19")
@pytest.mark.req("H09")
def test_table_19_sums_of_two_meters_at_the_end_of_each_month():
    """TAF1: 636, 679, 721, 738 kWh go to the participant; each line says when."""
    point = contract("taf1-1", 1, "2013-01-31T23:00:00Z", meters=(METER, SECOND_METER))
    lab = TariffLab(point, start="2013-01-31T22:50:00Z")
    rows = (
        ("2013-01-31T23:00:00Z", 512, 124),
        ("2013-02-28T23:00:00Z", 545, 134),
        ("2013-03-31T22:00:00Z", 567, 154),
        ("2013-04-30T22:00:00Z", 577, 161),
    )
    for moment, first, second in rows:
        lab.feed(moment, first, **KWH)
        lab.feed(moment, second, meter=SECOND_METER, **KWH)
    sums = [636, 679, 721, 738]
    assert lab.series("taf1-1", "derived") == [
        (moment, total) for (moment, *_), total in zip(rows, sums, strict=True)
    ]
    assert all(line.scaler == 3 for line in lab.lines("taf1-1", "derived"))


@pytest.mark.req("TR-03109-1 v1.0 F23")
def test_figure_23_high_and_low_tariff_by_the_clock():
    """TAF2, HT from 6 to 22 h: registers at each switching; HT + NT = total."""
    point = contract(
        "taf2-1", 2, "2012-12-31T05:00:00Z",
        stages=(Stage(1, description="HT"), Stage(2, description="NT")),
        day_profiles=(DayProfile(1, (Switch("00:00", 2), Switch("06:00", 1), Switch("22:00", 2))),),
        week=(1,) * 7,
    )  # fmt: skip
    lab = TariffLab(point, start="2012-12-31T04:55:00Z")
    # the registers begin with the contract: the chart's 30 (HT) and 52 (NT) are what came before
    totals = {
        "2012-12-31T05:00:00Z": 82, "2012-12-31T21:00:00Z": 110, "2013-01-01T05:00:00Z": 158,
        "2013-01-01T21:00:00Z": 185, "2013-01-02T05:00:00Z": 238, "2013-01-02T21:00:00Z": 263,
    }  # fmt: skip
    _feed_evenly(lab, totals)
    high = [30, 58, 58, 85, 85, 110]
    low = [52, 52, 100, 100, 153, 153]
    assert [v for _, v in lab.series("taf2-1", "calculated", HT)] == [x - 30 for x in high]
    assert [v for _, v in lab.series("taf2-1", "calculated", NT)] == [x - 52 for x in low]
    assert [v for _, v in lab.series("taf2-1", "calculated", ERROR)] == [0] * 6
    assert [v for _, v in lab.series("taf2-1", "calculated")] == [
        x - 82 for x in (82, 110, 158, 185, 238, 263)
    ]
    stages = [v for _, v in lab.series("taf2-1", "calculated", "0000600e00ff")]
    assert stages == [1, 2, 1, 2, 1, 2]


@pytest.mark.req("TR-03109-1 v1.0 T22")
def test_table_22_load_stages_by_present_power():
    """TAF3 method B, stage 2 above 5 kW: the registers of figure 24."""
    point = contract(
        "taf3-1", 3, "2012-12-31T23:00:00Z", obis=(IMPORT,), power=POWER, method="present",
        stages=(Stage(1, threshold=0), Stage(2, threshold=5000)),
    )  # fmt: skip
    lab = TariffLab(point, start="2012-12-31T22:59:00Z", meters=ENERGY_AND_POWER)
    # what came before the table: 4 kWh in stage 1 and 6 kWh in stage 2 of 10
    before = [("2012-12-31T23:00:00Z", 0, 4), ("2012-12-31T23:15:00Z", 4, 6),
              ("2012-12-31T23:30:00Z", 10, 4)]  # fmt: skip
    rows = [("08:00", 10, 6), ("08:15", 12, 4), ("08:45", 14, 7), ("09:45", 21, 2),
            ("10:15", 22, 8), ("10:30", 24, 4)]  # fmt: skip
    moments = [*before, *((f"2013-01-01T{at}:00Z", e, p) for at, e, p in rows)]
    _feed_power(lab, moments)
    first = dict(lab.series("taf3-1", "calculated", "0100010801ff"))
    second = dict(lab.series("taf3-1", "calculated", "0100010802ff"))
    table = [f"2013-01-01T{at}:00Z" for at, *_ in rows]
    assert [first[at] for at in table] == [4, 4, 6, 6, 7, 7]
    assert [second[at] for at in table] == [6, 8, 8, 15, 15, 17]
    shown = dict(lab.series("taf3-1", "calculated", "0100010400ff"))
    assert [shown[at] for at in table] == [p * 1_000_000 for _, _, p in rows]  # mW
    stages = dict(lab.series("taf3-1", "calculated", "0000600e00ff"))
    assert [stages[at] for at in table] == [2, 1, 2, 1, 2, 1]


@pytest.mark.req("TR-03109-1 v1.0 T24")
def test_table_24_quotas_of_100_and_150_kwh():
    """TAF4: entries at begin, when a quota is used up, and at the end; quotas are cumulative."""
    point = contract(
        "taf4-1", 4, "2012-12-31T23:00:00Z",
        stages=(Stage(1, quota=100_000), Stage(2, quota=150_000), Stage(3)),
    )  # fmt: skip
    lab = TariffLab(point, start="2012-12-31T22:50:00Z")
    totals = {
        "2012-12-31T23:00:00Z": 456, "2013-01-20T11:30:00Z": 556, "2013-01-31T10:15:00Z": 606,
        "2013-01-31T23:00:00Z": 608,
    }  # fmt: skip
    _feed_evenly(lab, totals)
    entries = lab.series("taf4-1", "calculated")
    assert [at for at, _ in entries] == list(totals)
    assert [value for _, value in entries] == [0, 100, 150, 152]
    ends = {code: lab.series("taf4-1", "derived", code)[-1][1] for code in (HT, NT, "0100010803ff")}
    assert ends == {HT: 100, NT: 50, "0100010803ff": 2}
    reasons = lab.device.store.execute(
        "SELECT DISTINCT r.target, r.reason FROM reading r JOIN channel c ON c.id = r.channel"
        " WHERE c.database = 'calculated' ORDER BY r.target"
    )
    assert [reason for _, reason in reasons] == ["begin", "quota 1", "quota 2", "period"]


@pytest.mark.req("TR-03109-1 v1.0 F25")
def test_figure_25_stages_by_instruction():
    """TAF5: changes to T2, T3, T1, T2, T3, T1 by the administrator."""
    from smgw_emu.core.instants import parse_device_time
    from smgw_emu.core.orders import Orders

    begin = "2013-01-01T00:00:00Z"
    point = contract("taf5-1", 5, begin, stages=(Stage(1), Stage(2), Stage(3)), first_stage=1)
    lab = TariffLab(point, start="2012-12-31T23:59:00Z")
    lab.feed(begin, 0, **KWH)
    _keep_raster(lab, begin, 0)
    orders, end = Orders(lab.device), parse_device_time("2013-01-03T00:00:00Z")
    # before the chart's first change 31, 38 and 61 kWh lie in T1, T2, T3
    changes = [("01:00:10", 31, 2), ("02:00:20", 69, 3), ("03:00:00", 130, 1),
               ("03:30:00", 130, 2), ("04:00:07", 142, 3), ("05:00:00", 155, 1),
               ("06:10:00", 169, 2), ("07:00:00", 181, 3), ("08:00:01", 191, 1)]  # fmt: skip
    for clock, reading, stage in changes:
        moment = f"2013-01-01T{clock}Z"
        now = lab.device.now(lab.until(moment))
        due = orders.switch(lab.point("taf5-1"), stage, parse_device_time(moment), end, now)
        assert due.iso() == moment
        lab.feed(moment, reading, **KWH)
        # the raster's own registrations must not be missing
        _keep_raster(lab, moment, reading)
    at = [f"2013-01-01T{clock}Z" for clock, *_ in changes[3:]]
    registers = [dict(lab.series("taf5-1", "calculated", f"01000108{n:02x}ff")) for n in range(4)]
    assert [registers[0][t] for t in at] == [130, 142, 155, 169, 181, 191]
    assert [registers[1][t] for t in at] == [31, 31, 31, 45, 45, 45]
    assert [registers[2][t] for t in at] == [38, 50, 50, 50, 62, 62]
    assert [registers[3][t] for t in at] == [61, 61, 74, 74, 74, 84]


def _keep_raster(lab: TariffLab, moment: str, reading: int) -> None:
    """Repeat a reading at the quarter hours until the next change (no consumption)."""
    from smgw_emu.core.instants import MINUTE, WorldTime, parse_device_time

    start = WorldTime(parse_device_time(moment).ns)
    step = 15 * MINUTE
    first = WorldTime((start.ns // step + 1) * step)
    stop = {"00:00:00": 4, "01:00:10": 4, "02:00:20": 3, "03:00:00": 1, "03:30:00": 2, "04:00:07": 3,
            "05:00:00": 4, "06:10:00": 3, "07:00:00": 4, "08:00:01": 0}[moment[11:19]]  # fmt: skip
    for number in range(stop):
        lab.feed(first + number * step, reading, **KWH)


def _quarters(lab: TariffLab, begin: str, end: str):
    from smgw_emu.core.instants import MINUTE, WorldTime, parse_device_time

    step, at = 15 * MINUTE, parse_device_time(begin).ns
    while at <= parse_device_time(end).ns:
        yield WorldTime(at)
        at += step


def _feed_evenly(lab: TariffLab, totals: dict[str, int]) -> None:
    """Feed each quarter hour; what is used comes in the last quarter hour before a row."""
    rows = list(totals.items())
    lab.feed(rows[0][0], rows[0][1], **KWH)
    for (begin, low), (end, high) in pairwise(rows):
        for at in list(_quarters(lab, begin, end))[1:-1]:
            lab.feed(at, low, **KWH)
        lab.feed(end, high, **KWH)


def _feed_power(lab: TariffLab, rows: list[tuple[str, int, int]]) -> None:
    lab.feed(rows[0][0], {IMPORT: rows[0][1], POWER: rows[0][2]}, **KWH)
    for (begin, low, power), (end, high, new) in pairwise(rows):
        for at in list(_quarters(lab, begin, end))[1:-1]:
            lab.feed(at, {IMPORT: low, POWER: power}, **KWH)
        lab.feed(end, {IMPORT: high, POWER: new}, **KWH)
