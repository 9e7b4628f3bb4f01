"""Every stored use case against a naive model, written from the definitions, that shares no code.

The model works on a table of registrations: for each hour what each meter showed, or nothing, or a
value with a status that bars it. It uses exact fractions, the host's zoneinfo and plain loops.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tariff_lab import METER, SECOND_METER, TariffLab, contract

from smgw_emu.core.instants import WorldTime
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.obis import Obis
from smgw_emu.core.usage_point import DayProfile, SpecialDay, Stage, Switch

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)
DAYS = {
    "spring": datetime(2026, 3, 27, 23, tzinfo=UTC),
    "autumn": datetime(2026, 10, 23, 22, tzinfo=UTC),
    "month": datetime(2026, 5, 30, 22, tzinfo=UTC),
}
HOURS = 75
WEEKDAY = ((0, 2), (2, 1), (6, 3), (22, 2))  # hour -> stage; one switch in the hour that moves
SUNDAY = ((0, 2), (3, 1), (20, 3))
HOLIDAY = (2026, 5, 31)
BOTH = (METER.lower(), SECOND_METER.lower())
CAPACITY = 10**6
Table = tuple[tuple[int, int], ...]  # hour -> stage


@dataclass
class Registration:
    """What one hour has: value per meter (None: nothing came) and who is barred."""

    at: datetime
    values: dict[str, int | None]
    barred: set[str] = field(default_factory=set)


disturbances = st.lists(
    st.tuples(
        st.integers(0, HOURS - 1),
        st.sampled_from(["missing", "fatal", "tamper", "reset", "rollover", "late"]),
        st.integers(0, 1),
    ),
    max_size=8,
)


def _table(hours: set[int], stages: list[int]) -> Table:
    return tuple(zip(sorted(hours | {0}), stages, strict=False))


tables_of_a_day = st.builds(
    _table,
    st.sets(st.integers(1, 23), max_size=6),
    st.lists(st.integers(1, 3), min_size=7, max_size=7),
)


def story(season: str, seed: int, faults) -> list[Registration]:
    """Return the registrations of three days and a bit."""
    rng = random.Random(seed)
    at_hour: dict[int, list[tuple[str, str]]] = {}
    for hour, kind, meter in faults:
        at_hour.setdefault(hour, []).append((kind, BOTH[meter]))
    values = {meter: rng.randrange(500_000) for meter in BOTH}
    rows = []
    for hour in range(HOURS):
        row = Registration(DAYS[season] + hour * HOUR, {})
        for meter in BOTH:
            values[meter] += rng.randrange(3000)
        for kind, meter in at_hour.get(hour, []):
            if kind == "reset":
                values[meter] = rng.randrange(100)
            elif kind == "rollover":
                values[meter] = CAPACITY - rng.randrange(1, 2000)
        for meter in BOTH:
            values[meter] %= CAPACITY
            row.values[meter] = values[meter]
        for kind, meter in at_hour.get(hour, []):
            if kind in {"missing", "late"}:
                row.values[meter] = None
            elif kind in {"fatal", "tamper"}:
                row.barred.add(meter)
        rows.append(row)
    return rows


def mark_falls(rows: list[Registration]) -> None:
    """A counter that falls without a rollover is not used at that hour."""
    for meter in BOTH:
        last = None
        for row in rows:
            value = row.values[meter]
            if value is None:
                continue
            if last is not None and value < last and not wraps(last, value):
                row.barred.add(meter)
            last = value


def wraps(old: int, new: int) -> bool:
    return old >= CAPACITY * 9 // 10 and new <= CAPACITY // 10


@dataclass
class Amount:
    """What one hour brought: energy, whether it is known to belong to that hour."""

    at: datetime
    good: bool
    energy: int = 0
    certain: bool = False
    total: int = 0


def amounts(rows: list[Registration], meters_at) -> list[Amount]:
    found: list[Amount] = []
    last: dict[str, int] | None = None
    total, before_good = 0, False
    for hour, row in enumerate(rows):
        meters = meters_at(hour)
        good = all(row.values[m] is not None and m not in row.barred for m in meters)
        amount = Amount(row.at, good, total=total)
        if good:
            now = {m: row.values[m] or 0 for m in meters}
            if last is None:
                total = sum(now.values())
            elif last.keys() == now.keys():  # else a meter was exchanged: the sum goes on
                for m in meters:
                    step = now[m] - last[m]
                    if step < 0:
                        step = step + CAPACITY if wraps(last[m], now[m]) else 0
                    amount.energy += step
            if last is not None:
                amount.certain = before_good
                total += amount.energy
            last, amount.total = now, total
        before_good = good
        found.append(amount)
    return found


def stage_at(moment: datetime, tables: tuple[Table, Table]) -> int:
    shown = moment.astimezone(BERLIN)
    holiday = (shown.year, shown.month, shown.day) == HOLIDAY
    table = tables[1] if shown.weekday() == 6 and not holiday else tables[0]
    return [stage for hour, stage in table if hour <= shown.hour][-1]


def is_midnight(moment: datetime) -> bool:
    return moment.astimezone(BERLIN).hour == 0


def is_edge(moment: datetime, begin: datetime) -> bool:
    return moment == begin or (is_midnight(moment) and moment.astimezone(BERLIN).day == 1)


def distributed(found: list[Amount], tables):
    """TAF2: energy per stage after each hour; 63 what cannot be said."""
    parts: dict[int, int] = {1: 0, 2: 0, 3: 0, 63: 0}
    for amount in found:
        if amount.good and amount.energy:
            stage = stage_at(amount.at - HOUR, tables) if amount.certain else 63
            parts[stage] += amount.energy
        yield amount, dict(parts)


POINTS = {
    "taf1-1": {"taf": 1, "meters": (METER, SECOND_METER)},
    "taf2-1": {
        "taf": 2,
        "stages": (Stage(1), Stage(2), Stage(3)),
        "week": (1, 1, 1, 1, 1, 1, 2),
        "special_days": (SpecialDay("0000-05-31", 1),),
    },
    "taf4-1": {"taf": 4, "stages": (Stage(1, quota=20_000), Stage(2, quota=50_000), Stage(3))},
    "taf6-1": {"taf": 6},
    "taf7-1": {"taf": 7},
    "taf8-1": {"taf": 8, "minima": 3, "maxima": 2, "meters": (METER, SECOND_METER),
               "billing_period": "1D"},
}  # fmt: skip


ONE_METER = [name for name, more in POINTS.items() if "meters" not in more]


def day_profiles(tables: tuple[Table, Table]) -> tuple[DayProfile, ...]:
    return tuple(
        DayProfile(number, tuple(Switch(f"{h:02}:00", s) for h, s in table))
        for number, table in enumerate(tables, 1)
    )


def build(rows: list[Registration], exchange: int = HOURS, tables=(WEEKDAY, SUNDAY)) -> TariffLab:
    """Feed a gateway; after the hour ``exchange`` one-meter contracts have the other meter."""
    begin = rows[0].at
    start = f"{begin:%Y-%m-%dT%H:%M:%SZ}"
    meters = tuple(Meter(name, digits=6) for name in (METER, SECOND_METER))
    points = {
        name: contract(name, start=start, period_s=3600, **more) for name, more in POINTS.items()
    }
    points["taf2-1"] = msgspec.structs.replace(points["taf2-1"], day_profiles=day_profiles(tables))
    lab = TariffLab(
        *points.values(),
        start=f"{begin - HOUR:%Y-%m-%dT%H:%M:%SZ}",
        meters=meters,
    )
    for hour, row in enumerate(rows):
        if hour == exchange + 1:
            points = lab.device.config.usage_point
            swapped = {n: {"meters": (SECOND_METER,)} for n in ONE_METER}
            lab.change(*(msgspec.structs.replace(p, **swapped.get(p.name, {})) for p in points))
        at = WorldTime(int(row.at.timestamp()) * 10**9)
        lab.until(at)
        for name in (METER, SECOND_METER):
            value = row.values[name.lower()]
            if value is not None:
                status = 4 | (1 << 17 if name.lower() in row.barred else 0)
                lab.feed(at, value, meter=name, status=status)
    lab.until(WorldTime(int(rows[-1].at.timestamp()) * 10**9 + 3599 * 10**9))
    return lab


def shown(lab: TariffLab, name: str, database: str) -> dict[tuple[str, str], tuple[int, bool]]:
    return {(x.target.iso(), x.obis.hex): (x.value, x.repeated) for x in lab.lines(name, database)}


def code(stage: int) -> str:
    return f"01000108{stage:02x}ff"


def iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.req("H09")
@pytest.mark.req("H11")
@pytest.mark.req("GW-N13")
@given(
    st.sampled_from(sorted(DAYS)), st.integers(0, 10**6), disturbances,
    st.just(HOURS) | st.integers(0, HOURS - 1), st.tuples(tables_of_a_day, tables_of_a_day),
)  # fmt: skip
@example("spring", 1, [(26, "missing", 0)], HOURS, (WEEKDAY, SUNDAY))
@example("autumn", 2, [(27, "fatal", 0), (28, "reset", 1)], HOURS, (WEEKDAY, SUNDAY))
@example(
    "month",
    3,
    [(24, "missing", 0), (25, "missing", 0), (48, "rollover", 1)],
    HOURS,
    (WEEKDAY, SUNDAY),
)
@example("month", 4, [(0, "missing", 0), (1, "reset", 0), (2, "reset", 0)], 1, (WEEKDAY, SUNDAY))
@example("month", 5, [(26, "missing", 1), (25, "fatal", 0)], 25, (WEEKDAY, SUNDAY))
def test_every_list_agrees_with_the_naive_model(season, seed, faults, exchange, tables):
    """Sums, stages, quotas, daily values, extremes; exchanges; 92, 96, 100 quarter hours of days."""
    rows = story(season, seed, faults)
    lab = build(rows, exchange, tables)
    mark_falls(rows)
    begin = rows[0].at

    def mine(hour: int) -> tuple[str, ...]:
        return BOTH[:1] if hour <= exchange else BOTH[1:]

    one, two = amounts(rows, mine), amounts(rows, lambda _: BOTH)
    _check_taf1(lab, two, begin)
    _check_taf2(lab, one, begin, tables)
    _check_taf4(lab, one, begin)
    _check_daily(lab, rows, mine)
    _check_taf7(lab, rows, mine)
    _check_taf8(lab, two, begin)


def _check_taf1(lab, found, begin):
    expected = {}
    for amount in found:
        if is_edge(amount.at, begin) and amount.total:
            expected[iso(amount.at), code(0)] = (amount.total, not amount.good)
    assert shown(lab, "taf1-1", "derived") == expected


def _check_taf2(lab, found, begin, tables):
    edges, changes, known, stage = {}, {}, False, 0
    for amount, parts in distributed(found, tables):
        known = known or amount.good
        if not known:
            continue
        lines = {code(n): (v, not amount.good) for n, v in parts.items()}
        lines[code(0)] = (sum(parts.values()), not amount.good)
        if is_edge(amount.at, begin):
            edges |= {(iso(amount.at), c): line for c, line in lines.items()}
        if stage_at(amount.at, tables) != stage:
            stage = stage_at(amount.at, tables)
            lines["0000600e00ff"] = (stage, not amount.good)
            changes |= {(iso(amount.at), c): line for c, line in lines.items()}
    assert shown(lab, "taf2-1", "derived") == edges
    assert shown(lab, "taf2-1", "calculated") == changes
    # conservation: what is shown adds up, line by line
    for lines in (edges, changes):
        for at in {at for at, _ in lines}:
            stages = sum(lines[at, code(n)][0] for n in (1, 2, 3, 63))
            assert stages == lines[at, code(0)][0]


def _check_taf4(lab, found, begin):
    quotas, parts, used = (20_000, 50_000), {1: 0, 2: 0, 3: 0, 63: 0}, 0
    expected, known, lost_edge = {}, False, False
    for amount in found:
        known = known or amount.good
        if amount.good and amount.energy:
            if lost_edge:
                parts[63] += amount.energy
            else:
                for n, (low, high) in enumerate(((0, quotas[0]), quotas, (quotas[1], 10**12)), 1):
                    parts[n] += max(0, min(high, used + amount.energy) - max(low, used))
                used += amount.energy
        if amount.good:
            lost_edge = False
        if is_edge(amount.at, begin):
            used = 0
            lost_edge = not amount.good
            if known:
                at = iso(amount.at)
                expected |= {(at, code(n)): (v, not amount.good) for n, v in parts.items()}
                expected[at, code(0)] = (sum(parts.values()), not amount.good)
    assert shown(lab, "taf4-1", "derived") == expected


def _check_daily(lab, rows, mine):
    """The meter's own reading at each local midnight; the last one known stands in, marked."""
    expected, last = {}, None
    for hour, row in enumerate(rows):
        (meter,) = mine(hour)
        value = row.values[meter]
        good = value is not None and meter not in row.barred
        last = value if good else last
        if is_midnight(row.at) and last is not None:
            expected[iso(row.at), code(0)] = (last, not good)
    assert shown(lab, "taf6-1", "daily") == expected
    assert shown(lab, "taf7-1", "daily") == expected


