"""One meter line of a gateway: octets of a port become reports, damage becomes log entries."""

from __future__ import annotations

from collections.abc import Callable

from hardware.ports import MeterPort
from lmn.sml import SmlDamage, SmlReceiver, decode_messages
from lmn.sml.report import reports
from smgw_emu.core.device import Device
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import MINUTE, WorldTime
from smgw_emu.core.port_log import PortLog
from smgw_emu.profiles import Sml as SmlLimits
from smgw_emu.transport.clock import Clock

DAMAGE_LOG_PAUSE = 15 * MINUTE  # own choice: a noisy line must not flood the log


class MeterLine:
    """Decodes what arrives at one port and hands it to the core.

    Args:
        name: the port's address, for the log.
        device: the core.
        clock: world time.
        limits: of the SML receiver.
        changed: called after each input (deadlines may have moved).
        guard: runs a step of the core (see :class:`smgw_emu.gateway.Gateway`).
    """

    port: MeterPort

    def __init__(
        self,
        name: str,
        device: Device,
        clock: Clock,
        limits: SmlLimits,
        changed: Callable[[], None],
        guard: Callable[[Callable[[], None]], None],
    ) -> None:
        self.name = name
        self._device = device
        self._clock = clock
        self._limits = limits
        self._changed = changed
        self._guard = guard
        self._receiver = SmlReceiver(limits.max_frame)
        self._damaged_since_log = 0
        self._next_damage_log: WorldTime | None = None
        self._log = PortLog(name, device, clock.now, guard)
        self.frames = 0
        self.damaged = 0
        self.ready = False
        self.last_frame_at: WorldTime | None = None

    def on_data(self, data: bytes) -> None:
        """Take octets from the port."""
        self._guard(lambda: self._take(data))
        self._changed()

    def on_ready(self) -> None:
        """Note that the port is open."""
        self.ready = True
        self._log.ready()

    def on_lost(self, reason: str) -> None:
        """Note that the port is lost; each new reason is logged once."""
        self.ready = False
        self._log.lost(reason)

    def _take(self, data: bytes) -> None:
        now = self._clock.now()
        for event in self._receiver.receive(data):
            if isinstance(event, SmlDamage):
                self._note_damage(event.reason, now)
                continue
            try:
                messages = decode_messages(
                    event.payload, self._limits.max_depth, self._limits.max_elements
                )
            except RemoteProtocolError as error:
                self._note_damage(str(error), now)
                continue
            self.frames += 1
            self.last_frame_at = now
            for report in reports(messages):
                self._device.on_report(now, report)

    def _note_damage(self, reason: str, now: WorldTime) -> None:
        self.damaged += 1
        self._damaged_since_log += 1
        if self._next_damage_log is None or now >= self._next_damage_log:
            self._next_damage_log = now + DAMAGE_LOG_PAUSE
            count, self._damaged_since_log = self._damaged_since_log, 0
            self._log.write("frame-damaged", outcome="F", reason=reason, count=count)
