"""The lamps: patterns of the manual, and properties of the function."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.lamps.sink import RecordingLeds
from smgw_emu.core.instants import MILLISECOND, SECOND, WorldTime
from smgw_emu.core.leds import (
    DARK,
    AdminChannel,
    BootPhase,
    Leds,
    LedState,
    MobileSignal,
    SecureState,
    leds,
    next_edge,
)
from smgw_emu.lamp_panel import LampPanel
from smgw_emu.profiles import load

TIMES = load().leds
T0 = WorldTime(1_000_000 * SECOND)
READY = LedState(since=T0, phase=BootPhase.READY, secure_since=T0, channel_since=T0)


def after(ms: int) -> WorldTime:
    return T0 + ms * MILLISECOND


def trace(state: LedState, lamp: str, total_ms: int) -> list[tuple[bool, int]]:
    """Return (lit, length in ms) runs of a lamp, sampled each 10 ms."""
    samples = [getattr(leds(state, after(ms), TIMES), lamp) for ms in range(0, total_ms, 10)]
    return [(lit, 10 * len(list(run))) for lit, run in itertools.groupby(samples)]


def change(**fields) -> LedState:
    return dataclasses.replace(READY, **fields)


@pytest.mark.req("HW-11")
def test_pwr_blinks_500_ms_after_boot():
    """500 ms on, 500 ms off until ready."""
    assert trace(change(phase=BootPhase.STARTING), "pwr", 2000) == [
        (True, 500),
        (False, 500),
        (True, 500),
        (False, 500),
    ]


@pytest.mark.req("HW-12")
def test_pwr_is_steady_when_ready():
    """Normal operation."""
    assert trace(READY, "pwr", 5000) == [(True, 5000)]


@pytest.mark.req("HW-13")
@pytest.mark.req("HW-27")
def test_secure_state_application_shows_on_pwr_only():
    """50 ms on PWR; the others keep their meaning."""
    state = change(secure=SecureState.APPLICATION, channel=AdminChannel.WIRK)
    assert trace(state, "pwr", 200) == [(True, 50), (False, 50)] * 2
    assert trace(state, "tls", 1000) == [(True, 1000)]


@pytest.mark.req("SEC-07")
@pytest.mark.req("HW-20")
@pytest.mark.req("HW-22")
@pytest.mark.req("HW-24")
@pytest.mark.parametrize("lamp", Leds._fields[:4])
def test_secure_state_boot_blinks_everywhere(lamp):
    """All four with 50 ms, above everything else."""
    state = change(secure=SecureState.BOOT, wakeup_at=T0, channel=AdminChannel.WIRK)
    assert trace(state, lamp, 300) == [(True, 50), (False, 50)] * 3


@pytest.mark.req("HW-15")
@pytest.mark.req("HW-16")
@pytest.mark.parametrize("channel", [AdminChannel.BUILDING, AdminChannel.GUETESIEGEL])
def test_tls_blinks_250_ms_until_wirk(channel):
    """While building, and while up with Guetesiegel certificates."""
    assert trace(change(channel=channel), "tls", 1000) == [(True, 250), (False, 250)] * 2


@pytest.mark.req("HW-17")
@pytest.mark.req("HW-18")
def test_tls_is_steady_on_wirk_and_dark_without_channel():
    """Steady after the change; off without a channel."""
    assert trace(change(channel=AdminChannel.WIRK), "tls", 1000) == [(True, 1000)]
    assert trace(READY, "tls", 1000) == [(False, 1000)]


@pytest.mark.req("HW-19")
def test_a_wake_up_flashes_tls_for_three_seconds():
    """125 ms pulses for 3 s, then back to the state above."""
    state = change(channel=AdminChannel.WIRK, wakeup_at=T0)
    samples = [leds(state, after(ms), TIMES).tls for ms in range(0, 4000, 5)]
    runs = [(lit, 5 * len(list(run))) for lit, run in itertools.groupby(samples)]
    assert runs == [(True, 125), (False, 125)] * 12 + [(True, 1000)]


@pytest.mark.req("HW-21")
@pytest.mark.parametrize(("hdlc", "time"), list(itertools.product((False, True), repeat=2)))
def test_lmc_needs_both_conditions(hdlc, time):
    """A meter with HDLC address AND legal time."""
    assert leds(change(hdlc_station=hdlc, synchronised=time), T0, TIMES).lmc is (hdlc and time)


@pytest.mark.req("HW-23")
def test_wmt_shows_each_telegram_for_half_a_second():
    """500 ms per complete telegram."""
    state = change(telegram_at=after(1000))
    assert trace(state, "wmt", 3000) == [(False, 1000), (True, 500), (False, 1500)]


@pytest.mark.req("HW-25")
@pytest.mark.req("HW-N01")
@pytest.mark.parametrize(
    ("signal", "runs"),
    [
        (MobileSignal.GOOD, [1000, 300, 300, 300, 300, 300, 500]),
        (MobileSignal.MEDIUM, [1000, 300, 300, 300, 1100]),
        (MobileSignal.POOR, [1000, 300, 1700]),
        (MobileSignal.NO_SIGNAL, [3000]),
    ],
)
def test_mobile_signal_in_the_first_minute(signal, runs):
    """The cycle measured from the manual's figure, 20 times, then dark."""
    state = change(mobile=signal)
    assert [length for _, length in trace(state, "wmt", 3000)] == runs
    assert leds(state, after(57_000), TIMES).wmt
    assert trace(dataclasses.replace(state, since=T0 + -60 * SECOND), "wmt", 3000) == [
        (False, 3000)
    ]


