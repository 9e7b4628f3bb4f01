"""What flaps is told a bounded number of times, against counting by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from smgw_emu.core.instants import SECOND, DeviceTime
from smgw_emu.core.sparing import Sparing


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 400)), max_size=80))
def test_no_window_holds_more_than_it_may(steps):
    sparing, now = Sparing(3, 900 * SECOND), DeviceTime(0)
    told = {"a": [], "b": []}
    for key, pause in steps:
        now = now + pause * SECOND
        expected = sum(now - at < 900 * SECOND for at in told[key]) < 3
        due = sparing.next(key, now)
        assert (due <= now) is expected
        assert sparing.allow(key, now) is expected
        if expected:
            told[key].append(now)


def test_a_clock_that_is_set_back_does_not_silence_for_ever():
    sparing = Sparing(1, 900 * SECOND)
    assert sparing.allow("a", DeviceTime(10**15))
    assert sparing.allow("a", DeviceTime(5))
