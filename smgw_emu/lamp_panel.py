"""The lamps of a gateway: state in, edges to a sink at the moments they happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hardware.lamps.sink import LedSink, recording_of
from smgw_emu.core.instants import MILLISECOND, MINUTE, WorldTime
from smgw_emu.core.leds import Leds, LedState, leds, next_edge
from smgw_emu.profiles import Leds as LedTimes
from smgw_emu.transport.clock import Clock, Timer

LONG = 10 * MINUTE  # own choice: what is filled in after a jump; 12 000 edges of 50 ms
Watcher = Callable[[WorldTime, Leds], None]


class LampPanel:
    """Shows a lamp state on a sink.

    Theory of operation. The lamps are a function of state and time. A sink that lives (hardware, a
    trace, a watcher of the lab) is told every edge by a timer. A recording is only told at changes
    of the state and when it is read: the edges in between are computed then.

    Args:
        clock: world time.
        sink: where the lamps show.
        times: pulse widths of the profile.
    """

    def __init__(self, clock: Clock, sink: LedSink, times: LedTimes) -> None:
        self._clock = clock
        self.sink = sink
        self.times = times
        self.state = LedState(since=clock.now())
        self._watchers: list[Watcher] = []
        self._last = clock.now()
        self._shown: Leds | None = None
        self._timer: Timer | None = None
        recording = recording_of(sink)
        if recording is not None:
            recording.refresh = self._catch_up

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Tell somebody of the lab every edge from now on; returns how to end that."""
        self._catch_up()
        self._watchers.append(watcher)
        self._arm()

        def end() -> None:
            self._watchers.remove(watcher)

        return end

    @property
    def watched(self) -> bool:
        """Whether somebody of the lab is told."""
        return bool(self._watchers)

    def reset(self, **changes: object) -> None:
        """Begin anew, as power-up and power-down do: nothing volatile stays."""
        self._catch_up()
        self.state = LedState(self._clock.now())
        self.set(**changes)

    def set(self, **changes: object) -> None:
        """Change the state and show it."""
        self._catch_up()
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]
        self._tell(self._clock.now())
        self._arm()

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

    def _catch_up(self) -> None:
        """Tell the edges since the last one; of a long time only its end."""
        now = self._clock.now()
        if now - self._last > LONG:
            self._last = now + -LONG
        edge = next_edge(self.state, self._last, self.times)
        while edge is not None and edge <= now:
            self._tell(edge)
            edge = next_edge(self.state, edge, self.times)

    def _tell(self, at: WorldTime) -> None:
        lamps = leds(self.state, at, self.times)
        self._last = at
        self.sink.show(at, lamps)
        if lamps != self._shown:
            self._shown = lamps
            for watcher in self._watchers:
                watcher(at, lamps)

    def _arm(self) -> None:
        self.stop()
        if not (self._watchers or self.sink.live):
            return
        edge = next_edge(self.state, self._last, self.times)
        if edge is not None:
            self._timer = self._clock.call_at(edge, self._on_edge)

    def _on_edge(self) -> None:
        self._catch_up()
        self._arm()
