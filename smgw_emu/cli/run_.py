"""``smgw run``: a gateway until it is interrupted."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import click
import msgspec

from hardware.lamps.sink import LedSink, RecordingLeds, SeveralSinks
from smgw_emu.cli.common import DIRECTORY, configure_log, stop_event
from smgw_emu.cli.init_ import parse_moment
from smgw_emu.core.config import Line
from smgw_emu.core.errors import ConfigError, SmgwError
from smgw_emu.core.instants import WorldTime
from smgw_emu.core.leds import SecureState
from smgw_emu.gateway import Gateway
from smgw_emu.lab.access import read_access, write_access
from smgw_emu.lab.control import ControlServer
from smgw_emu.transport.clock import SystemClock, VirtualClock, new_event_loop

_STATES = {SecureState.CYCLIC_RESTART: "cyclic restart", SecureState.BOOT: "Secure State Boot"}


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Hold the gateway's directory; a second run of the same gateway is refused.

    Raises:
        SmgwError: it runs already.
        ConfigError: no such directory.
    """
    try:
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"no gateway here: {directory} ({error.strerror})") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SmgwError(f"{directory} is running already") from error
        yield
    finally:
        os.close(descriptor)


def note_addresses(gateway: Gateway, control: ControlServer) -> None:
    """Keep ``access.json`` true: ports may have been chosen at start."""
    try:
        access = read_access(gateway.directory)
    except ConfigError:
        return  # somebody removed it; the gateway runs without
    if gateway.han_address is not None:
        access.han.host, access.han.port = gateway.han_address
    access.control.url = control.url
    write_access(gateway.directory, access)


def with_meter_source(gateway: Gateway, source: str) -> None:
    """Use another source for the first meter, or the first port, than the configuration says."""
    meters = gateway.config.meter
    if not meters:
        lines = (Line(source), *gateway.config.line[1:])
        gateway.config = msgspec.structs.replace(gateway.config, line=lines)
        return
    first = msgspec.structs.replace(meters[0], source=source)
    gateway.config = msgspec.structs.replace(gateway.config, meter=(first, *meters[1:]))


def with_port(gateway: Gateway, port: str, protocol: Literal["hdlc", "wmbus"]) -> None:
    """Use another port for wired or wireless meters than the configuration says."""
    others = tuple(line for line in gateway.config.line if line.protocol != protocol)
    lines = (*others, Line(port, protocol))
    gateway.config = msgspec.structs.replace(gateway.config, line=lines)


def _sink(lamps: Path | None, trace: Path | None) -> LedSink:
    """Open where the lamps show: always a recording, hardware and a file if asked for."""
    sinks: list[LedSink] = [RecordingLeds()]
    if trace is not None:
        from hardware.lamps.trace import LampTrace

        sinks.append(LampTrace(trace))
    if lamps is not None:
        from hardware.lamps.pins import open_pins, read_pins

        sinks.append(open_pins(read_pins(lamps)))
    return SeveralSinks(*sinks)


async def serve(
    directory: Path,
    meter: str,
    lmn_port: str,
    radio_port: str,
    lmn_capture: Path | None,
    clock_kind: str,
    speed: float,
    start: WorldTime | None,
    keylog: str,
    lamps: Path | None,
    lamp_trace: Path | None,
) -> None:
    """Run until a signal comes."""
    stop = stop_event()
    loop = asyncio.get_running_loop()
    clock = SystemClock(loop) if clock_kind == "system" else VirtualClock(loop, start, speed)
    sink = _sink(lamps, lamp_trace)
    gateway = Gateway(directory, clock, sink, keylog)
    capture = None
    if lmn_capture is not None:
        from smgw_emu.lab.capture.pcapng import LmnCapture

        capture = LmnCapture(lmn_capture, clock)
        gateway.lmn_capture = capture.note
    if meter:
        with_meter_source(gateway, meter)
    if lmn_port:
        with_port(gateway, lmn_port, "hdlc")
    if radio_port:
        with_port(gateway, radio_port, "wmbus")
    listener = gateway.config.control
    control = ControlServer(gateway, listener.host, listener.port)
    await control.start()
    try:
        await gateway.power_on()
        note_addresses(gateway, control)
        if gateway.han_address is not None:
            host, port = gateway.han_address
            click.echo(f"han https://{host}:{port}")
        click.echo(f"control {control.url}")
        if gateway.running is None and gateway.cause:
            state = _STATES.get(gateway.states.state, gateway.states.state)
            click.echo(f"smgw: device is in {state}: {gateway.cause}", err=True)
        click.echo("ready")
        await stop.wait()
    finally:
        await gateway.power_off()
        await control.stop()
        sink.close()
        if capture is not None:
            capture.close()


@click.command("run")
@click.argument("directory", type=DIRECTORY)
@click.option(
    "--meter",
    default="",
    metavar="SOURCE",
    help="Bytes of the first meter: serial device or pty (?baud=9600), tcp://host:port, or a"
    " recording (?interval=1&loop=1).",
)
@click.option("--lmn", "lmn_port", default="", metavar="PORT",
              help="Port of wired meters: serial device, pty or tcp://host:port.")  # fmt: skip
@click.option("--radio", "radio_port", default="", metavar="PORT",
              help="Receiver of wireless meters: /dev/ttyUSB0?stick=im871a.")  # fmt: skip
@click.option("--lmn-capture", type=click.Path(path_type=Path, dir_okay=False),
              help="Write what passes on the wired LMN to this pcapng file.")  # fmt: skip
@click.option(
    "--clock",
    "clock_kind",
    type=click.Choice(["virtual", "system"]),
    default="virtual",
    show_default=True,
    help="virtual: wall time until the lab moves it; system: wall time, cannot be moved.",
)
@click.option("--speed", default=1.0, show_default=True, help="Speed of the virtual clock.")
@click.option("--start", default="", help="Virtual time at start: 2026-03-29 or a date-time.")
@click.option(
    "--keylog",
    default="",
    type=click.Path(dir_okay=False),
    help="Write TLS session secrets to this file, for captures.",
)
@click.option("--lamps", type=click.Path(path_type=Path, dir_okay=False), metavar="PINS.toml",
              help="Show the lamps on GPIO lines or kernel LEDs (docs/lamps.md).")  # fmt: skip
@click.option("--lamp-trace", type=click.Path(path_type=Path, dir_okay=False),
              help="Write every edge of the lamps to this VCD file.")  # fmt: skip
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
)
def command(
    directory: Path,
    meter: str,
    lmn_port: str,
    radio_port: str,
    lmn_capture: Path | None,
    clock_kind: str,
    speed: float,
    start: str,
    keylog: str,
    lamps: Path | None,
    lamp_trace: Path | None,
    log_level: str,
) -> None:
    """Run the gateway in DIRECTORY until Ctrl-C.

    Prints the HAN and control addresses and then "ready". A damaged state store does not end the
    program: the device is then in its cyclic restart, and the control endpoint says why.
    """
    configure_log(log_level)
    if clock_kind == "system" and (start or speed != 1.0):
        raise ConfigError("--start and --speed need the virtual clock")
    moment = parse_moment(start)
    with exclusive(directory), asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(
            serve(
                directory,
                meter,
                lmn_port,
                radio_port,
                lmn_capture,
                clock_kind,
                speed,
                moment,
                keylog,
                lamps,
                lamp_trace,
            )
        )
