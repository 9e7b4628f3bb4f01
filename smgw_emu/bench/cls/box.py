"""A Steuerbox: two relays, a digital interface with a limit, and what it does when it is alone.

Theory of operation. The states are those of a controllable system with limitation of power
consumption (EEBUS LPC; requirements.md 2.3 no. 13): *init* after power-up, *unlimited*, *limited*
by an order (for its duration, or until released), *failsafe* when no heartbeat comes any more: then
the failsafe limit holds (4.2 kW, paragraph 14a EnWG) for the failsafe duration (2 h at least);
after it the box is *autonomous*, without limit, until somebody takes it up again. Orders of the two
relays work in every state and stay as they are. :data:`TABLE` says what follows what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from smgw_emu.bench.cls.words import Answer, Order
from smgw_emu.core.instants import SECOND, WorldTime

HEARTBEAT_S = 60  # own choice: the EEBUS texts are not among ours
RELAYS = 2  # FNN Steuerbox; SELEXA's relay connector


class State(StrEnum):
    """States of the box."""

    INIT = "init"
    UNLIMITED = "unlimited"
    LIMITED = "limited"
    FAILSAFE = "failsafe"
    AUTONOMOUS = "autonomous"


class Input(StrEnum):
    """What happens to it."""

    HEARTBEAT = "heartbeat"
    LIMIT = "limit ordered"
    RELEASE = "limit ended"
    LOST = "no heartbeat"
    OVER = "failsafe duration over"


_S, _I = State, Input
# a pair that is not here changes nothing
TABLE: Mapping[tuple[State, Input], State] = MappingProxyType(
    {
        (_S.INIT, _I.HEARTBEAT): _S.UNLIMITED,
        (_S.INIT, _I.LIMIT): _S.LIMITED,
        (_S.INIT, _I.LOST): _S.FAILSAFE,
        (_S.UNLIMITED, _I.LIMIT): _S.LIMITED,
        (_S.UNLIMITED, _I.LOST): _S.FAILSAFE,
        (_S.LIMITED, _I.RELEASE): _S.UNLIMITED,
        (_S.LIMITED, _I.LOST): _S.FAILSAFE,
        (_S.FAILSAFE, _I.LIMIT): _S.LIMITED,
        (_S.FAILSAFE, _I.RELEASE): _S.UNLIMITED,
        (_S.FAILSAFE, _I.OVER): _S.AUTONOMOUS,
        (_S.AUTONOMOUS, _I.LIMIT): _S.LIMITED,
        (_S.AUTONOMOUS, _I.RELEASE): _S.UNLIMITED,
        (_S.AUTONOMOUS, _I.HEARTBEAT): _S.UNLIMITED,
    }
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits in W, times in s.

    ``failsafe_w`` defaults to paragraph 14a EnWG, ``failsafe_s`` to its least (EEBUS LPC: 2 h);
    ``lost_s``: so long after the last heartbeat the box is alone (two heartbeats).
    """

    failsafe_w: int = 4200
    failsafe_s: int = 7200
    lost_s: int = 2 * HEARTBEAT_S


class Box:
    """One box.

    Args:
        settings: failsafe values.
        now: when it was switched on.

    Attributes:
        state: where it is.
        relays: whether each is on.
        history: (moment, state, limit in W) of every change.
    """

    def __init__(self, settings: Settings, now: WorldTime) -> None:
        self.settings = settings
        self.state = State.INIT
        self.relays = [False] * RELAYS
        self.history: list[tuple[WorldTime, State, int | None]] = [(now, State.INIT, None)]
        self._ordered: int | None = None
        self._until: WorldTime | None = None
        self._beat = now
        self._failsafe_since = now
        self._steps: list[tuple[WorldTime, int | None]] = []

    @property
    def limit(self) -> int | None:
        """Most power the plant may take now in W, None for any."""
        if self.state is State.FAILSAFE:
            return self.settings.failsafe_w
        return self._ordered if self.state is State.LIMITED else None

    def take(self, order: Order, now: WorldTime) -> Answer:
        """Carry out an order; everything heard is a heartbeat, too."""
        self.on_deadline(now)
        self._beat = now
        self._move(Input.HEARTBEAT, now)
        reason = ""
        if order.do == "limit":
            until = now + order.seconds * SECOND if order.seconds else None
            self._limit(order.watts, until, now)
        elif order.do == "release":
            self._steps.clear()
            self._release(now)
        elif order.do == "relay" and not 1 <= order.number <= RELAYS:
            reason = f"there are relays 1 to {RELAYS}"
        elif order.do == "relay":
            self.relays[order.number - 1] = order.on
        elif order.do == "schedule":
            moments = [(now + step.at * SECOND, step.watts) for step in order.steps]
            self._steps = sorted(moments, key=lambda item: item[0])
            self.on_deadline(now)
        return Answer(order.id, not reason, self.state, self.limit, tuple(self.relays), reason)

    def _limit(self, watts: int, until: WorldTime | None, now: WorldTime) -> None:
        changed = (watts, State.LIMITED) != (self._ordered, self.state)
        self._ordered, self._until = watts, until
        if self.state is State.LIMITED and changed:
            self.history.append((now, self.state, self.limit))
        self._move(Input.LIMIT, now)

    def _release(self, now: WorldTime) -> None:
        self._until = None
        self._move(Input.RELEASE, now)

    def _move(self, event: Input, now: WorldTime) -> None:
        after = TABLE.get((self.state, event))
        if after is None or after is self.state:
            return
        self.state = after
        if after is State.FAILSAFE:
            self._failsafe_since, self._until = now, None
            self._steps.clear()
        self.history.append((now, after, self.limit))

    # -- time ------------------------------------------------------------------------------

    def next_deadline(self) -> WorldTime | None:
        """Return when :meth:`on_deadline` must be called."""
        due = [moment for moment, _ in self._steps[:1]]
        if self._until is not None:
            due.append(self._until)
        if (self.state, Input.LOST) in TABLE:
            due.append(self._beat + self.settings.lost_s * SECOND)
        if self.state is State.FAILSAFE:
            due.append(self._failsafe_since + self.settings.failsafe_s * SECOND)
        return min(due, default=None)

    def on_deadline(self, now: WorldTime) -> None:
        """Do what is due, in its order."""
        while (due := self.next_deadline()) is not None and due <= now:
            if self._steps and self._steps[0][0] == due:
                _, watts = self._steps.pop(0)
                if watts is None:
                    self._release(due)
                else:
                    self._limit(watts, None, due)
            elif self._until == due:
                self._release(due)
            elif self.state is State.FAILSAFE:
                self._move(Input.OVER, due)
            else:
                self._move(Input.LOST, due)
