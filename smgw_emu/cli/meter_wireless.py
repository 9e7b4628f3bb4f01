"""``smgw meter wireless``: virtual meters on the air, and the receivers that hear them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from smgw_emu.cli.common import listen, stop_event
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.transport.clock import SystemClock

if TYPE_CHECKING:
    from smgw_emu.bench.meters.wireless import WirelessMeter

_PRINTED = ("hex", "rtl_wmbus")
_OUTPUTS = (*_PRINTED, "pty", "im871a", "amb8465", "cul", "rc1180")
_YEAR_2020 = 1_577_836_800  # seconds since 1970; 32 bit last until 2156
_SECURITY = click.Choice(["0", "5", "7", "10"])


@click.command("wireless")
@click.option("--type", "kinds", multiple=True, default=("gas",), show_default=True,
              help="gas, water, warm-water, heat, cooling, heat-cost, electricity; may be"
              " repeated: meters of these types in turn.")  # fmt: skip
@click.option("--count", default=0, show_default="one of each type", type=click.IntRange(0, 1000),
              help="Meters.")  # fmt: skip
@click.option("--mode", default="T", show_default=True, type=click.Choice(["S", "T", "C"]))
@click.option("--format", "form", default="A", show_default=True, type=click.Choice(["A", "B"]),
              help="Frame format; B in mode C only.")  # fmt: skip
@click.option("--security", default="7", show_default=True, type=_SECURITY,
              help="Security mode: 5 is profile A, 7 profile B, 10 profile D.")  # fmt: skip
@click.option("--tag", default=8, show_default=True, type=click.Choice([8, 12, 16]),
              help="Octets of the MAC or tag.")  # fmt: skip
@click.option("--compact", default=0, type=click.IntRange(0, 24), metavar="N",
              help="An inverse compact profile of so many elements.")  # fmt: skip
@click.option("--spacing", default=3600, show_default=True, type=click.IntRange(60, 3600 * 24),
              help="Its spacing in seconds.")  # fmt: skip
@click.option("--actuality", is_flag=True, help="Tell how old the value is (DP1!).")
@click.option("--adapter", is_flag=True, help="A radio adapter sends: long header.")
@click.option("--fragment", default=0, type=click.IntRange(0, 200), metavar="OCTETS",
              help="Send in fragments (mode 7).")  # fmt: skip
@click.option("--out", default="hex", show_default=True, type=click.Choice(_OUTPUTS),
              help="hex, rtl_wmbus: lines on standard output; pty: hex lines on a pty; else a"
              " virtual receiver.")  # fmt: skip
@click.option("--port", default="pty", show_default=True,
              help="Where the virtual receiver is: pty, or tcp://host:port.")  # fmt: skip
@click.option("--interval", default=15, show_default=True, type=click.IntRange(1, 86_400),
              help="Seconds between two telegrams of a meter.")  # fmt: skip
@click.option("--telegrams", default=0, type=click.IntRange(0, 1_000_000), metavar="N",
              help="Print so many telegrams of each meter and stop (hex, rtl_wmbus).")  # fmt: skip
@click.option("--first-counter", default=0, show_default="seconds since 2020",
              type=click.IntRange(0, 0xFFFFFFFF),
              help="Message counter of the first telegram.")  # fmt: skip
@click.option("--note", type=click.Path(path_type=Path, dir_okay=False),
              help="Write ids and TEST master keys here (init --wireless, gwa plans).")  # fmt: skip
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0, 99),
              help="Same seed: same numbers, keys, consumption.")  # fmt: skip
def wireless(
    kinds: tuple[str, ...],
    count: int,
    mode: Literal["S", "T", "C"],
    form: Literal["A", "B"],
    security: str,
    tag: int,
    compact: int,
    spacing: int,
    actuality: bool,
    adapter: bool,
    fragment: int,
    out: str,
    port: str,
    interval: int,
    telegrams: int,
    first_counter: int,
    note: Path | None,
    seed: int,
) -> None:
    """Wireless meters (wM-Bus, OMS): gas, water, heat, cold, heat cost, electricity.

    With --out hex or rtl_wmbus prints telegrams. With a receiver's name prints each meter's id,
    then where the receiver is ("stick /dev/pts/4", for run --radio with ?stick=...), and runs until
    Ctrl-C.

    Commands on standard input, one a line, METER an id or its number: "fault METER magnetic"
    (mechanical, battery, leak, permanent, temporary, abnormal, removed), "clear METER",
    "send METER", "replay METER", "install METER on" (off).
    """
    from smgw_emu.bench.meters.wireless.meter import Options
    from smgw_emu.bench.radio import delivery_note, make_meters

    options = Options(
        mode=mode,
        form=form,
        security=int(security),
        tag=tag,
        adapter=adapter,
        compact=compact,
        spacing_s=spacing,
        actuality=actuality,
        fragment=fragment,
    )
    start = WorldTime(time.time_ns())
    meters = make_meters(kinds, count or len(kinds), options, seed=seed)
    for meter in meters:
        # a later run begins above an earlier one, unless that sent faster than once a second
        meter.counter = first_counter or max(1, start.seconds - _YEAR_2020)
    if note is not None:
        delivery_note(meters, note)
    if telegrams:
        if out not in _PRINTED:
            raise ConfigError("--telegrams prints: --out hex or rtl_wmbus")
        _print(meters, out, start, interval, telegrams)
    else:
        asyncio.run(_serve(meters, out, port, interval))


def _print(
    meters: list[WirelessMeter], out: str, start: WorldTime, interval: int, telegrams: int
) -> None:
    from smgw_emu.bench.radio.sticks import virtual_stick

    stick = virtual_stick(out)
    for number in range(telegrams):
        for meter in meters:
            for frame in meter.frames(start + number * interval * SECOND):
                line = stick.hear(frame, meter.options.mode, meter.options.form)
                click.echo(line.decode(), nl=False)


async def _serve(meters: list[WirelessMeter], out: str, port: str, interval: int) -> None:
    from smgw_emu.bench.bus.live import open_wire
    from smgw_emu.bench.radio import Broadcaster
    from smgw_emu.bench.radio.live import LiveStick
    from smgw_emu.bench.radio.sticks import virtual_stick

    stop = stop_event()
    clock = SystemClock(asyncio.get_running_loop())
    stick = virtual_stick("hex" if out == "pty" else out)
    close: Callable[[], None] = lambda: None  # noqa: E731
    if out in _PRINTED:

        def send(meter: WirelessMeter, frame: bytes) -> None:
            line = stick.hear(frame, meter.options.mode, meter.options.form)
            click.echo(line.decode(), nl=False)

    else:
        wire, _ = await open_wire(port, stick.BAUD)
        live = LiveStick(stick, wire)
        live.start()
        close = live.stop

        def send(meter: WirelessMeter, frame: bytes) -> None:
            live.hear(frame, meter.options.mode, meter.options.form)

        for meter in meters:
            click.echo(f"meter {meter.id} {meter.address} {meter.kind.name}")
        click.echo(f"stick {wire.name}")
    air = Broadcaster(meters, send, clock, interval)
    air.start()
    deaf = listen(lambda text: click.echo(air.command(text), err=True))
    try:
        await stop.wait()
    finally:
        deaf()
        air.stop()
        close()
