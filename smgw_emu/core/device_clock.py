"""The gateway's own clock: an RTC with offset, drift and validity on top of world time.

TR-03109-1 v1.0 3.2.6.3: the gateway has an RTC, stamps values with its own time, and must know
whether that time is valid. Arithmetic is in integers: drift is given in parts per billion.
"""

from __future__ import annotations

from smgw_emu.core.errors import LocalProtocolError
from smgw_emu.core.instants import DeviceTime, WorldTime

_BILLION = 1_000_000_000
MAX_DRIFT_PPB = 100_000_000  # 10 %: far beyond any quartz, keeps the mapping monotonic


class DeviceClock:
    """Maps world time to device time.

    Args:
        world: moment at which the clock starts to run.
        device: what it shows then; default: world time itself.
        drift_ppb: gain per second in parts per billion (50 ppm = 50 000); may be negative.
        valid: whether the gateway may trust its time.
    """

    __slots__ = ("_device0", "_drift_ppb", "_world0", "valid")

    def __init__(
        self,
        world: WorldTime,
        device: DeviceTime | None = None,
        *,
        drift_ppb: int = 0,
        valid: bool = True,
    ) -> None:
        _check_drift(drift_ppb)
        self._world0 = world
        self._device0 = device if device is not None else DeviceTime(world.ns)
        self._drift_ppb = drift_ppb
        self.valid = valid

    @property
    def drift_ppb(self) -> int:
        """Present drift in parts per billion."""
        return self._drift_ppb

    def read(self, world: WorldTime) -> DeviceTime:
        """Return what the gateway's clock shows at ``world``."""
        elapsed = world - self._world0
        return self._device0 + (elapsed + elapsed * self._drift_ppb // _BILLION)

    def deviation(self, world: WorldTime) -> int:
        """Return device time minus world time in nanoseconds (the ZA of TR-03109-1 3.2.6.3.2)."""
        return self.read(world).ns - world.ns

    def world_at(self, device: DeviceTime) -> WorldTime:
        """Return the first world instant at which :meth:`read` is at least ``device``."""
        elapsed = (device - self._device0) * _BILLION // (_BILLION + self._drift_ppb)
        world = self._world0 + (elapsed - 2)
        while self.read(world) < device:
            world += 1
        return world

    def set(self, world: WorldTime, device: DeviceTime, *, valid: bool | None = None) -> int:
        """Set the clock; returns the step in nanoseconds (new minus old reading)."""
        step = device - self.read(world)
        self._world0, self._device0 = world, device
        if valid is not None:
            self.valid = valid
        return step

    def set_drift(self, world: WorldTime, drift_ppb: int) -> None:
        """Change the drift from ``world`` on without a step."""
        _check_drift(drift_ppb)
        self._device0, self._world0 = self.read(world), world
        self._drift_ppb = drift_ppb


def _check_drift(drift_ppb: int) -> None:
    if abs(drift_ppb) > MAX_DRIFT_PPB:
        raise LocalProtocolError(f"drift of {drift_ppb} ppb is beyond {MAX_DRIFT_PPB} ppb")
