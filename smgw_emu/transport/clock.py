"""Clocks of the laboratory and the event loop that lets virtual time jump.

Device code never reads a clock; the shell does, through a :class:`Clock`. :class:`SystemClock` is
wall time. :class:`VirtualClock` runs at a factor of real time, stands still, or jumps: while
:meth:`VirtualClock.advance` is under way, whenever no socket and no callback of the process has
anything to do, time moves straight to the next deadline.

"Nothing to do" is seen by :class:`IdleSelector`, the selector of :func:`new_event_loop`: it is
asked to wait only when the loop has no ready callback. Who waits for something outside this loop
(another process, a thread) holds the clock meanwhile (:meth:`VirtualClock.hold`).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import selectors
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from smgw_emu.core.errors import LocalProtocolError
from smgw_emu.core.instants import SECOND, WorldTime

_MAX_TIMER_S = 3600.0  # loop timers are re-armed at least this often


class Timer:
    """A deadline that can be cancelled."""

    __slots__ = ("callback", "when")

    def __init__(self, when: WorldTime, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget it; a second call does nothing."""
        self.callback = None


class Clock(Protocol):
    """World time and deadlines."""

    def now(self) -> WorldTime:
        """Return the present world time."""
        ...

    def call_at(self, when: WorldTime, callback: Callable[[], None]) -> Timer:
        """Call back once, at or after ``when``."""
        ...


class _Timers:
    """Deadlines in order; equal ones in the order they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._numbers = itertools.count()

    def add(self, timer: Timer) -> None:
        heapq.heappush(self._heap, (timer.when.ns, next(self._numbers), timer))

    def next(self) -> WorldTime | None:
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][2].when if self._heap else None

    def due(self, now: WorldTime) -> Iterator[Callable[[], None]]:
        while (when := self.next()) is not None and when <= now:
            timer = heapq.heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                yield callback


class SystemClock:
    """Wall time: the host's time at start, carried on by its monotonic clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: WorldTime | None = None) -> None:
        self._loop = loop
        self._timers = _Timers()
        self._base = start if start is not None else WorldTime(time.time_ns())
        self._anchor = time.monotonic_ns()
        self._handle: asyncio.TimerHandle | None = None

    def now(self) -> WorldTime:
        """Return the present world time."""
        return self._base + (time.monotonic_ns() - self._anchor)

    def call_at(self, when: WorldTime, callback: Callable[[], None]) -> Timer:
        """Call back once, at or after ``when``."""
        timer = Timer(when, callback)
        self._timers.add(timer)
        self._arm()
        return timer

    def _delay(self, when: WorldTime) -> float | None:
        """Return the real seconds until ``when``, None if it will not come by itself."""
        return max(0, when - self.now()) / SECOND

    def _arm(self) -> None:
        """Set the loop's timer for the next deadline."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        upcoming = self._timers.next()
        delay = None if upcoming is None else self._delay(upcoming)
        if delay is not None:
            self._handle = self._loop.call_later(min(delay, _MAX_TIMER_S), self._on_timer)

    def _on_timer(self) -> None:
        self._handle = None
        self._fire()
        self._arm()

    def _fire(self) -> None:
        for callback in self._timers.due(self.now()):
            self._loop.call_soon(callback)


class VirtualClock(SystemClock):
    """World time under the laboratory's control.

    Args:
        loop: the event loop, for timers; from :func:`new_event_loop` if the clock is to jump.
        start: world time at the beginning; default: wall time.
        factor: how fast it runs against real time; 0 stands still.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        start: WorldTime | None = None,
        factor: float = 1.0,
    ) -> None:
        super().__init__(loop, start)
        self._factor = _checked(factor)
        self._target: WorldTime | None = None
        self._arrived: asyncio.Future[None] | None = None
        self._holds = 0
        selector = getattr(loop, "idle_selector", None)
        self._selector = selector if isinstance(selector, IdleSelector) else None

    @property
    def factor(self) -> float:
        """How fast the clock runs against real time; 0 while it stands still."""
        return self._factor

    def now(self) -> WorldTime:
        """Return the present world time."""
        if self._target is not None or self._factor == 0:
            return self._base
        return self._base + int((time.monotonic_ns() - self._anchor) * self._factor)

    def set_factor(self, factor: float) -> None:
        """Change the speed; 0 pauses.

        Raises:
            LocalProtocolError: negative, not a number, or above a million.
        """
        factor = _checked(factor)
        self._rebase()
        self._factor = factor
        self._arm()

    async def advance(self, duration: int) -> WorldTime:
        """Jump ``duration`` nanoseconds ahead, stopping at every deadline on the way."""
        return await self.advance_to(self.now() + duration)

    async def advance_to(self, target: WorldTime) -> WorldTime:
        """Jump to ``target``; returns the time reached.

        Raises:
            LocalProtocolError: a jump is under way, or the loop is none of :func:`new_event_loop`.
        """
        if self._selector is None:
            raise LocalProtocolError("virtual time jumps only on a loop of new_event_loop()")
        if self._target is not None:
            raise LocalProtocolError("a jump is under way")
        self._rebase()
        self._target = max(target, self._base)
        self._arrived = self._loop.create_future()
        self._selector.on_idle = self._on_idle
        try:
            await self._arrived
        finally:
            self._selector.on_idle = None
            self._target = self._arrived = None
            self._anchor = time.monotonic_ns()
            self._arm()
        return self._base

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep a jump from going on while something outside the loop is waited for."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    def _on_idle(self) -> bool:
        """Move to the next deadline; False if the loop should really wait."""
        if self._holds or self._target is None or self._arrived is None or self._arrived.done():
            return False
        upcoming = self._timers.next()
        if upcoming is None or upcoming > self._target:
            self._base = self._target
            self._arrived.set_result(None)
            return True
        self._base = max(self._base, upcoming)
        self._fire()
        return True

    def _rebase(self) -> None:
        self._base, self._anchor = self.now(), time.monotonic_ns()

    def _delay(self, when: WorldTime) -> float | None:
        if self._factor == 0 or self._target is not None:
            return None
        return max(0, when - self.now()) / SECOND / self._factor


def _checked(factor: float) -> float:
    if not 0 <= factor <= 1_000_000:
        raise LocalProtocolError(f"clock speed {factor} is not between 0 and 1000000")
    return float(factor)


class IdleSelector(selectors.DefaultSelector):
    """The platform's selector; asks ``on_idle`` before it really waits."""

    def __init__(self) -> None:
        super().__init__()
        self.on_idle: Callable[[], bool] | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return ready files; with nothing ready, let virtual time move first."""
        if self.on_idle is None or (timeout is not None and timeout <= 0):
            return super().select(timeout)
        ready = super().select(0)
        if ready or self.on_idle():
            return ready
        return super().select(timeout)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, selector: IdleSelector) -> None:
        super().__init__(selector)
        self.idle_selector = selector


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop on which a :class:`VirtualClock` can jump."""
    return _Loop(IdleSelector())


async def sleep(clock: Clock, duration: int) -> None:
    """Wait ``duration`` nanoseconds of the clock's time."""
    woken = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    timer = clock.call_at(clock.now() + duration, wake)
    try:
        await woken
    finally:
        timer.cancel()
