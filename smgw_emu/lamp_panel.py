"""The lamps of a gateway: state in, edges to a sink at the moments they happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hardware.lamps.sink import LedSink
from smgw_emu.core.instants import MILLISECOND, WorldTime
from smgw_emu.core.leds import Leds, LedState, leds, next_edge
from smgw_emu.profiles import Leds as LedTimes
from smgw_emu.transport.clock import Clock, Timer

Watcher = Callable[[WorldTime, Leds], None]


class LampPanel:
    """Shows a lamp state on a sink.

    Args:
        clock: world time.
        sink: where the lamps show.
        times: pulse widths of the profile.

    Attributes:
        watchers: of the lab: told every edge.
    """

    def __init__(self, clock: Clock, sink: LedSink, times: LedTimes) -> None:
        self._clock = clock
        self.sink = sink
        self.times = times
        self.state = LedState(since=clock.now())
        self.watchers: list[Watcher] = []
        self._shown: Leds | None = None
        self._timer: Timer | None = None

    def reset(self, **changes: object) -> None:
        """Begin anew, as power-up and power-down do: nothing volatile stays."""
        self.state = LedState(self._clock.now())
        self.set(**changes)

    def set(self, **changes: object) -> None:
        """Change the state and show it."""
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]
        self._show()

    def activity(self, port: str) -> None:
        """A transfer on a port: "han" or "cls"; one flash at a time."""
        last, now = getattr(self.state, f"{port}_at"), self._clock.now()
        if last is None or now - last >= 2 * self.times.activity_ms * MILLISECOND:
            self.set(**{f"{port}_at": now})

    def stop(self) -> None:
        """Forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _show(self) -> None:
        now = self._clock.now()
        lamps = leds(self.state, now, self.times)
        self.sink.show(now, lamps)
        if lamps != self._shown:
            self._shown = lamps
            for watcher in self.watchers:
                watcher(now, lamps)
        self.stop()
        edge = next_edge(self.state, now, self.times)
        if edge is not None:
            self._timer = self._clock.call_at(edge, self._show)
