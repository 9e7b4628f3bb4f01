"""``smgw emt``: a reference market participant (EMT)."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smgw_emu.cli.common import configure_log, print_json, stop_event
from smgw_emu.cli.gwa_orders import gwa_option

if TYPE_CHECKING:
    from smgw_emu.bench.emt import MarketParticipant
    from smgw_emu.bench.gwa.folder import GwaFolder
    from smgw_emu.core.wan_profiles import WanProfile
    from smgw_emu.transport.clock import Clock


@click.group("emt")
def command() -> None:
    """Act as a market participant (EMT) that receives values."""


def participant_of(folder: GwaFolder, clock: Clock, keylog: str = "") -> MarketParticipant:
    """Return the participant of an administrator's directory, not yet listening."""
    from smgw_emu.bench.emt import MarketParticipant, ValueStore
    from smgw_emu.bench.gwa.folder import PARTICIPANT
    from smgw_emu.profiles import load

    store = ValueStore(folder.path / f"{PARTICIPANT}.db")
    identity = folder.participant(f"{PARTICIPANT}.EMT")
    return MarketParticipant(folder.pki, identity, clock, load(), store, keylog=keylog)


def participant_profile(folder: GwaFolder) -> WanProfile:
    """Return the participant's communication profile."""
    from smgw_emu.bench.gwa.folder import PARTICIPANT
    from smgw_emu.core.wan_profiles import WanProfile

    identity, places = folder.participant(f"{PARTICIPANT}.EMT"), folder.places
    return WanProfile(
        PARTICIPANT,
        "INFO-REPORT",
        "EMT",
        (f"https://{places.host}:{places.emt}/{PARTICIPANT}",),
        identity.tls.certificate_der,
        identity.sig.certificate_der,
        identity.enc.certificate_der,
    )


@command.command("serve")
@gwa_option
@click.option("--keylog", default="", help="Write TLS session secrets to this file.")
def serve(gwa: Path, keylog: str) -> None:
    """Run the market participant alone (`smgw gwa serve --no-emt` leaves it out)."""
    configure_log("warning")
    asyncio.run(_serve(gwa, keylog))


async def _serve(gwa: Path, keylog: str) -> None:
    from smgw_emu.bench.gwa.folder import open_gwa
    from smgw_emu.transport.clock import SystemClock

    folder, stop = open_gwa(gwa), stop_event()
    participant = participant_of(folder, SystemClock(asyncio.get_running_loop()), keylog)
    try:
        click.echo(f"emt {await participant.start(folder.places.host, folder.places.emt)}")
        click.echo("ready")
        await stop.wait()
    finally:
        await participant.stop()
        participant.store.close()


@command.command("values")
@gwa_option
@click.option("--csv", "csv_file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
              help="Write all values to this file; - for standard output.")  # fmt: skip
@click.option("--deliveries", is_flag=True, help="List deliveries and what was odd in them.")
def values(gwa: Path, csv_file: Path | None, deliveries: bool) -> None:
    """Show what the participant has received."""
    from smgw_emu.bench.emt import ValueStore
    from smgw_emu.bench.gwa.folder import PARTICIPANT, open_gwa

    store = ValueStore(open_gwa(gwa).path / f"{PARTICIPANT}.db")
    if csv_file is not None and str(csv_file) == "-":
        store.export_csv(sys.stdout)
    elif csv_file is not None:
        with csv_file.open("w", newline="", encoding="utf-8") as file:
            click.echo(f"{store.export_csv(file)} values")
    elif deliveries:
        print_json({"deliveries": store.deliveries(), "findings": store.findings()})
    else:
        print_json({"quality": store.quality(), "deliveries": len(store.deliveries())})