@pytest.mark.req("HW-26")
@pytest.mark.parametrize("secure", [SecureState.CONNECTIVITY, SecureState.MEASUREMENT])
def test_two_secure_states_show_on_no_lamp(secure):
    """Connectivity and Measurement look like Normal."""
    for ms in range(0, 2000, 25):
        assert leds(change(secure=secure), after(ms), TIMES) == leds(READY, after(ms), TIMES)


@pytest.mark.req("SEC-41")
def test_cyclic_restart_never_gets_steady():
    """PWR blinks at most; it is never lit for longer than one pulse."""
    state = change(secure=SecureState.CYCLIC_RESTART)
    assert max(length for lit, length in trace(state, "pwr", 60_000) if lit) == 500


moments = st.none() | st.integers(-5000, 65_000).map(after)
states = st.builds(
    LedState,
    since=st.integers(-70_000, 0).map(after),
    phase=st.sampled_from(list(BootPhase)),
    secure=st.sampled_from(list(SecureState)),
    secure_since=st.integers(-30_000, 0).map(after),
    channel=st.sampled_from(list(AdminChannel)),
    channel_since=st.integers(-30_000, 0).map(after),
    wakeup_at=moments,
    telegram_at=moments,
    hdlc_station=st.booleans(),
    synchronised=st.booleans(),
    mobile=st.sampled_from(list(MobileSignal)),
)


@given(states, st.integers(0, 60_000), st.integers(0, 10_000))
def test_nothing_changes_before_the_next_edge(state, start, probe):
    """next_edge never misses a change, for every state and moment."""
    now = after(start)
    edge = next_edge(state, now, TIMES)
    later = now + probe * MILLISECOND
    if edge is not None:
        assert edge > now
        later = min(later, edge + -1)
    starts = [m for m in (state.wakeup_at, state.telegram_at) if m is not None and now < m <= later]
    if not starts:  # an event of the future is a new state in the device
        assert leds(state, later, TIMES) == leds(state, now, TIMES)


@given(states.filter(lambda s: s.phase is BootPhase.OFF), st.integers(0, 60_000))
def test_without_power_all_is_dark(state, ms):
    """No power, no light."""
    assert leds(state, after(ms), TIMES) == DARK


# -- the panel ---------------------------------------------------------------------------------------

CHANGES = st.one_of(
    st.builds(lambda c: {"channel": c}, st.sampled_from(AdminChannel)),
    st.builds(lambda s: {"secure": s}, st.sampled_from(SecureState)),
    st.builds(lambda p: {"phase": p}, st.sampled_from(BootPhase)),
    st.sampled_from(
        [{"wakeup_at": "now"}, {"telegram_at": "now"}, {"han": True}, {"han_at": "now"}]
    ),
)


class Live:
    """A sink like hardware: it is told at the moment."""

    live = True

    def __init__(self):
        self.edges = []

    def show(self, now, lamps):
        self.edges.append((now, lamps))

    def close(self):
        pass


@pytest.mark.req("HW-10")
@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 3000), CHANGES), max_size=12))
def test_a_recording_read_later_shows_what_hardware_was_told(steps):
    """Edges computed at reading time are those a live sink got at their moment, and the model's, to 5 ms."""
    from support import run_virtual

    async def work(clock):
        live, lazy = Live(), RecordingLeds()
        panels = [LampPanel(clock, live, TIMES), LampPanel(clock, lazy, TIMES)]
        begin, states = clock.now(), []
        for wait, change in steps:
            states.append((clock.now(), panels[0].state))
            await clock.advance(wait * MILLISECOND)
            now = {name: clock.now() if value == "now" else value for name, value in change.items()}
            for panel in panels:
                panel.set(**now)
        states.append((clock.now(), panels[0].state))
        await clock.advance(2000 * MILLISECOND)
        recorded = list(lazy.edges)
        for panel in panels:
            panel.stop()
        told = [lamps for _, lamps in live.edges]
        for at in range(0, clock.now() - begin, 5 * MILLISECOND):
            moment = begin + at
            state = [held for since, held in states if since <= moment][-1]
            model = leds(state, moment, TIMES)
            for edges in (recorded, live.edges):
                shown = [lamps for when, lamps in edges if when <= moment]
                if shown:
                    assert shown[-1] == model
        assert bool(told) == bool(recorded)

    run_virtual(work)


@settings(max_examples=20)
@given(st.integers(1, 10_000))
def test_a_long_time_unread_costs_little(hours):
    """Only the end of a long blink is filled in."""
    from support import run_virtual

    async def work(clock):
        recording = RecordingLeds()
        panel = LampPanel(clock, recording, TIMES)
        panel.set(phase=BootPhase.READY, secure=SecureState.BOOT, secure_since=clock.now())
        await clock.advance(hours * 3600 * SECOND)
        times = [at for at, _ in recording.edges]
        assert len(times) <= 10_000 and times == sorted(times)
        assert clock.now() - times[-1] <= 50 * MILLISECOND

    run_virtual(work)
