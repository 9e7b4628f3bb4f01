"""Port between the administrator's image object and the firmware update."""

from __future__ import annotations

from typing import Protocol

from smgw_emu.core.instants import DeviceTime


class FirmwarePort(Protocol):
    """Load, verify, activate (TR-03109-1 v1.0 3.2.2 WAF1)."""

    @property
    def status(self) -> int:
        """``image_transfer_status`` of IEC 62056-6-2 class 18."""

    def block(self, name: str) -> None:
        """A block of an image has come."""

    def verify(self, name: str, announced: bytes, now: DeviceTime) -> str:
        """Check an image and write it into the inactive partition; returns why not, "" if done."""

    def activate(self, name: str, moment: DeviceTime | None, now: DeviceTime) -> str:
        """Order the activation, None for now; returns why not, "" if ordered."""


class NoFirmware:
    """A core without flash: nothing can be installed."""

    status = 0

    def block(self, name: str) -> None:
        """Nothing."""

    def verify(self, name: str, announced: bytes, now: DeviceTime) -> str:  # noqa: ARG002
        """Refuse."""
        return "this device has no partitions"

    def activate(self, name: str, moment: DeviceTime | None, now: DeviceTime) -> str:  # noqa: ARG002
        """Refuse."""
        return "this device has no partitions"
