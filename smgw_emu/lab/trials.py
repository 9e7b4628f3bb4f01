"""What a lab does to a device, and what it sees of it: states, power, firmware, network, events.

Orders come as JSON (:mod:`smgw_emu.lab.control`). None of this is an interface of the device.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import msgspec

from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import SECOND
from smgw_emu.gateway import Gateway
from smgw_emu.lab.firmware import corrupt, swap
from smgw_emu.transport.clock import sleep

MAX_EVENTS, MAX_EVENT_SECONDS = 100_000, 86_400
_BATCH = 50  # own choice: events written before others get a turn


class PowerOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST power``; carried out in this order: battery, voltage, action."""

    rtc_battery: bool | None = None
    voltage: Annotated[float, msgspec.Meta(ge=0, le=1000)] | None = None
    action: Literal["on", "off", "cycle", "cut", ""] = ""


class NetworkOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST network``: a cable joins WAN and HAN, or does not."""

    joined: bool


class Corruption(msgspec.Struct, forbid_unknown_fields=True):
    """One bit of an image in a partition."""

    partition: Literal["a", "b"]
    image: Literal["kernel", "rootfs", "application"]


class FirmwareOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST firmware``: damage, or a forced change of partitions."""

    corrupt: Corruption | None = None
    swap: bool = False


class EventOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST events``: ``count`` security events within ``seconds`` (GW-71)."""

    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_EVENTS)]
    seconds: Annotated[float, msgspec.Meta(ge=0, le=MAX_EVENT_SECONDS)] = 0
    text: Annotated[str, msgspec.Meta(max_length=1000)] = "TEST-Ereignis"


def secure_state(gateway: Gateway) -> dict[str, Any]:
    """Return the state, what causes it, and every transition so far (SEC-51)."""
    states = gateway.states
    return {
        "state": states.state,
        "since": None if states.since is None else states.since.iso(),
        "forbidden": sorted(states.forbidden),
        "causes": [
            {
                "cause": cause,
                "state": states.rules[cause].state,
                "since": held.since.iso(),
                "found": held.text,
                "exit": states.rules[cause].exit,
                "source": states.rules[cause].source,
            }
            for cause, held in states.held.items()
        ],
        "history": [
            {
                "at": change.at.iso(),
                "ns": change.at.ns,
                "before": change.before,
                "after": change.after,
                "cause": change.cause,
                "entered": change.entered,
                "text": change.text,
            }
            for change in states.history
        ],
    }


def firmware(gateway: Gateway) -> dict[str, Any]:
    """Return partitions and the state of the update."""
    flash = gateway.flash
    try:
        record = flash.record()
    except SmgwError as error:
        return {"error": str(error)}
    shown: dict[str, Any] = msgspec.to_builtins(record)
    versions = {slot: flash.version(slot) or None for slot in ("a", "b")}
    return shown | {"partitions": versions, "inactive": record.inactive}


async def set_power(gateway: Gateway, order: PowerOrder) -> None:
    """Change battery, voltage, power."""
    if order.rtc_battery is not None:
        gateway.rtc.set_battery(good=order.rtc_battery, world=gateway.clock.now())
    if order.voltage is not None:
        await gateway.set_supply(order.voltage)
    if order.action in {"off", "cycle", "cut"}:
        await gateway.power_off(orderly=order.action != "cut")
    if order.action in {"on", "cycle"} and gateway.running is None:
        await gateway.power_on()


def set_network(gateway: Gateway, order: NetworkOrder) -> None:
    """Put the lab's cable between WAN and HAN, or take it away."""
    gateway.cable.joined = order.joined


def set_firmware(gateway: Gateway, order: FirmwareOrder) -> None:
    """Damage a partition, or swap partitions, as a test of the boot chain does.

    Raises:
        ConfigError: there is no such image.
    """
    if order.corrupt is not None:
        corrupt(gateway.flash, order.corrupt.partition, order.corrupt.image)
    if order.swap:
        swap(gateway.flash)


async def burst(gateway: Gateway, order: EventOrder) -> int:
    """Write events, spread over world time; returns how many were written.

    A device that stops meanwhile takes no more.
    """
    clock, running = gateway.clock, gateway.running
    pause = int(order.seconds * SECOND) // order.count
    written = 0
    while running is not None and gateway.running is running and written < order.count:
        written += 1
        now = running.device.now(clock.now())
        text = f"{order.text} {written}/{order.count}"
        log = running.device.logbooks
        running.guard(
            lambda now=now, text=text, log=log: log.write(  # type: ignore[misc]
                "security-event", now, outcome="F", text=text
            )
        )
        if pause:
            await sleep(clock, pause)
        elif written % _BATCH == 0:
            await asyncio.sleep(0)
    return written
