"""The life of one WAN connection, as its communication profile says (TR-03109-1 v1.0 T40).

Theory of operation. The gateway opens every connection (3.2.4.5). A channel is *wanted* while it is
permanent (``keepalive``) or while there is work for it; an event wants it: wake-up, start,
schedule, a message in the outbox.

* An **attempt** goes through the addresses in order until TLS stands (5.4: one unreachable and
  alternatives present: take an alternative). Between attempts lies ``wait_s``; after ``attempts``
  repetitions the round has failed: the system log gets an entry.
* A channel that is still wanted begins a new round after a **back-off** that doubles from
  ``retry_s`` to ``retry_max_s``; a new event begins it at once. Paper bounds a round only, so the
  back-off is profile data.
* An open channel lives until its partner ends it, until idle time or session length (48 h at most)
  are over, or until its work is done and it is not permanent. A permanent one is opened again at
  once; if it lived shorter than ``wait_s``, after a pause, so a partner that hangs up cannot make
  the gateway call in a loop.

The table :data:`TABLE` says what follows; the methods only find out which input it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.core.wan_profiles import Address, WanProfile
from smgw_emu.profiles import Wan as Rules


class ChannelState(StrEnum):
    """Where a channel is."""

    CLOSED = "closed"
    PAUSING = "pausing"
    CONNECTING = "connecting"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Connect:
    """Open TCP and TLS to an address."""

    address: Address


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the connection, or the attempt."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """A round has failed: log it."""

    attempts: int
    reason: str


Effect = Connect | HangUp | GaveUp


class Input(StrEnum):
    """What happens to a channel, guards resolved."""

    WANTED = "wanted"
    NOT_WANTED = "not wanted"
    PAUSE_OVER = "pause over"
    ESTABLISHED = "established"
    NEXT_ADDRESS = "failed, another address"
    ATTEMPT_LEFT = "failed, attempts left"
    ROUND_FAILED = "round failed, wanted"
    ROUND_FAILED_FOR_NOBODY = "round failed, not wanted"
    ENDED = "ended, not wanted"
    ENDED_WANTED = "ended, wanted"
    ENDED_SOON = "ended soon, wanted"


class Action(StrEnum):
    """What the channel does then."""

    NONE = "-"
    CONNECT = "connect to the first address"
    CONNECT_NEXT = "connect to the next address"
    PAUSE = "pause for wait_s"
    GIVE_UP = "gave up"
    GIVE_UP_AND_PAUSE = "gave up, pause for the back-off"
    HANG_UP = "hang up"


_S, _I, _A = ChannelState, Input, Action
# a pair that is not here changes nothing
TABLE: Mapping[tuple[ChannelState, Input], tuple[ChannelState, Action]] = MappingProxyType(
    {
        (_S.CLOSED, _I.WANTED): (_S.CONNECTING, _A.CONNECT),
        (_S.PAUSING, _I.WANTED): (_S.CONNECTING, _A.CONNECT),
        (_S.PAUSING, _I.PAUSE_OVER): (_S.CONNECTING, _A.CONNECT),
        (_S.PAUSING, _I.NOT_WANTED): (_S.CLOSED, _A.NONE),
        (_S.CONNECTING, _I.NOT_WANTED): (_S.CLOSED, _A.HANG_UP),
        (_S.CONNECTING, _I.ESTABLISHED): (_S.OPEN, _A.NONE),
        (_S.CONNECTING, _I.NEXT_ADDRESS): (_S.CONNECTING, _A.CONNECT_NEXT),
        (_S.CONNECTING, _I.ATTEMPT_LEFT): (_S.PAUSING, _A.PAUSE),
        (_S.CONNECTING, _I.ROUND_FAILED): (_S.PAUSING, _A.GIVE_UP_AND_PAUSE),
        (_S.CONNECTING, _I.ROUND_FAILED_FOR_NOBODY): (_S.CLOSED, _A.GIVE_UP),
        (_S.OPEN, _I.NOT_WANTED): (_S.CLOSED, _A.HANG_UP),
        (_S.OPEN, _I.ENDED): (_S.CLOSED, _A.NONE),
        (_S.OPEN, _I.ENDED_WANTED): (_S.CONNECTING, _A.CONNECT),
        (_S.OPEN, _I.ENDED_SOON): (_S.PAUSING, _A.PAUSE),
    }
)


class Channel:
    """One channel.

    Args:
        profile: its communication profile.
        rules: back-off of the device profile.
    """

    def __init__(self, profile: WanProfile, rules: Rules) -> None:
        self.profile = profile
        self._rules = rules
        self._addresses = profile.endpoints()
        self.state = ChannelState.CLOSED
        self.wanted = False
        self.address: Address | None = None
        self._next_address = 0
        self._failed = 0
        self._rounds = 0
        self._until: WorldTime | None = None
        self._opened: WorldTime | None = None

    def next_deadline(self) -> WorldTime | None:
        """Return when a pause ends."""
        return self._until if self.state is ChannelState.PAUSING else None

    def want(self, now: WorldTime) -> list[Effect]:
        """Something needs the channel; begins at once, also out of a pause."""
        self.wanted = True
        if self.state is ChannelState.PAUSING:
            self._failed = 0
        return self._apply(Input.WANTED, now)

    def release(self) -> list[Effect]:
        """The work is done; a permanent channel stays."""
        return [] if self.profile.keepalive else self.drop()

    def drop(self) -> list[Effect]:
        """Nobody needs the channel any more, permanent or not."""
        self.wanted = False
        self._failed = 0
        return self._apply(Input.NOT_WANTED)

    def established(self, now: WorldTime) -> list[Effect]:
        """TLS stands."""
        if self.state is ChannelState.CONNECTING:
            self._opened = now
            self._failed = self._rounds = 0
        return self._apply(Input.ESTABLISHED, now)

    def failed(self, now: WorldTime, reason: str) -> list[Effect]:
        """The address could not be reached, or the handshake failed."""
        if self.state is not ChannelState.CONNECTING:
            return []
        if self._next_address < len(self._addresses):
            return self._apply(Input.NEXT_ADDRESS, now)
        self._failed += 1
        if self._failed <= self.profile.attempts:
            return self._apply(Input.ATTEMPT_LEFT, now)
        wanted = Input.ROUND_FAILED if self.wanted else Input.ROUND_FAILED_FOR_NOBODY
        return self._apply(wanted, now, reason)

    def ended(self, now: WorldTime) -> list[Effect]:
        """An open connection is over."""
        if self.state is not ChannelState.OPEN:
            return []
        self.wanted = self.wanted and self.profile.keepalive
        if not self.wanted:
            return self._apply(Input.ENDED, now)
        soon = self._opened is not None and now - self._opened < self._wait
        return self._apply(Input.ENDED_SOON if soon else Input.ENDED_WANTED, now)

    def on_deadline(self, now: WorldTime) -> list[Effect]:
        """End a pause."""
        due = self.next_deadline()
        return self._apply(Input.PAUSE_OVER, now) if due is not None and now >= due else []

    # -- inner steps -----------------------------------------------------------------------

    @property
    def _wait(self) -> int:
        """The least life of a connection that is opened anew at once, nanoseconds."""
        return max(1, self.profile.wait_s) * SECOND

    def _apply(self, event: Input, now: WorldTime | None = None, reason: str = "") -> list[Effect]:
        following = TABLE.get((self.state, event))
        if following is None:
            return []
        self.state, action = following
        self._until = None
        match action:
            case Action.CONNECT:
                return self._connect(0)
            case Action.CONNECT_NEXT:
                return self._connect(self._next_address)
            case Action.HANG_UP:
                return [HangUp()]
            case Action.GIVE_UP | Action.GIVE_UP_AND_PAUSE:
                return self._give_up(now, reason, pause=action is Action.GIVE_UP_AND_PAUSE)
            case Action.PAUSE if now is not None:
                soon = event is Input.ENDED_SOON
                self._until = now + (self._wait if soon else self.profile.wait_s * SECOND)
        return []

    def _connect(self, index: int) -> list[Effect]:
        self.address = self._addresses[index]
        self._next_address = index + 1
        return [Connect(self.address)]

    def _give_up(self, now: WorldTime | None, reason: str, *, pause: bool) -> list[Effect]:
        attempts, self._failed = self._failed, 0
        if pause and now is not None:
            rules = self._rules
            seconds = min(rules.retry_s << min(self._rounds, 16), rules.retry_max_s)
            self._until = now + seconds * SECOND
            self._rounds += 1
        return [GaveUp(attempts, reason)]
