"""Sending a wake-up for a gateway of ``smgw init``, with the key in its lab-pki."""

from __future__ import annotations

import time
from pathlib import Path

import click

from smgw_emu.core.errors import ConfigError, SmgwError


def send_from_directory(
    directory: Path,
    target: str,
    transport: str | None,
    moment: str,
    order: str,
    only_print: bool,
) -> None:
    """Sign a packet with the GWA's key in ``directory/lab-pki`` and send or print it.

    Raises:
        SmgwError: the gateway does not run, or cannot be reached.
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
