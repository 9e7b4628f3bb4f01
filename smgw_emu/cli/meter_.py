"""``smgw meter``: virtual meters."""

from __future__ import annotations

import asyncio
import time

import click

from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.bench.meters.outputs import Transmitter, open_output
from smgw_emu.cli.common import stop_event
from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.lab.provision import DEFAULT_METER
from smgw_emu.transport.clock import SystemClock


@click.group("meter")
def command() -> None:
    """Run a virtual meter on a pty, a TCP port or into a file."""


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
