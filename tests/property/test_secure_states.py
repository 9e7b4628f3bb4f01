"""The table of secure states against an oracle written from the consumer manual, chapters B-3 and D."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from secure_state.machine import TABLE, Cause, Exit, Function, SecureStates
from smgw_emu import profiles
from smgw_emu.core.instants import MILLISECOND, SECOND, WorldTime
from smgw_emu.core.leds import BootPhase, LedState, SecureState, leds

SETTINGS = profiles.load().secure_state
T0 = WorldTime(1_800_000_000 * SECOND)

# The manual, D-2.1 to D-2.5, in its own order: what is found -> (state, who ends it).
MANUAL = {
    Cause.IMAGE: ("boot", "nobody"),
    Cause.LOG_STORAGE: ("boot", "nobody"),
    Cause.STALE_PARTITION: ("boot", "nobody"),
    Cause.VERSION: ("boot", "nobody"),
    Cause.VALUE_STORAGE: ("application", "administrator"),
    Cause.TIME_DEVIATION: ("application", "administrator"),
    Cause.TIME_SILENCE: ("application", "administrator"),
    Cause.SEPARATION: ("connectivity", "self-test"),
    Cause.TIME_INVALID: ("measurement", "itself"),
    Cause.BOOT_CHECK: ("cyclic-restart", "restart"),
}
# What a state leaves: D-2.1 nothing; D-2.2 administration; D-2.3 all but HAN and CLS; D-2.4 all, marked.
LEFT = {
    "boot": set(),
    "cyclic-restart": set(),
    "application": {"wan", "lmn"},
    "connectivity": {"wan", "lmn", "delivery", "metering"},
    "measurement": {"wan", "lmn", "han", "cls", "delivery", "metering"},
}
SERVED = {"wan", "lmn", "han", "cls", "delivery", "metering"}
ENDS = {"administrator": Exit.ADMINISTRATOR, "self-test": Exit.SELF_TEST, "itself": Exit.AUTOMATIC,
        "restart": Exit.RESTART, "nobody": Exit.TERMINAL}  # fmt: skip


def test_every_cause_is_in_the_manual():
    """State and way out of each row (SEC-02 to SEC-41)."""
    for cause, (state, end) in MANUAL.items():
        assert TABLE[cause].state == state and TABLE[cause].exit is ENDS[end]
        assert TABLE[cause].source and TABLE[cause].trigger
    assert set(MANUAL) == set(Cause) == set(TABLE)


class Life(RuleBasedStateMachine):
    """Causes come and end in any order; the oracle is a set."""

    def __init__(self):
        super().__init__()
        self.states = SecureStates(SETTINGS)
        self.now = T0
        self.held: set[Cause] = set()

    @rule(cause=st.sampled_from(Cause), wait=st.integers(0, 1000))
    def found(self, cause, wait):
        self.now = self.now + wait * SECOND
        assert self.states.enter(cause, self.now, f"found {cause}") == (cause not in self.held)
        self.held.add(cause)

    @rule(cause=st.sampled_from(Cause), by=st.sampled_from(Exit))
    def ends(self, cause, by):
        needed = ENDS[MANUAL[cause][1]]
        right = by is needed or (needed is Exit.AUTOMATIC and by is Exit.ADMINISTRATOR)
        gone = cause in self.held and right
        assert self.states.leave(cause, self.now, by) == gone
        if gone:
            self.held.discard(cause)

    @rule()
    def power(self):
        self.states.power_off()
        self.held.clear()

    @invariant()
    def is_what_the_manual_allows(self):
        names = {MANUAL[cause][0] for cause in self.held}
        order = ["boot", "cyclic-restart", "application", "connectivity", "measurement"]
        assert self.states.state == next((n for n in order if n in names), "normal")
        served = {f for f in SERVED if self.states.allows(Function(f))}
        allowed = SERVED.intersection(*(LEFT[name] for name in names)) if names else SERVED
        marking = {Cause.TIME_DEVIATION, Cause.TIME_SILENCE}
        if self.held & marking:  # metering goes on, marked (TR-03109-1 3.2.6.3 no. 7)
            extra = {"metering"} if not names & {"boot", "cyclic-restart"} else set()
            if Cause.VALUE_STORAGE not in self.held:
                allowed = allowed | extra
        assert served == allowed
        assert self.states.allows(Function.UNMARKED) == (
            not self.held & (marking | {Cause.TIME_INVALID})
        )
        assert (self.states.since is None) == (not self.held)
        for cause in self.held:
            assert f"found {cause}" in self.states.text

    @invariant()
    def history_is_a_chain(self):
        log = list(self.states.history)
        assert all(a.at <= b.at for a, b in itertools.pairwise(log))
        assert all(t.entered or t.text in list(Exit) for t in log)


TestLife = Life.TestCase


@pytest.mark.req("HW-27")
@given(st.sampled_from(SecureState), st.sampled_from(BootPhase), st.integers(0, 5000))
def test_lamps_of_every_state_are_those_of_the_manual(secure, phase, at_ms):
    """B-3 no. 7 to 10 over all states and phases: who blinks at 50 ms, who is dark."""
    times = profiles.load().leds
    state = LedState(since=T0, phase=phase, secure=secure, secure_since=T0, han=True, cls=True)
    shown = leds(state, T0 + at_ms * MILLISECOND, times)
    fast = at_ms // 50 % 2 == 0
    if phase is BootPhase.OFF:
        assert not any(shown)
    elif secure is SecureState.BOOT:
        assert shown[:4] == (fast,) * 4 and not any(shown[4:])
    elif secure is SecureState.CYCLIC_RESTART:
        assert not any(shown[1:])
    elif phase is BootPhase.BOOTING:
        assert not any(shown)
    elif secure is SecureState.APPLICATION:
        assert shown.pwr == fast and not shown.tls
    elif phase is BootPhase.STARTING:
        assert shown.pwr == (at_ms // 500 % 2 == 0)
    else:
        assert shown.pwr


def test_firmware_lines_differ_where_they_say_so():
    """application_exit and boot_latched change ways out, nothing else."""
    easy = SecureStates(msgspec.structs.replace(SETTINGS, application_exit="automatic"))
    easy.enter(Cause.VALUE_STORAGE, T0, "full")
    assert easy.leave(Cause.VALUE_STORAGE, T0, Exit.AUTOMATIC)
    loose = SecureStates(msgspec.structs.replace(SETTINGS, boot_latched=False))
    assert loose.rules[Cause.IMAGE].exit is Exit.RESTART
    assert loose.rules[Cause.LOG_STORAGE].exit is Exit.TERMINAL, "logs do not get shorter"
    assert all(loose.rules[c].state is TABLE[c].state for c in Cause)
