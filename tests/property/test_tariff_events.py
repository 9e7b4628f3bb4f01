"""Use cases that follow events, against naive models: instructions, prepaid energy, thresholds."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from tariff_lab import IMPORT, METER, POWER, TariffLab, contract

from smgw_emu.core.instants import SECOND, WorldTime, parse_device_time
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.orders import Orders
from smgw_emu.core.usage_point import Prepaid, Stage, Trigger

START = "2026-05-10T10:00:00Z"
BASE = parse_device_time(START)
POWERS = (Meter(METER, obis=(IMPORT, POWER)),)


def at(seconds: int) -> WorldTime:
    return WorldTime(BASE.ns + seconds * SECOND)


@given(
    st.dictionaries(st.integers(1, 7200), st.integers(1, 3), max_size=8),
    st.lists(st.integers(0, 500), min_size=20, max_size=20),
)
@example({900: 2, 905: 3, 1800: 1}, [10] * 20)
def test_energy_lies_in_the_stage_that_was_instructed(instructions, loads):
    """TAF5: to the second; moments beside each other and beside the raster do not mix."""
    point = contract("taf5-1", 5, START, stages=tuple(Stage(n) for n in (1, 2, 3)), first_stage=1)
    lab = TariffLab(point, start="2026-05-10T09:59:00Z")
    lab.feed(START, 0)
    orders, now = Orders(lab.device), lab.device.now(lab.now)
    for second, stage in instructions.items():
        orders.switch(point, stage, BASE + second * SECOND, BASE + 86_400 * SECOND, now)
    moments = sorted({*instructions, *range(900, 8101, 900)})
    reading, active, parts, changes = 0, 1, {1: 0, 2: 0, 3: 0}, [1]
    for number, second in enumerate(moments):
        used = loads[number % len(loads)]
        reading += used
        parts[active] += used
        lab.feed(at(second), reading)
        new = instructions.get(second, active)
        if new != active:
            active = new
            changes.append(new)
    lab.until(at(moments[-1] + 60))
    shown = {x.obis.hex: x.value for x in lab.device.metering.current_registers(point, "derived")}
    assert [shown[f"01000108{n:02x}ff"] for n in (1, 2, 3)] == [parts[n] for n in (1, 2, 3)]
    assert shown["010001083fff"] == 0
    assert [v for _, v in lab.series("taf5-1", "calculated", "0000600e00ff")] == changes


@given(
    st.integers(1, 3000), st.integers(0, 3000), st.integers(0, 4),
    st.lists(st.integers(0, 400), min_size=1, max_size=30),
)  # fmt: skip
@example(100, 100, 0, [0, 100, 5])
@example(100, 30, 2, [70, 0, 30, 0, 0, 0])
def test_prepaid_energy_and_what_is_told(energy, threshold, tolerance, loads):
    """TAF12: what remains never falls below 0; each notification once, in order."""
    threshold = min(threshold, energy)
    prepaid = Prepaid(energy, START, threshold, tolerance * 900, ("b",))
    lab = TariffLab(contract("taf12-1", 12, START, prepaid=prepaid), start="2026-05-10T09:59:00Z")
    reading, remaining, empty_since, told = 0, [], None, []
    for number, used in enumerate([0, *loads]):
        reading += used
        lab.feed(at(900 * number), reading)
        left = max(0, energy - reading)
        remaining.append(left)
        if left == 0 and empty_since is None:
            empty_since = number
        for event, due in (
            ("EMU.185.0", left < threshold),
            ("EMU.185.1", left == 0),
            ("EMU.185.2", empty_since is not None and number >= empty_since + tolerance),
        ):
            if due and event not in told:
                told.append(event)
    assert [v for _, v in lab.series("taf12-1", "derived", "0000131400ff")] == remaining
    shown = [e for e in lab.events() if e.startswith("EMU.185")]
    assert shown == told


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=40), st.integers(-40, 40))
def test_a_threshold_fires_when_it_is_crossed(powers, limit):
    """TAF10: each change from not above to above, and from not below to below."""
    triggers = (Trigger("above", POWER, limit), Trigger("below", POWER, limit))
    point = contract("grid-1", 10, START, obis=(POWER,), triggers=triggers, period_s=86_400)
    lab = TariffLab(point, start="2026-05-10T09:59:00Z", meters=POWERS)
    expected, above, below = [], False, False
    for second, power in enumerate(powers):
        lab.feed(at(60 + second), {POWER: power})
        expected += [(power, "above")] if power > limit and not above else []
        expected += [(power, "below")] if power < limit and not below else []
        above, below = power > limit, power < limit
    shown = [(values[0][1].value, reason.split()[1]) for _, values, reason in lab.sent]
    assert shown == expected
    assert lab.lines("grid-1", "origin") == []
