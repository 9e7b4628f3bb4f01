"""Helpers for tests of secure states and firmware on the whole lab."""

from __future__ import annotations

from typing import Any

from wan_lab import WanLab

from smgw_emu.core.instants import MILLISECOND, SECOND
from smgw_emu.core.leds import SecureState, leds
from smgw_emu.lab.firmware import package_of
from wan.cosem.data import Data


def signed(lab: WanLab, version: str = "v3.88.0-cc", **changes: Any) -> bytes:
    from firmware.package import sign_package

    signer = changes.pop("maker", lab.market.pki.manufacturer).signer()
    return sign_package(package_of(version=version, **changes), signer)


async def load(lab: WanLab, package: bytes, name: str = "fw.img") -> str:
    """Load and verify as the administrator does; returns why not, "" if staged."""
    from smgw_emu.bench.gwa import GatewayError

    session = await lab.session()
    await lab.market.drive(session.load_firmware(name, package))
    try:
        await lab.market.drive(session.verify_firmware(name, package))
    except GatewayError as error:
        return str(error)
    return ""


async def activate(lab: WanLab, moment: str = "", name: str = "fw.img") -> None:
    session = await lab.session()
    await lab.market.drive(session.activate_firmware(name, moment))


async def limit(lab: WanLab, kib: int) -> None:
    """Set the administrator's limit of value storage."""
    session = await lab.session()
    await lab.market.drive(session.set_parameter(2, Data("double-long-unsigned", kib)))


def state(lab: WanLab) -> SecureState:
    return lab.gateway.states.state


def rhythm(lab: WanLab, lamp: str, step_ms: int = 50, count: int = 8) -> list[bool]:
    """What a lamp does from the begin of the state on."""
    panel = lab.gateway.panel
    begin = panel.state.secure_since
    return [
        getattr(leds(panel.state, begin + n * step_ms * MILLISECOND, panel.times), lamp)
        for n in range(count)
    ]


BLINK = [True, False] * 4
STEADY = [True] * 8
DARK = [False] * 8


async def settle(lab: WanLab, seconds: int = 90) -> None:
    await lab.clock.advance(seconds * SECOND)
