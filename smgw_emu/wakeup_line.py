"""The wake-up port of a gateway: packets -> service -> lamps, log, wish for a management channel.

Refusals are counted by reason; the system log gets the first of each reason and then at most one
entry a minute, so a storm cannot fill it.
"""

from __future__ import annotations

from collections.abc import Callable

from smgw_emu.core.device import Device
from smgw_emu.core.instants import MINUTE, WorldTime
from smgw_emu.profiles import Wakeup as Limits
from smgw_emu.transport.clock import Clock
from smgw_emu.transport.datagrams import PacketPort
from wan.wakeup import Rejection, WakeupService, expected_length
from wan.wakeup.packet import MAX_OCTETS

_LOG_PAUSE = MINUTE


class WakeupLine:
    """Connects a port, the service and the device.

    Args:
        device: whose clock and logbooks are used.
        clock: world time.
        limits: of the profile.
        verify: signature check of the security module.
        on_valid: told of each valid wake-up.
        guard: runs steps that touch the store.
    """

    def __init__(
        self,
        device: Device,
        clock: Clock,
        limits: Limits,
        verify: Callable[[bytes, bytes], bool],
        on_valid: Callable[[], None],
        guard: Callable[[Callable[[], None]], None],
    ) -> None:
        self.service = WakeupService(device.id, limits, verify)
        self._device = device
        self._clock = clock
        self._on_valid = on_valid
        self._guard = guard
        field_octets = 32  # of brainpoolP256r1, the one curve today (TR-03116-3 table 23)
        self.port = PacketPort(
            self._receive, lambda data: expected_length(data, field_octets), MAX_OCTETS
        )
        self.transport = limits.transport
        self._logged: dict[Rejection, WorldTime] = {}
        self.last_valid: WorldTime | None = None
        self.address: tuple[str, int] | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: the address is in use or not ours.
        """
        self.address = (host, await self.port.start(self.transport, host, port))

    def stop(self) -> None:
        """Stop listening."""
        self.port.stop()
        self.address = None

    def _receive(self, data: bytes) -> None:
        now, device = self._clock.now(), self._device
        trusted = device.clock.valid
        reason = self.service.receive(data, now, device.now(now) if trusted else None)
        if reason is None:
            self.last_valid = now
            self._guard(lambda: device.logbooks.write("wakeup-valid", device.now(now)))
            self._on_valid()
        else:
            self._note(reason, now)

    def _note(self, reason: Rejection, now: WorldTime) -> None:
        logged = self._logged.get(reason)
        if logged is not None and now - logged < _LOG_PAUSE:
            return
        self._logged[reason] = now
        count, device = self.service.rejected[reason], self._device
        self._guard(
            lambda: device.logbooks.write(
                "wakeup-refused", device.now(now), outcome="F", reason=reason.value, count=count
            )
        )
