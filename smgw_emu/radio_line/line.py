"""One radio receiver of a gateway: port, driver, tuning, its state for the log."""

from __future__ import annotations

from collections.abc import Callable

from hardware.ports import MeterPort
from hardware.radio import Damage, Event, Heard, Lost, Ready, Stick
from smgw_emu.core.device import Device
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.core.port_log import PortLog
from smgw_emu.profiles import LmnWireless
from smgw_emu.radio_line.reception import Reception
from smgw_emu.transport.clock import Clock, Timer

_REOPEN = 10 * SECOND  # own choice: a receiver that does not answer is asked again


def modes_of_band(rules: LmnWireless, band: str) -> frozenset[str]:
    """Return which of the profile's modes are in a band."""
    return frozenset(mode for mode in rules.modes if (mode == "S") == (band == "S"))


class RadioLine:
    """A receiver.

    Args:
        name: address of the port, for the log.
        stick: its driver.
        reception: takes telegrams.
        device: the core, for the log.
        clock: world time.
        guard: runs a step of the core.
    """

    port: MeterPort

    def __init__(
        self,
        name: str,
        stick: Callable[[frozenset[str]], Stick],
        reception: Reception,
        device: Device,
        clock: Clock,
        guard: Callable[[Callable[[], None]], None],
    ) -> None:
        self.name = name
        self._rules = reception.rules
        self.band = "TC" if self._rules.band == "alternate" else self._rules.band
        self._stick = stick(modes_of_band(self._rules, self.band))
        self._reception = reception
        self._clock = clock
        self._log = PortLog(name, device, clock.now, guard)
        self._timer: Timer | None = None
        self._tune_timer: Timer | None = None
        self.ready = False
        self.telegrams = 0
        self.not_heard = 0
        self.damaged = 0
        self.last_at: WorldTime | None = None

    @property
    def text(self) -> str:
        """What the receiver says it is."""
        return self._stick.text

    # -- port ------------------------------------------------------------------------------

    def on_ready(self) -> None:
        """Begin the start-up: the port is open."""
        self._work(lambda: self._stick.start(self._clock.now()))
        if self._rules.band == "alternate":
            self._plan_tuning()

    def on_lost(self, reason: str) -> None:
        """Note that the port is lost; each new reason is logged once."""
        self.ready = False
        self._cancel()
        self._log.lost(reason)

    def on_data(self, data: bytes) -> None:
        """Take octets from the port."""
        now = self._clock.now()
        self._work(lambda: self._stick.receive(data, now))

    def stop(self) -> None:
        """Close the port for good."""
        self._cancel()
        self.port.stop()
        self.ready = False

    def _cancel(self) -> None:
        for timer in (self._timer, self._tune_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._tune_timer = None

    # -- driver ----------------------------------------------------------------------------

    def _work(self, step: Callable[[], list[Event]]) -> None:
        """Run a step of the driver: send, note events, set the timer."""
        for event in step():
            self._take(event)
        out = self._stick.output()
        if out:
            self.port.write(out)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._stick.next_deadline()
        if due is not None:
            self._timer = self._clock.call_at(due, self._on_deadline)

    def _on_deadline(self) -> None:
        self._timer = None
        self._work(lambda: self._stick.on_deadline(self._clock.now()))

    def _take(self, event: Event) -> None:
        if isinstance(event, Heard):
            self._heard(event)
        elif isinstance(event, Damage):
            self.damaged += 1
        elif isinstance(event, Ready):
            self.ready = True
            self._log.ready()
        else:
            self._restart(event)

    def _heard(self, heard: Heard) -> None:
        outcome = self._reception.take(heard, self.name)
        if outcome == "telegram":
            self.telegrams += 1
            self.last_at = heard.at
        elif outcome == "damaged":
            self.damaged += 1
        else:
            self.not_heard += 1

    def _restart(self, event: Lost) -> None:
        """Close the port and open it anew later: another stick may be there then."""
        self.port.stop()
        self.on_lost(event.reason)
        self._tune_timer = self._clock.call_at(self._clock.now() + _REOPEN, self.port.start)

    # -- bands -----------------------------------------------------------------------------

    def _plan_tuning(self) -> None:
        due = self._clock.now() + self._rules.alternate_s * SECOND
        self._tune_timer = self._clock.call_at(due, self._tune)

    def _tune(self) -> None:
        self.band = "S" if self.band == "TC" else "TC"
        modes = modes_of_band(self._rules, self.band)
        self._work(lambda: self._stick.tune(modes, self._clock.now()))
        self._plan_tuning()
