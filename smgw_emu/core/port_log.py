"""What the system log is told of a meter port: ready, lost, and each new reason once."""

from __future__ import annotations

from collections.abc import Callable

from smgw_emu.core.device import Device
from smgw_emu.core.instants import WorldTime


class PortLog:
    """The entries of one port.

    Args:
        name: address of the port.
        device: the core.
        now: world time.
        guard: runs a step of the core.
    """

    def __init__(
        self,
        name: str,
        device: Device,
        now: Callable[[], WorldTime],
        guard: Callable[[Callable[[], None]], None],
    ) -> None:
        self._name = name
        self._device = device
        self._now = now
        self._guard = guard
        self._reason = ""

    def ready(self) -> None:
        """The port is there again; the first time goes without saying."""
        if self._reason:
            self._reason = ""
            self.write("port-ready", outcome="S")

    def lost(self, reason: str) -> None:
        """The port is lost."""
        if reason != self._reason:
            self._reason = reason
            self.write("port-lost", outcome="F", reason=reason)

    def write(self, event: str, **parameters: object) -> None:
        """Write an entry about the port."""
        now = self._device.now(self._now())
        self._guard(
            lambda: self._device.logbooks.write(event, now, port=self._name, **parameters)  # type: ignore[arg-type]
        )
