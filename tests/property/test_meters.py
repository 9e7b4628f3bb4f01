"""The virtual electricity meter: counters that only rise, the same load from the same seed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmn.sml import SmlReceiver, decode_messages
from lmn.sml.report import reports
from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.bench.meters.load import LoadProfile
from smgw_emu.core.instants import HOUR, SECOND, WorldTime

START = WorldTime(1_774_951_200 * SECOND)
steps = st.lists(st.integers(-HOUR, 40 * HOUR), max_size=15)


@pytest.mark.req("GW-03")
@given(st.integers(0, 2**32), st.booleans(), steps)
def test_counters_only_rise(seed, solar, durations):
    """Whatever the steps of time, also backwards: no counter ever falls."""
    meter = ElectricityMeter("1EMU0000000001", START, seed=seed, solar=solar)
    now, seen = START, [(meter.import_reading, meter.export_reading)]
    for duration in durations:
        now = now + duration
        meter.advance(now)
        seen.append((meter.import_reading, meter.export_reading))
    for before, after in pairwise(seen):
        assert before[0] <= after[0]
        assert before[1] <= after[1]
    assert solar or seen[-1][1] == 0


@given(st.integers(0, 2**32), st.lists(st.integers(1, 10 * HOUR), min_size=1, max_size=8))
def test_the_path_does_not_matter(seed, durations):
    """Reading often or once gives the same counter: energy is additive, to the last digit."""
    often = ElectricityMeter("1EMU0000000001", START, seed=seed)
    once = ElectricityMeter("1EMU0000000001", START, seed=seed)
    now = START
    for duration in durations:
        now = now + duration
        often.advance(now)
    once.advance(now)
    assert often.import_reading == once.import_reading


@given(st.integers(0, 2**32), st.integers(0, 10**6))
def test_same_seed_same_octets(seed, second):
    """Two meters of one seed send the same frames."""
    moment = START + second * SECOND
    first, second_meter = (ElectricityMeter("1EMU0000000001", START, seed=seed) for _ in range(2))
    assert first.frame(moment) == second_meter.frame(moment)


@given(st.integers(0, 2**32), st.integers(1, 10**5))
def test_energy_agrees_with_a_second_by_second_sum(seed, length):
    """The closed form equals adding up the power of every second of a short span."""
    load = LoadProfile(seed)
    seconds = length % 1200 + 1
    begin = WorldTime(START.ns + length * SECOND)
    total = sum(load.power(begin + n * SECOND) for n in range(seconds)) * SECOND
    consumed, fed_in = load.energy(begin, begin + seconds * SECOND)
    assert consumed - fed_in == total


def test_the_status_word_says_what_the_meter_sees():
    """FNN bits: type, load, voltages; direction -A while the roof feeds in."""
    meter = ElectricityMeter("1EMU0000000001", START, seed=3, solar=True)
    words = set()
    for hour in range(24):
        (event,) = SmlReceiver().receive(meter.frame(START + hour * HOUR))
        (report,) = reports(decode_messages(event.payload))
        words.add(report.status)
    assert all(word & 0b111 == 0b100 and word >> 18 & 0b111 == 0b111 for word in words)
    assert any(word >> 11 & 1 for word in words)
