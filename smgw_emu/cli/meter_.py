"""``smgw meter``: virtual meters."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.bench.meters.outputs import Transmitter, open_output
from smgw_emu.cli.common import listen, stop_event
from smgw_emu.cli.meter_wireless import wireless
from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.lab.provision import DEFAULT_METER
from smgw_emu.profiles import DEFAULT_PROFILE, Profile, ProfileError, load
from smgw_emu.transport.clock import SystemClock

if TYPE_CHECKING:
    from smgw_emu.bench.bus import Faults
    from smgw_emu.bench.meters.wired import WiredMeter


@click.group("meter")
def command() -> None:
    """Run virtual meters: pushing SML, wired on a bus, or on the air."""


command.add_command(wireless)


@command.command("sml")
@click.option("--out", default="pty", show_default=True, help="pty, tcp://host:port, or a file.")
@click.option("--id", "meter_id", default=DEFAULT_METER, show_default=True, help="Device id.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same load.")
@click.option("--solar", is_flag=True, help="A roof plant feeds in.")
@click.option("--interval", default=1, show_default=True, type=click.IntRange(1, 3600),
              help="Seconds between frames.")  # fmt: skip
@click.option("--count", default=0, help="Write that many frames at once and stop (file only).")
def sml(out: str, meter_id: str, seed: int, solar: bool, interval: int, count: int) -> None:
    """An electricity meter that pushes SML frames, as on an optical port.

    Prints where to read it ("meter /dev/pts/4"), then runs until Ctrl-C.
    """
    start = WorldTime(time.time_ns())
    try:
        meter = ElectricityMeter(meter_id, start, seed=seed, solar=solar)
    except RemoteProtocolError as error:
        raise ConfigError(str(error)) from error
    if count:
        asyncio.run(_write(meter, out, start, interval, count))
    else:
        asyncio.run(_serve(meter, out, interval))


async def _write(
    meter: ElectricityMeter, out: str, start: WorldTime, interval: int, count: int
) -> None:
    if out == "pty" or out.startswith("tcp://"):
        raise ConfigError("--count writes to a file")
    output = await open_output(out)
    for number in range(count):
        output.write(meter.frame(start + number * interval * SECOND))
    output.close()


async def _serve(meter: ElectricityMeter, out: str, interval: int) -> None:
    stop = stop_event()
    output = await open_output(out)
    transmitter = Transmitter(
        meter.frame, output, SystemClock(asyncio.get_running_loop()), interval * SECOND
    )
    transmitter.start()
    click.echo(f"meter {output.name}")
    try:
        await stop.wait()
    finally:
        transmitter.stop()
        output.close()


@command.command("wired")
@click.option("--port", default="pty", show_default=True,
              help="pty, tcp://host:port, or a serial device with an RS-485 adapter.")  # fmt: skip
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, 63),
              help="Meters on the bus.")  # fmt: skip
@click.option("--model", "models", multiple=True,
              help="Models in turn (--list-models); may be repeated.")  # fmt: skip
@click.option("--list-models", is_flag=True, help="List the models and stop.")
@click.option("--note", type=click.Path(path_type=Path, dir_okay=False),
              help="Write ids and TEST master keys here (init --wired, gwa plans).")  # fmt: skip
@click.option("--memory", type=click.Path(path_type=Path, dir_okay=False),
              help="Keep keys and certificates of the meters in this file.")  # fmt: skip
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0, 99),
              help="Same seed: same ids, keys, loads.")  # fmt: skip
@click.option("--solar", is_flag=True, help="Roof plants feed in.")
@click.option("--registering", is_flag=True, help="Meters that store a value every 15 minutes.")
@click.option("--latency", default=0, type=click.IntRange(0, 10_000), metavar="MS",
              help="From a request to its answer.")  # fmt: skip
@click.option("--bit-errors", default=0, type=click.IntRange(0, 1_000_000), metavar="PPM",
              help="Octets with a flipped bit.")  # fmt: skip
@click.option("--lost", default=0, type=click.IntRange(0, 1_000_000), metavar="PPM",
              help="Transmissions nobody hears.")  # fmt: skip
@click.option("--echo", is_flag=True, help="The transceiver gives back what the gateway sends.")
@click.option("--profile", default=DEFAULT_PROFILE, show_default=True,
              help="Firmware profile whose table of the bus is used.")  # fmt: skip
def wired(
    port: str,
    count: int,
    models: tuple[str, ...],
    list_models: bool,
    note: Path | None,
    memory: Path | None,
    seed: int,
    solar: bool,
    registering: bool,
    latency: int,
    bit_errors: int,
    lost: int,
    echo: bool,
    profile: str,
) -> None:
    """Wired meters on an RS-485 bus: HDLC, pairing, TLS, SML; they speak when they are asked.

    Prints each meter's id, then where the bus is ("bus /dev/pts/4"), and runs until Ctrl-C.
    Commands on standard input, one a line, METER an id or its number: "tamper METER magnetic"
    (mechanical, fatal), "clear METER", "unplug METER", "plug METER", "off METER", "on METER",
    "silent METER on" (off).
    """
    from smgw_emu.bench.bus import Faults
    from smgw_emu.bench.meters.wired import CATALOG, delivery_note, make_meters
    from smgw_emu.bench.meters.wired.catalog import DEFAULT_MODELS
    from smgw_emu.bench.meters.wired.rack import load_memory

    if list_models:
        for model in CATALOG.values():
            kind = "grid values" if model.grid else "energy and power"
            click.echo(f"{model.name:10} {model.maker}  firmware {model.firmware}  {kind}")
        return
    try:
        behaviour = load(profile)
    except ProfileError as error:
        raise ConfigError(str(error)) from error
    start = WorldTime(time.time_ns())
    meters = make_meters(
        count,
        behaviour,
        start,
        models=models or DEFAULT_MODELS,
        seed=seed,
        registering=registering,
        solar=solar,
    )
    for meter in meters:
        meter.faults.latency_ms = latency
    if memory is not None:
        load_memory(meters, memory)
    if note is not None:
        delivery_note(meters, seed, note)
    faults = Faults(bit_errors=bit_errors, lost=lost, echo=echo, seed=seed)
    asyncio.run(_serve_bus(meters, behaviour, port, faults, memory))


async def _serve_bus(
    meters: list[WiredMeter], profile: Profile, port: str, faults: Faults, memory: Path | None
) -> None:
    from smgw_emu.bench.bus import LiveBus, open_wire
    from smgw_emu.bench.meters.wired import Rack
    from smgw_emu.bench.meters.wired.rack import command as command_rack
    from smgw_emu.bench.meters.wired.rack import save_memory

    stop = stop_event()
    wire, real = await open_wire(port, profile.lmn_bus.baud)
    clock = SystemClock(asyncio.get_running_loop())
    rack = Rack(meters, profile, clock.now(), faults)
    bus = LiveBus(rack.sim, wire, clock, real=real)
    bus.start()
    for meter in meters:
        model = meter.registers.model
        paired = "paired" if meter.memory.paired else "not paired"
        click.echo(f"meter {meter.id} {model.maker} {model.name} {paired}")
    click.echo(f"bus {wire.name}")

    def obey(text: str) -> None:
        click.echo(command_rack(rack, text, clock.now()))
        bus.touch()

    deaf = listen(obey)
    try:
        await stop.wait()
    finally:
        deaf()
        bus.stop()
        if memory is not None:
            save_memory(meters, memory)
