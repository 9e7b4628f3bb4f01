"""Where the front lamps show: sinks take the states, the model decides them."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from smgw_emu.core.instants import WorldTime
from smgw_emu.core.leds import DARK, Leds


class LedSink(Protocol):
    """Shows lamps."""

    def show(self, now: WorldTime, lamps: Leds) -> None:
        """Show from ``now`` on; called once per change."""
        ...


class RecordingLeds:
    """Keeps the last edges with their world time (HW-10).

    Args:
        limit: edges kept.
    """

    def __init__(self, limit: int = 10_000) -> None:
        self.edges: deque[tuple[WorldTime, Leds]] = deque(maxlen=limit)
        self.lamps = DARK

    def show(self, now: WorldTime, lamps: Leds) -> None:
        """Record an edge."""
        self.lamps = lamps
        self.edges.append((now, lamps))
