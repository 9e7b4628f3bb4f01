"""One transparent channel on two legs; its steps are :mod:`cls_proxy.life`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from cls_proxy.life import ENDING, Action, Input, Life, State
from cls_proxy.rules import Grant
from cls_proxy.socks import Reply, Request
from smgw_emu.cls_line.leg import Leg
from smgw_emu.cls_line.reach import Plan, Reach
from smgw_emu.core.instants import SECOND, DeviceTime, WorldTime
from smgw_emu.transport.clock import Clock, Timer

MAX_EARLY = 65_536  # own choice: octets one end may send before the other is there


class ChannelHooks(Protocol):
    """Who owns channels."""

    def han_plan(self, channel: Channel) -> Plan:
        """Return how its CLS is reached."""

    def wan_plan(self, channel: Channel) -> Plan:
        """Return how its EMT is reached."""

    def told(self, channel: Channel, what: Action, detail: str) -> None:
        """A connect response, or a failure, for who asked."""

    def joined(self, channel: Channel) -> None:
        """Octets are passed on from now on."""

    def over(self, channel: Channel) -> None:
        """It has ended."""

    def activity(self) -> None:
        """Octets were passed on."""


@dataclass(frozen=True, slots=True)
class ChannelState:
    """What a lab sees of one channel."""

    number: int
    profile: str
    scenario: str
    cls: str
    emt: str
    state: str
    up: int
    down: int


@dataclass(slots=True)
class Octets:
    """Octets passed on: up to the EMT, down to the CLS."""

    up: int = 0
    down: int = 0


@dataclass(slots=True, eq=False)
class Channel:
    """One channel.

    Attributes:
        number: within this run of the gateway.
        grant: what allows it.
        clock: world time.
        hooks: its owner.
        fingerprint: SHA-256 of the certificate the CLS has shown, "" before.
        han, wan: the legs.
        done: told of the end of an order: (result, failure).
        until: device time at which it must be over: profile, certificates.
        opened: when its first leg stood.
        reason: why it ended.
    """

    number: int
    grant: Grant
    clock: Clock
    hooks: ChannelHooks
    fingerprint: str = ""
    han: Leg | None = None
    wan: Leg | None = None
    done: Callable[[str, str], None] | None = None
    until: DeviceTime | None = None
    opened: WorldTime | None = None
    reason: str = ""
    passed: Octets = field(default_factory=Octets)
    _early: bytearray = field(default_factory=bytearray)
    _spoke: Leg | None = None
    _reach: Reach | None = None
    _timer: Timer | None = None
    _told: bool = False
    _last: WorldTime | None = None
    _life: Life = field(init=False)

    def __post_init__(self) -> None:
        self._life = Life(self.grant.proxy.initiator)

    @property
    def state(self) -> State:
        """Where it is."""
        return self._life.state

    @property
    def standing(self) -> bool:
        """Octets are passed on."""
        return self.state is State.OPEN

    @property
    def ending(self) -> bool:
        """It is on its way to its end, or there: nothing can end it any more."""
        return self.state in ENDING

    def shown(self) -> ChannelState:
        """Return what a lab sees."""
        grant, passed = self.grant, self.passed
        return ChannelState(
            self.number, grant.proxy.name, grant.proxy.initiator, grant.cls.name, grant.emt.name,
            self.state, passed.up, passed.down,
        )  # fmt: skip

    def start(self) -> None:
        """Begin; the CLS's leg is there already in HKS3."""
        if self.han is not None:
            self.han.handler = self
            self._stood()
        self._take(Input.GO)

    def revoke(self, reason: str) -> None:
        """The gateway ends it."""
        self.reason = self.reason or reason
        self._take(Input.REVOKED)

    def shut(self, reason: str) -> None:
        """End at once with a farewell on both legs that is not waited for: secure states."""
        self._end_now(reason, Leg.shut)

    def cut(self, reason: str) -> None:
        """End at once, without a word: power, cable."""
        self._end_now(reason, Leg.abort)

    def _end_now(self, reason: str, end: Callable[[Leg], None]) -> None:
        self.reason = self.reason or reason
        self._life.state = State.OVER
        for leg in (self.wan, self.han):
            if leg is not None:
                end(leg)
        self._ended()

    # -- steps -----------------------------------------------------------------------------

    def _take(self, event: Input, detail: str = "") -> None:
        for action in self._life.take(event):
            self._do(action, detail)
        self._ended()

    def _ended(self) -> None:
        """Say it once; a step may have led to the end of another."""
        if self.state is State.OVER and not self._told:
            self._told = True
            self._stop()
            self.hooks.over(self)

    def _do(self, action: Action, detail: str) -> None:
        if action is Action.OPEN_WAN:
            self._reach = Reach(self.clock, self.hooks.wan_plan(self), self._wan_up, self._wan_not)
            self._reach.start()
        elif action is Action.OPEN_HAN:
            self._reach = Reach(self.clock, self.hooks.han_plan(self), self._han_up, self._han_not)
            self._reach.start()
        elif action in _ANSWERS and self.han is not None:
            if action is not Action.ANSWER_OK:
                self.hooks.told(self, Action.TELL_FAILED, detail or self.reason)
            self.han.answer(_ANSWERS[action])
        elif action in {Action.TELL_HAN, Action.TELL_WAN, Action.TELL_FAILED}:
            self.hooks.told(self, action, detail or self.reason)
        elif action is Action.JOIN:
            self._join()
        elif action is Action.CLOSE_HAN:
            self._close(self.han)
        elif action is Action.CLOSE_WAN:
            self._close(self.wan)
        elif action in {Action.DROP_HAN, Action.DROP_WAN} and self._reach is not None:
            self._reach.stop()

    def _close(self, leg: Leg | None) -> None:
        if leg is not None:
            leg.read(on=True)  # its farewell must be seen
            leg.farewell()

    def _join(self) -> None:
        assert self.wan is not None
        self._touch()
        assert self.han is not None
        early, self._early = bytes(self._early), bytearray()
        self.hooks.joined(self)
        if early:
            self._pass(self.han if self._spoke is self.wan else self.wan, early)
        self.han.read(on=True)
        self.wan.read(on=True)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reach is not None:
            self._reach.stop()

    # -- legs on their way -----------------------------------------------------------------

    def _wan_up(self, leg: Leg) -> None:
        self.wan = leg
        leg.handler = self
        self._stood()
        self._take(Input.WAN_UP)

    def _wan_not(self, late: bool, reason: str) -> None:  # noqa: FBT001  # Reach's signature
        self.reason = f"EMT: {reason}"
        self._take(Input.WAN_TIMEOUT if late else Input.WAN_REFUSED, self.reason)

    def _han_up(self, leg: Leg) -> None:
        self.han = leg
        leg.handler = self
        self._stood()
        self._take(Input.HAN_UP)

    def _han_not(self, _late: bool, reason: str) -> None:  # noqa: FBT001
        self.reason = f"CLS: {reason}"
        self._take(Input.HAN_FAILED, self.reason)

    # -- legs ------------------------------------------------------------------------------

    def leg_up(self, leg: Leg) -> None:
        """Never comes: legs are handed over when they stand."""

    def leg_asked(self, leg: Leg, request: Request) -> None:
        """Never comes: one request per connection (ConnectRequest.10)."""

    def leg_data(self, leg: Leg, data: bytes) -> None:
        """Pass octets on; before the EMT is there keep some."""
        other = self.wan if leg is self.han else self.han
        if self.standing and other is not None:
            self._pass(other, data)
        elif not self.ending:
            self._spoke = leg  # there is only one yet
            self._early += data
            leg.read(on=len(self._early) < MAX_EARLY)

    def _pass(self, other: Leg, data: bytes) -> None:
        if other is self.wan:
            self.passed.up += len(data)
        else:
            self.passed.down += len(data)
        self._last = self.clock.now()
        other.send(data)
        self.hooks.activity()

    def leg_farewell(self, leg: Leg) -> None:
        """The partner wants to end."""
        self.reason = self.reason or f"closed by the {'CLS' if leg is self.han else 'EMT'}"
        self._take(Input.HAN_FAREWELL if leg is self.han else Input.WAN_FAREWELL)

    def leg_paused(self, leg: Leg, *, paused: bool) -> None:
        """One side does not read: do not read the other."""
        other = self.wan if leg is self.han else self.han
        if other is not None and self.standing:
            other.read(on=not paused)

    def leg_over(self, leg: Leg, reason: str) -> None:
        """A leg has ended, in order or not."""
        self.reason = self.reason or f"{'CLS' if leg is self.han else 'EMT'}: {reason}"
        self._take(Input.HAN_OVER if leg is self.han else Input.WAN_OVER)

    # -- limits ----------------------------------------------------------------------------

    def _stood(self) -> None:
        if self.opened is None:
            self.opened = self._last = self.clock.now()
            self._watch()

    def _touch(self) -> None:
        self._last = self.clock.now()
        self._watch()

    def _deadline(self) -> tuple[WorldTime, str]:
        assert self.opened is not None
        assert self._last is not None
        oldest = self.opened + self.grant.max_session_s * SECOND
        idle = self._last + (self.grant.idle_s or self.grant.max_session_s) * SECOND
        if self.grant.idle_s and self.standing and idle < oldest:
            return idle, "idle too long"
        return oldest, "session too long"

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.state is not State.OVER:
            self._timer = self.clock.call_at(self._deadline()[0], self._on_deadline)

    def _on_deadline(self) -> None:
        self._timer = None
        due, reason = self._deadline()
        if self.clock.now() >= due:
            self.revoke(reason)
        else:
            self._watch()


_ANSWERS = {
    Action.ANSWER_OK: Reply.OK,
    Action.ANSWER_TIMEOUT: Reply.TIMEOUT,
    Action.ANSWER_REFUSED: Reply.REFUSED,
}