def _check_taf7(lab, rows, mine):
    expected, last = [], dict.fromkeys(BOTH)
    for hour, row in enumerate(rows):
        (meter,) = mine(hour)
        last |= {m: v for m, v in row.values.items() if v is not None}
        if last[meter] is not None:
            expected.append((iso(row.at), last[meter], row.values[meter] is None))
    lines = lab.lines("taf7-1", "origin")
    assert [(x.target.iso(), x.value, x.repeated) for x in lines] == expected
    assert all((line.signature is None) == line.repeated for line in lines)


def _check_taf8(lab, found, begin):
    powers: list[tuple[Fraction, datetime]] = []
    expected = {}
    for amount in found:
        if amount.good and amount.certain:
            powers.append((Fraction(amount.energy), amount.at))
        if is_midnight(amount.at) or amount.at == begin:
            low = sorted(powers)[:3]
            high = sorted(powers, key=lambda item: (-item[0], item[1]))[:2]
            for kind, ranked in ((3, low), (6, high)):
                for rank, (power, at) in enumerate(ranked, 1):
                    name = f"010001{kind:02x}{rank:02x}ff"
                    expected[iso(amount.at), name] = (int(power * 1000), iso(at))
            powers = []
    lines = lab.lines("taf8-1", "derived")
    assert {(x.target.iso(), x.obis.hex): (x.value, x.capture.iso()) for x in lines} == expected
    assert all(x.obis.octets[3] in (3, 6) for x in lines)


@given(st.integers(0, 10**6), disturbances)
def test_the_same_input_gives_the_same_lists_bit_for_bit(seed, faults):
    """Two gateways, one story: equal lines, signatures and numbers."""
    rows = story("spring", seed, faults)
    first, second = build(rows), build(rows)
    for name, point in POINTS.items():
        for database in first.view().databases(first.point(name)):
            assert first.lines(name, database) == second.lines(name, database), point


def test_quarter_hours_of_the_days_on_which_the_clock_moves():
    """H11: 92, 96 and 100 values between two local midnights (GW-N13: 22:00Z, 23:00Z)."""
    for first, last, count in (
        ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 92),
        ("2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z", 96),
        ("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 100),
    ):
        lab = TariffLab(contract("taf7-1", 7, first), start=first)
        begin = datetime.fromisoformat(first)
        for quarter in range(1, 110):
            at = begin + quarter * HOUR / 4
            lab.feed(WorldTime(int(at.timestamp()) * 10**9), quarter)
        inside = [x for x in lab.lines("taf7-1", "origin") if first < x.target.iso() <= last]
        assert len(inside) == count
        assert [at for at, _ in lab.series("taf7-1", "daily")] == [last]
        assert Obis.parse("0100010800ff") == inside[0].obis
