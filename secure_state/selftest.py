"""The self-test machine (consumer manual E-5.8, E-4.4.3; IF_GW_CON A-2.7; GW-64 to GW-67).

Theory of operation. The test runs at start, every 24 h by itself, and on request of a consumer. A
request is refused while a test runs, and for 600 s after the last test (whoever started it, A15);
the lock counts from the start of the test, as figure 27 shows 596 s right after it (A13;
``self_test.lock_from``). The automatic test does not ask the lock. Results go to the logs and
nowhere else.

The machine is a table over (state, input). Its parts (what is tested) are given by who builds it:
name and a function that raises when the part fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.core.selftest import SelfTestAnswer, SelfTestReply
from smgw_emu.profiles import SelfTest as SelfTestProfile


class State(StrEnum):
    """States of the machine."""

    UNTESTED = "untested"
    RUNNING = "running"
    LOCKED = "locked"
    FREE = "free"


class Input(StrEnum):
    """What can happen."""

    REQUEST = "request"
    SCHEDULE = "schedule"
    FINISHED = "finished"
    UNLOCKED = "unlocked"


class Action(StrEnum):
    """What the machine does on a transition."""

    START = "start"
    REFUSE_RUNNING = "refuse: running"
    REFUSE_LOCKED = "refuse: locked"
    EVALUATE = "evaluate"
    NOTHING = "nothing"


TRANSITIONS: Mapping[tuple[State, Input], tuple[State, Action]] = MappingProxyType(
    {
        (State.UNTESTED, Input.REQUEST): (State.RUNNING, Action.START),
        (State.UNTESTED, Input.SCHEDULE): (State.RUNNING, Action.START),
        (State.RUNNING, Input.REQUEST): (State.RUNNING, Action.REFUSE_RUNNING),
        (State.RUNNING, Input.SCHEDULE): (State.RUNNING, Action.NOTHING),
        (State.RUNNING, Input.FINISHED): (State.LOCKED, Action.EVALUATE),
        (State.LOCKED, Input.REQUEST): (State.LOCKED, Action.REFUSE_LOCKED),
        (State.LOCKED, Input.SCHEDULE): (State.RUNNING, Action.START),
        (State.LOCKED, Input.UNLOCKED): (State.FREE, Action.NOTHING),
        (State.FREE, Input.REQUEST): (State.RUNNING, Action.START),
        (State.FREE, Input.SCHEDULE): (State.RUNNING, Action.START),
    }
)


@dataclass(frozen=True, slots=True)
class PartResult:
    """Result of one part; ``error`` is empty when it passed."""

    name: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class SelfTestResult:
    """Results of all parts."""

    parts: tuple[PartResult, ...]

    @property
    def passed(self) -> bool:
        """Whether every part passed."""
        return not any(part.error for part in self.parts)

    def __str__(self) -> str:
        return ", ".join(f"{part.name} {part.error or 'OK'}" for part in self.parts)


Part = tuple[str, Callable[[], None]]
AUTOMATIC = "automatisch"
AT_START = "Systemstart"


class SelfTest:
    """Runs and refuses self-tests.

    Args:
        profile: times.
        parts: what is tested, in order.
        on_start: told when a test starts, with the reason.
        on_result: told the results.
    """

    def __init__(
        self,
        profile: SelfTestProfile,
        parts: Sequence[Part],
        on_start: Callable[[WorldTime, str], None],
        on_result: Callable[[WorldTime, SelfTestResult], None],
    ) -> None:
        self._profile = profile
        self._parts = tuple(parts)
        self._on_start = on_start
        self._on_result = on_result
        self.state = State.UNTESTED
        self.last_result: SelfTestResult | None = None
        self._started: WorldTime | None = None
        self._reason = AT_START

    def power_on(self, now: WorldTime) -> None:
        """Run the test of the system start."""
        self._reason = AT_START
        self._apply(Input.SCHEDULE, now)

    def request(self, now: WorldTime, reason: str) -> SelfTestReply:
        """Ask for a test; returns whether it started, and how long to wait if not."""
        self.on_deadline(now)
        previous, self._reason = self._reason, reason
        action = self._apply(Input.REQUEST, now)
        if action is Action.START:
            return SelfTestReply(SelfTestAnswer.STARTED)
        self._reason = previous
        if action is Action.REFUSE_RUNNING:
            return SelfTestReply(SelfTestAnswer.RUNNING)
        left = self._unlock_at() - now
        return SelfTestReply(SelfTestAnswer.LOCKED, -(-left // SECOND))

    def next_deadline(self) -> WorldTime | None:
        """Return when :meth:`on_deadline` must be called."""
        if self._started is None:
            return None
        if self.state is State.RUNNING:
            return self._finish_at()
        schedule = self._schedule_at()
        return min(schedule, self._unlock_at()) if self.state is State.LOCKED else schedule

    def on_deadline(self, now: WorldTime) -> None:
        """Finish, unlock or start what is due."""
        while (deadline := self.next_deadline()) is not None and deadline <= now:
            if self.state is State.RUNNING:
                self._apply(Input.FINISHED, deadline)
            elif self.state is State.LOCKED and self._unlock_at() <= deadline:
                self._apply(Input.UNLOCKED, deadline)
            else:
                self._reason = AUTOMATIC
                self._apply(Input.SCHEDULE, deadline)

    # -- inner steps -----------------------------------------------------------------------

    def _start_time(self) -> WorldTime:
        assert self._started is not None
        return self._started

    def _finish_at(self) -> WorldTime:
        return self._start_time() + self._profile.duration_s * SECOND

    def _unlock_at(self) -> WorldTime:
        from_end = self._profile.lock_from == "end"
        begin = self._finish_at() if from_end else self._start_time()
        return begin + self._profile.lock_s * SECOND

    def _schedule_at(self) -> WorldTime:
        return self._start_time() + self._profile.period_s * SECOND

    def _apply(self, event: Input, now: WorldTime) -> Action:
        self.state, action = TRANSITIONS[self.state, event]
        if action is Action.START:
            self._started = now
            self._on_start(now, self._reason)
        elif action is Action.EVALUATE:
            result = SelfTestResult(tuple(_run(part) for part in self._parts))
            self.last_result = result
            self._on_result(now, result)
        return action


def _run(part: Part) -> PartResult:
    name, check = part
    try:
        check()
    except SmgwError as error:
        return PartResult(name, str(error))
    return PartResult(name)
