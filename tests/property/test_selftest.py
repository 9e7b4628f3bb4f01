"""The self-test machine: its table, its lock, its schedule."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secure_state.selftest import TRANSITIONS, Input, SelfTest, State
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.core.selftest import SelfTestAnswer
from smgw_emu.profiles import load

PROFILE = load().self_test


class Recorder:
    def __init__(self, *parts) -> None:
        self.started: list[tuple[int, str]] = []
        self.results: list[bool] = []
        self.machine = SelfTest(
            PROFILE,
            parts,
            lambda now, reason: self.started.append((now.seconds, reason)),
            lambda _now, result: self.results.append(result.passed),
        )


def at(seconds: int) -> WorldTime:
    return WorldTime.from_seconds(seconds)


def test_the_table_covers_what_can_happen():
    """Every state answers a request and the schedule; FINISHED and UNLOCKED only where they exist."""
    for state, event in itertools.product(State, (Input.REQUEST, Input.SCHEDULE)):
        assert (state, event) in TRANSITIONS
    assert {s for s, e in TRANSITIONS if e is Input.FINISHED} == {State.RUNNING}
    assert {s for s, e in TRANSITIONS if e is Input.UNLOCKED} == {State.LOCKED}


@pytest.mark.req("GW-65")
@pytest.mark.req("HAN-24")
def test_a_second_test_is_refused_for_600_seconds():
    """Running, then locked with a countdown from the start, free at 600 s (C13, C14, A13)."""
    test = Recorder()
    test.machine.power_on(at(0))
    assert test.machine.request(at(1), "x").answer is SelfTestAnswer.RUNNING
    locked = test.machine.request(at(4), "x")
    assert (locked.answer, locked.wait_s) == (SelfTestAnswer.LOCKED, 596)
    assert test.machine.request(at(599), "x").wait_s == 1
    assert test.machine.request(at(600), "x").answer is SelfTestAnswer.STARTED
    assert test.results == [True]


@pytest.mark.req("GW-64")
@pytest.mark.req("HAN-36")
def test_the_test_runs_at_start_and_every_24_hours():
    """H22: autonomous after 24 h, and it arms the lock too (A15)."""
    test = Recorder()
    test.machine.power_on(at(0))
    test.machine.on_deadline(at(2 * 86400 + 10))
    assert test.started == [
        (0, "Systemstart"),
        (86400, "automatisch"),
        (2 * 86400, "automatisch"),
    ]
    assert test.machine.request(at(2 * 86400 + 11), "x").answer is SelfTestAnswer.LOCKED


def test_a_failing_part_fails_the_test_and_names_itself():
    """Each part is reported; one failure is enough."""

    def broken() -> None:
        raise SmgwError("kaputt")

    test = Recorder(("A", lambda: None), ("B", broken))
    test.machine.power_on(at(0))
    test.machine.on_deadline(at(10))
    assert test.results == [False]
    assert str(test.machine.last_result) == "A OK, B kaputt"


@given(st.lists(st.tuples(st.integers(0, 90_000), st.booleans()), max_size=40))
def test_tests_never_overlap_and_requests_never_break_the_lock(steps):
    """Whatever the order of requests and deadlines: 600 s between a start and a requested one."""
    test = Recorder()
    test.machine.power_on(at(0))
    now = 0
    for wait, ask in steps:
        now += wait
        if ask:
            test.machine.request(at(now), "request")
        else:
            test.machine.on_deadline(at(now))
        deadline = test.machine.next_deadline()
        assert deadline is not None and (not ask or deadline >= at(now))
    starts = test.started
    for (first, _), (second, reason) in itertools.pairwise(starts):
        assert second - first >= (PROFILE.lock_s if reason == "request" else PROFILE.duration_s)
    assert len(starts) - len(test.results) in {0, 1}
    assert PROFILE.lock_s * SECOND == 600 * SECOND
