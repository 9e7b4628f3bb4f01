"""The core under arbitrary meters and an arbitrary clock: defined outcomes, consistent lists."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from support import device_in_memory
from two_consumers import CONFIG, START

from smgw_emu.core.contracts import ConsumerView
from smgw_emu.core.instants import DAY, HOUR, DeviceTime
from smgw_emu.core.obis import ACTIVE_ENERGY_IMPORT, Obis
from smgw_emu.core.values import MeterReport, MeterValue

registers = st.one_of(st.just(ACTIVE_ENERGY_IMPORT), st.binary(min_size=6, max_size=6).map(Obis))
values = st.builds(
    MeterValue, registers, st.integers(-(2**70), 2**70), st.integers(-30, 30), st.integers(0, 255)
)
reports = st.builds(
    MeterReport,
    st.sampled_from(["1emu0000000001", "1emu0000000002", "1xxx0000000003"]),
    st.lists(values, max_size=4).map(tuple),
    st.none() | st.integers(0, 2**64 - 1),
)
steps = st.one_of(
    st.tuples(st.just("report"), reports),
    st.tuples(st.just("wait"), st.integers(0, 12 * HOUR)),
    st.tuples(st.just("clock"), st.tuples(st.integers(-40 * DAY, 40 * DAY), st.booleans())),
)


@given(st.lists(steps, max_size=25))
def test_nothing_a_meter_or_a_clock_does_breaks_the_core(actions):
    """No exception; targets rise per list; signed unless repeated; views and logs stay readable."""
    device = device_in_memory(CONFIG)
    device.power_on(START)
    now = START
    for kind, what in actions:
        if kind == "report":
            device.on_report(now, what)
        elif kind == "clock":
            step, valid = what
            device.set_clock(now, DeviceTime(now.ns + step), valid=valid)
        else:
            until = now + what
            while (due := device.next_deadline()) <= until:
                device.on_deadline(due)
            now = until
    for consumer in device.config.consumer:
        view = ConsumerView(device, consumer)
        time = device.now(now)
        for point in view.usage_points():
            assert point.state(time) in {"ready", "running", "archive"}
            view.billing_periods(point, time)
            for database in view.databases(point):
                view.channels(point, database)
                lines = view.readings(point, database, DeviceTime(0), DeviceTime(1 << 62))
                assert all((line.signature is None) == line.repeated for line in lines)
                for before, after in pairwise(lines):
                    assert (before.obis, before.meter) != (after.obis, after.meter) or (
                        before.target < after.target
                    )
        numbers = [
            e.number for e in device.logbooks.entries("consumer", consumer.login, count=9999)
        ]
        assert numbers == list(range(1, len(numbers) + 1))
    device.on_deadline(now)  # a clock set forward leaves things overdue: one call does them all
    assert device.next_deadline() > now
