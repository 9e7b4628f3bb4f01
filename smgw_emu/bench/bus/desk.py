"""A gateway's wired line as a node of a simulated bus: no socket, no event loop, time by the line.

For state machines and measurements: everything happens in :meth:`BusSim.run_until`, one step after
the other, so a run with the same seed is the same run.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from hardware.ports import MeterPort, PortEvents
from smgw_emu.core.instants import WorldTime
from smgw_emu.transport.clock import Timer
from smgw_emu.wired_line.line import LineParts, WiredLine


class SimClock:
    """A clock that stands at the moment the simulation is at.

    Args:
        now: its beginning.
    """

    def __init__(self, now: WorldTime) -> None:
        self._now = now
        self._heap: list[tuple[int, int, Timer]] = []
        self._numbers = itertools.count()

    def now(self) -> WorldTime:
        """Return the present world time."""
        return self._now

    def set(self, now: WorldTime) -> None:
        """Move on."""
        self._now = max(self._now, now)

    def call_at(self, when: WorldTime, callback: Callable[[], None]) -> Timer:
        """Call back once, at or after ``when``."""
        timer = Timer(when, callback)
        heapq.heappush(self._heap, (when.ns, next(self._numbers), timer))
        return timer

    def next(self) -> WorldTime | None:
        """Return the next deadline."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][2].when if self._heap else None

    def fire(self, now: WorldTime) -> None:
        """Call back what is due."""
        self.set(now)
        while (when := self.next()) is not None and when <= now:
            timer = heapq.heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is not None:
                callback()


class _DeskPort(MeterPort):
    """A port that is always open and keeps what is written."""

    def __init__(self, clock: SimClock, events: PortEvents) -> None:
        super().__init__("desk", clock, events)
        self.out: list[tuple[WorldTime, bytes]] = []

    def _open(self) -> None:
        self._ready()

    def _close(self) -> None:
        self.out.clear()

    def write(self, data: bytes) -> None:
        self.out.append((self._clock.now(), data))


class DeskLine:
    """The primary side of a bus, gateway and all, as a node.

    Args:
        parts: what the line works with; its clock must be ``clock``.
        clock: the simulation's.
        name: of the port.
    """

    def __init__(self, parts: LineParts, clock: SimClock, name: str = "desk") -> None:
        self.clock = clock
        self.line = WiredLine(name, parts)
        self.port = _DeskPort(
            clock, PortEvents(self.line.on_data, self.line.on_ready, self.line.on_lost)
        )
        self.line.port = self.port

    def receive(self, data: bytes, now: WorldTime) -> None:
        """Hear octets."""
        self.clock.set(now)
        self.line.on_data(data)

    def next_deadline(self) -> WorldTime | None:
        """Return the next deadline of the gateway."""
        return self.clock.next()

    def on_deadline(self, now: WorldTime) -> None:
        """Do what is due."""
        self.clock.fire(now)

    def output(self) -> list[tuple[WorldTime, bytes]]:
        """Return and forget what is to be sent."""
        out, self.port.out = self.port.out, []
        return out
