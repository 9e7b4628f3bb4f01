"""``smgw power``: mains and battery of a running gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from smgw_emu.cli.common import DIRECTORY, post_control


def _show(state: dict[str, Any]) -> None:
    """One line: what the device is doing now."""
    found = f"  {state['cause']}" if state["cause"] else ""
    battery = "good" if state["rtc_battery"] else "EMPTY"
    click.echo(
        f"{state['phase']}  {state['secure_state']}{found}  "
        f"{state['supply_v']:g} V  RTC battery {battery}"
    )


@click.group("power")
def command() -> None:
    """Switch a running gateway on and off, change mains voltage and battery.

    The program goes on (`smgw run`); only the emulated device loses its power, and with it
    everything volatile.
    """


def _action(name: str, text: str) -> None:
    @command.command(name, help=text)
    @click.argument("directory", type=DIRECTORY)
    def act(directory: Path) -> None:
        _show(post_control(directory, "power", {"action": name}))


_action("off", "Switch off in order: connections end, the stop is logged.")
_action("on", "Switch on: boot.")
_action("cycle", "Off and on again.")
_action("cut", "Cut the power: nothing is said, nothing is written.")


@command.command("supply")
@click.argument("directory", type=DIRECTORY)
@click.argument("volts", type=click.FloatRange(0, 1000))
def supply(directory: Path, volts: float) -> None:
    """Set the mains voltage; outside 184 to 264.5 V the device is off (brown-out)."""
    _show(post_control(directory, "power", {"voltage": volts}))


@command.command("battery")
@click.argument("directory", type=DIRECTORY)
@click.argument("state", type=click.Choice(["good", "empty"]))
def battery(directory: Path, state: str) -> None:
    """Change the battery of the real-time clock; an empty one loses time with the power."""
    _show(post_control(directory, "power", {"rtc_battery": state == "good"}))
