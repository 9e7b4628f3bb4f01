"""What every sink is, and the two that need no hardware: a recording, several at once."""

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

    def close(self) -> None:
        """Leave every lamp at its safe level; a second call does nothing."""
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

    def close(self) -> None:
        """Nothing to leave."""


class SeveralSinks:
    """Shows the same on each.

    Args:
        sinks: in the order they are told.
    """

    def __init__(self, *sinks: LedSink) -> None:
        self.sinks = sinks

    def show(self, now: WorldTime, lamps: Leds) -> None:
        """Tell each."""
        for sink in self.sinks:
            sink.show(now, lamps)

    def close(self) -> None:
        """Close each, whatever another does."""
        failed: OSError | None = None
        for sink in self.sinks:
            try:
                sink.close()
            except OSError as error:
                failed = error
        if failed is not None:
            raise failed


def recording_of(sink: LedSink) -> RecordingLeds | None:
    """Return the recording in a sink, None without one."""
    if isinstance(sink, RecordingLeds):
        return sink
    if isinstance(sink, SeveralSinks):
        return next((found for one in sink.sinks if (found := recording_of(one))), None)
    return None
