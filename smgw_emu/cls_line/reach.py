"""Opening one leg: addresses in order, attempts, pauses (T18), each within a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cls_proxy.socks import Request
from smgw_emu.cls_line.leg import Leg, LegHandler
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import SECOND
from smgw_emu.transport.clock import Clock, Timer


@dataclass(frozen=True, slots=True)
class Plan:
    """Where and how a leg is opened.

    Attributes:
        places: host and port, in order of preference.
        attempts: repetitions after the first round.
        wait_s: pause between rounds.
        limit_s: TCP and handshake together, per address.
        make: makes the leg for its handler.
        way: whether there is a way to the network at all.
    """

    places: Sequence[tuple[str, int]]
    attempts: int
    wait_s: int
    limit_s: int
    make: Callable[[LegHandler], Leg]
    way: Callable[[], bool]


class Reach:
    """One leg on its way.

    Args:
        clock: world time.
        plan: where to.
        up: told when TLS stands, with the leg.
        failed: told when all attempts are used up: (nobody answered in time, reason).
    """

    def __init__(
        self,
        clock: Clock,
        plan: Plan,
        up: Callable[[Leg], None],
        failed: Callable[[bool, str], None],
    ) -> None:
        self._clock = clock
        self._plan = plan
        self._up = up
        self._failed = failed
        self._at = 0
        self._rounds = 0
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._leg: Leg | None = None
        self._over = False

    def start(self) -> None:
        """Try the next address."""
        if self._over:
            return
        if not self._plan.way():
            self._next(late=True, reason="no link")
            return
        host, port = self._plan.places[self._at]
        self._task = asyncio.get_running_loop().create_task(self._connect(host, port))
        due = self._clock.now() + self._plan.limit_s * SECOND
        self._timer = self._clock.call_at(due, self._too_late)

    def stop(self) -> None:
        """Give up without a word."""
        self._over = True
        self._clear()

    async def _connect(self, host: str, port: int) -> None:
        try:
            leg = self._leg = self._plan.make(self)
            await asyncio.get_running_loop().create_connection(lambda: leg, host, port)
        except ConnectionRefusedError:
            self._next(late=False, reason="connection refused")
        # SmgwError: the security module refuses; ValueError: no name for a ClientHello
        except (OSError, SmgwError, ValueError) as error:
            text = getattr(error, "strerror", None) or str(error)
            self._next(late=isinstance(error, OSError), reason=text)

    def _too_late(self) -> None:
        self._timer = None
        self._next(late=True, reason="no answer")

    def _next(self, *, late: bool, reason: str) -> None:
        """An address has failed: the next one, the next round, or the end."""
        if self._over:
            return
        self._clear()
        self._at += 1
        if self._at < len(self._plan.places):
            self.start()
            return
        self._at = 0
        self._rounds += 1
        if self._rounds > self._plan.attempts:
            self._over = True
            self._failed(late, reason)
            return
        due = self._clock.now() + self._plan.wait_s * SECOND
        self._timer = self._clock.call_at(due, self.start)

    def _clear(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        task, self._task = self._task, None
        if task is not None and task is not asyncio.current_task():
            task.cancel()
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.abort()

    # -- the leg on its way ----------------------------------------------------------------

    def leg_up(self, leg: Leg) -> None:
        """TLS stands."""
        self._leg, self._task = None, None
        self.stop()
        self._up(leg)

    def leg_asked(self, leg: Leg, request: Request) -> None:
        """Never comes: the gateway is the client."""

    def leg_data(self, leg: Leg, data: bytes) -> None:
        """Never comes before TLS stands."""

    def leg_farewell(self, leg: Leg) -> None:
        """Never comes before TLS stands."""

    def leg_paused(self, leg: Leg, *, paused: bool) -> None:
        """A handshake is smaller than any buffer."""

    def leg_over(self, leg: Leg, reason: str) -> None:
        """TLS did not come to stand."""
        if leg is self._leg:
            self._leg = None
            self._next(late=False, reason=reason)
