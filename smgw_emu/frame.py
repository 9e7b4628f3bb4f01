"""The hardware around a running device, and what the device may ask of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from firmware.flash import Flash
from hardware.separation import Probe
from hsm_sim.interface import KeyModule
from secure_state.machine import Cause, SecureStates
from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.errors import StoreError
from smgw_emu.core.rtc import Rtc
from smgw_emu.lamp_panel import LampPanel
from smgw_emu.lmn_side import Plug
from smgw_emu.profiles import Profile
from smgw_emu.transport.clock import Clock


@dataclass(frozen=True, slots=True)
class Frame:
    """The hardware around a running device, and what it may ask of it.

    Attributes:
        directory, clock, config, profile, hsm, keylog: as everywhere.
        lamps, states, flash, rtc: of the device.
        plugs, lmn_capture: of the lab.
        probe: between WAN and HAN.
        enter: a cause of a secure state holds.
        left: causes have ended.
        store_failed: the store is damaged.
        restart: start anew, orderly.
        armed: deadlines have changed.
        moved: deadlines lie elsewhere, perhaps later.
    """

    directory: Path
    clock: Clock
    config: GatewayConfig
    profile: Profile
    hsm: KeyModule
    keylog: str
    lamps: LampPanel
    states: SecureStates
    flash: Flash
    rtc: Rtc
    plugs: Mapping[str, Plug]
    lmn_capture: Callable[[str, bool, bytes], None] | None
    probe: Probe
    enter: Callable[[Cause, str], None]
    left: Callable[[Cause], None]
    store_failed: Callable[[StoreError], None]
    restart: Callable[[], None]
    armed: Callable[[], None]
    moved: Callable[[], None]
