"""What every sink is, and the two that need no hardware: a recording, several at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from smgw_emu.core.instants import WorldTime
from smgw_emu.core.leds import DARK, Leds


class LedSink(Protocol):
    """Shows lamps; ``live``: it must be told every edge at its moment."""

    @property
    def live(self) -> bool:
        """Whether an edge that is told late is wrong."""

    def show(self, now: WorldTime, lamps: Leds) -> None:
        """Show from ``now`` on; called once per change."""
        ...

    def close(self) -> None:
        """Leave every lamp at its safe level; a second call does nothing."""
        ...


class RecordingLeds:
    """Keeps the last edges with their world time (HW-10).

    A recording needs nobody to wake up for an edge: what happened since it was told last follows
    from the lamp model, and is filled in when somebody reads. So a lamp that blinks costs no time
    when time runs fast.

    Args:
        limit: edges kept.

    Attributes:
        live: it must be told every edge at its moment; a recording need not.
        refresh: fills in what has happened since; set by who drives it.
    """

    live = False

    def __init__(self, limit: int = 10_000) -> None:
        self._edges: deque[tuple[WorldTime, Leds]] = deque(maxlen=limit)
        self._lamps = DARK
        self.refresh: Callable[[], None] = lambda: None

    @property
    def edges(self) -> deque[tuple[WorldTime, Leds]]:
        """The last edges, oldest first."""
        self.refresh()
        return self._edges

    @property
    def lamps(self) -> Leds:
        """The lamps now."""
        self.refresh()
        return self._lamps

    def show(self, now: WorldTime, lamps: Leds) -> None:
        """Record an edge."""
        self._lamps = lamps
        self._edges.append((now, lamps))

    def close(self) -> None:
        """Nothing to leave."""


class SeveralSinks:
    """Shows the same on each.

    Args:
        sinks: in the order they are told.
    """

    def __init__(self, *sinks: LedSink) -> None:
        self.sinks = sinks

    @property
    def live(self) -> bool:
        """Whether one of them is."""
        return any(sink.live for sink in self.sinks)

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
