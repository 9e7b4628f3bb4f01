"""The real-time clock: what the gateway's time is after the power was off (TR-03109-1 3.2.6.3).

Theory of operation. The RTC runs on its battery, with the drift of its quartz. After a power
failure the gateway takes its time **if** the RTC may not have left the warning threshold since the
last synchronisation: ``elapsed * largest drift < warning * tolerance * smallest period``; otherwise
time is invalid until the next synchronisation. Without battery the time is lost; the clock then
goes on from the newest moment in the logs (own choice, as Linux systems without RTC do), invalid.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from smgw_emu.core.config import Clock as Configured
from smgw_emu.core.device_clock import MAX_DRIFT_PPB, DeviceClock
from smgw_emu.core.instants import LATEST, MILLISECOND, SECOND, DeviceTime, WorldTime
from smgw_emu.profiles import Time as Limits

_MILLION = 1_000_000
Moment = Annotated[int, msgspec.Meta(ge=0, le=LATEST)]
Verdict = Literal["trusted", "distrusted", "lost"]


class Chip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the chip holds: at world time ``world`` it showed ``device`` (nanoseconds).

    ``synchronised``: device time of the last synchronisation, None before the first.
    """

    world: Moment
    device: Moment
    drift_ppb: Annotated[int, msgspec.Meta(ge=-MAX_DRIFT_PPB, le=MAX_DRIFT_PPB)]
    valid: bool
    synchronised: Moment | None = None
    battery: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """The clock after power-up, and what the gateway thinks of it."""

    clock: DeviceClock
    synchronised: DeviceTime | None
    verdict: Verdict


class Rtc:
    """The chip of one gateway.

    Args:
        path: its file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def chip(self) -> Chip | None:
        """Return what it holds, None if it was never set or cannot be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Chip)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def set(self, clock: DeviceClock, world: WorldTime, synchronised: DeviceTime | None) -> None:
        """Set it from the operating system's time, as the norm asks."""
        old = self.chip()
        self._write(
            Chip(
                world.ns,
                clock.read(world).ns,
                clock.drift_ppb,
                clock.valid,
                None if synchronised is None else synchronised.ns,
                old is None or old.battery,
            )
        )

    def set_battery(self, *, good: bool, world: WorldTime) -> None:
        """Change the battery; a gateway that never ran gets a chip that shows world time."""
        chip = self.chip() or Chip(world.ns, world.ns, 0, valid=False)
        self._write(msgspec.structs.replace(chip, battery=good))

    @property
    def battery(self) -> bool:
        """Whether the battery is good."""
        chip = self.chip()
        return chip is None or chip.battery

    def _write(self, chip: Chip) -> None:
        beside = self._path.with_suffix(".new")
        beside.write_bytes(msgspec.json.encode(chip))
        beside.replace(self._path)  # no sync: a torn chip is one that was never set

    def power_on(
        self, now: WorldTime, configured: Configured, limits: Limits, newest: DeviceTime | None
    ) -> Reading:
        """Return the device clock after power-up.

        Args:
            now: world time.
            configured: the clock of a device that never ran.
            limits: of the profile.
            newest: newest moment in the logs.
        """
        chip = self.chip()
        if chip is None:
            shown = DeviceTime(now.ns + configured.offset_ms * MILLISECOND)
            clock = DeviceClock(now, shown, drift_ppb=configured.drift_ppb, valid=configured.valid)
            return Reading(clock, None, "trusted")
        synchronised = None if chip.synchronised is None else DeviceTime(chip.synchronised)
        clock = DeviceClock(
            WorldTime(chip.world),
            DeviceTime(chip.device),
            drift_ppb=chip.drift_ppb,
            valid=chip.valid,
        )
        if not chip.battery:
            clock.set(now, newest or DeviceTime(chip.device), valid=False)
            return Reading(clock, synchronised, "lost")
        if synchronised is not None and clock.valid:
            elapsed = clock.read(now) - synchronised
            tolerance = limits.smallest_period_s * SECOND * limits.tolerance_percent // 100
            threshold = tolerance * limits.warning_percent // 100
            if elapsed * limits.max_drift_ppm // _MILLION >= threshold:
                clock.valid = False
                return Reading(clock, synchronised, "distrusted")
        return Reading(clock, synchronised, "trusted")
