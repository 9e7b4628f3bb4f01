"""``smgw gwa``: what an administrator does to a gateway, as far as it exists."""

from __future__ import annotations

import time
from pathlib import Path

import click

from smgw_emu.cli.common import directory_option
from smgw_emu.core.errors import ConfigError, SmgwError


@click.group("gwa")
def command() -> None:
    """Act as the gateway's administrator (GWA)."""


@command.command("wakeup")
@directory_option
@click.option("--to", "target", default="", help="HOST:PORT (the running gateway in DIR).")
@click.option(
    "--transport",
    type=click.Choice(["udp", "tcp"]),
    help="Default: what the gateway listens on, else udp.",
)
@click.option("--time", "moment", default="", help="Creation time of the packet (now).")
@click.option(
    "--order",
    type=click.Choice(["little", "big"]),
    default="little",
    show_default=True,
    help="Byte order of the timestamp.",
)
@click.option("--print", "only_print", is_flag=True, help="Print the packet in hex, send nothing.")
def wakeup(
    directory: Path, target: str, transport: str | None, moment: str, order: str, only_print: bool
) -> None:
    """Sign a wake-up packet with the GWA's key in DIR/lab-pki and send it.

    A gateway never answers a wake-up: look at `smgw status` to see what became of it.
    """
    from smgw_emu.bench.pki.folder import open_participant
    from smgw_emu.bench.wakeup import send, wakeup_packet
    from smgw_emu.cli.init_ import parse_moment
    from smgw_emu.core.config import load_config
    from smgw_emu.lab.provision import ADMINISTRATOR, LAB_PKI
    from wan.wakeup import ByteOrder

    device = load_config(directory / "config.toml").device_id
    place = directory / LAB_PKI / "issued" / f"{ADMINISTRATOR}.GWA" / "1"
    administrator = open_participant(place)
    given = parse_moment(moment)
    if only_print:
        seconds = int(time.time()) if given is None else given.seconds
        click.echo(wakeup_packet(administrator, device, seconds, ByteOrder(order)).hex())
        return
    state = None if target and given else _state(directory)
    seconds = given.seconds if given else _device_seconds(state)
    packet = wakeup_packet(administrator, device, seconds, ByteOrder(order))
    host, port = _target(target) if target else _running_target(state)
    way = transport or _listening(state)
    send(packet, host, port, way)
    click.echo(f"sent {len(packet)} octets to {host}:{port} over {way}")


def _state(directory: Path) -> dict[str, object]:
    from smgw_emu.cli.status_ import fetch_state
    from smgw_emu.lab.access import read_access

    return fetch_state(read_access(directory).control.url)


def _device_seconds(state: dict[str, object] | None) -> int:
    """Return the world's time in the lab, which may run fast."""
    from smgw_emu.core.instants import parse_device_time

    assert state is not None
    return parse_device_time(str(state["world_time"])).seconds


def _running_target(state: dict[str, object] | None) -> tuple[str, int]:
    found = (state or {}).get("wakeup")
    if not isinstance(found, dict):
        raise SmgwError("the gateway has no wake-up port open")
    host, port = found["address"]
    return str(host), int(port)


def _listening(state: dict[str, object] | None) -> str:
    found = (state or {}).get("wakeup")
    return "tcp" if isinstance(found, dict) and found["transport"] == "tcp" else "udp"


def _target(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"--to {text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)
