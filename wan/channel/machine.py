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

=========== ============================== ============== ===========================
state       input                          next           effect
=========== ============================== ============== ===========================
closed      wanted                         connecting     connect to the first address
pausing     wanted, or pause over          connecting     connect to the first address
pausing     not wanted                     closed         -
connecting  failed, another address        connecting     connect to the next address
connecting  failed, attempts left          pausing        -
connecting  failed, none left, wanted      pausing        gave up
connecting  failed, none left, not wanted  closed         gave up
connecting  not wanted                     closed         hang up
connecting  established                    open           -
open        ended, wanted                  connecting or  connect
                                           pausing
open        ended, not wanted              closed         -
open        not wanted                     closed         hang up
=========== ============================== ============== ===========================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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

    def want(self, now: WorldTime) -> list[Effect]:  # noqa: ARG002  # every input has its time
        """Something needs the channel; begins at once, also out of a pause."""
        self.wanted = True
        if self.state in {ChannelState.CLOSED, ChannelState.PAUSING}:
            self._failed = 0
            return self._connect(0)
        return []

    def release(self) -> list[Effect]:
        """The work is done; a permanent channel stays."""
        return [] if self.profile.keepalive else self.drop()

    def drop(self) -> list[Effect]:
        """Nobody needs the channel any more, permanent or not."""
        was, self.wanted = self.state, False
        self._close()
        busy = was in {ChannelState.CONNECTING, ChannelState.OPEN}
        return [HangUp()] if busy else []

    def established(self, now: WorldTime) -> list[Effect]:
        """TLS stands."""
        if self.state is ChannelState.CONNECTING:
            self.state, self._opened = ChannelState.OPEN, now
            self._failed = self._rounds = 0
        return []

    def failed(self, now: WorldTime, reason: str) -> list[Effect]:
        """The address could not be reached, or the handshake failed."""
        if self.state is not ChannelState.CONNECTING:
            return []
        if self._next_address < len(self._addresses):
            return self._connect(self._next_address)
        self._failed += 1
        if self._failed <= self.profile.attempts:
            self._pause(now, self.profile.wait_s)
            return []
        gave_up = GaveUp(self._failed, reason)
        self._failed = 0
        if not self.wanted:
            self._close()
            return [gave_up]
        rules = self._rules
        self._pause(now, min(rules.retry_s << min(self._rounds, 16), rules.retry_max_s))
        self._rounds += 1
        return [gave_up]

    def ended(self, now: WorldTime) -> list[Effect]:
        """An open connection is over."""
        if self.state is not ChannelState.OPEN:
            return []
        self.wanted = self.wanted and self.profile.keepalive
        if not self.wanted:
            self._close()
            return []
        pause = max(1, self.profile.wait_s)
        if self._opened is not None and now - self._opened < pause * SECOND:
            self._pause(now, pause)
            return []
        return self._connect(0)

    def on_deadline(self, now: WorldTime) -> list[Effect]:
        """End a pause."""
        due = self.next_deadline()
        return self._connect(0) if due is not None and now >= due else []

    # -- inner steps -----------------------------------------------------------------------

    def _connect(self, index: int) -> list[Effect]:
        self.state, self._until = ChannelState.CONNECTING, None
        self.address = self._addresses[index]
        self._next_address = index + 1
        return [Connect(self.address)]

    def _pause(self, now: WorldTime, seconds: int) -> None:
        self.state, self._until = ChannelState.PAUSING, now + seconds * SECOND

    def _close(self) -> None:
        self.state, self._until = ChannelState.CLOSED, None
