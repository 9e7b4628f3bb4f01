"""What is asked and ordered of a contract: ``smgw gwa read``, ``day``, ``switch`` and others."""

from __future__ import annotations

from pathlib import Path

import click

from smgw_emu.cli.common import print_json
from smgw_emu.cli.gwa_orders import gwa_option, send_order


@click.command("read")
@gwa_option
@click.argument("device")
@click.argument("contract")
def read(gwa: Path, device: str, contract: str) -> None:
    """Have a contract's newest values delivered to its market participants now."""
    print_json(send_order(gwa, "POST", "read", device=device, contract=contract))


@click.command("day")
@gwa_option
@click.argument("device")
@click.argument("contract")
@click.argument("date")
def day(gwa: Path, device: str, contract: str, date: str) -> None:
    """Have the daily values of DATE (YYYY-MM-DD) delivered: TAF6, within six weeks.

    The consumer sees each retrieval in his log.
    """
    print_json(send_order(gwa, "POST", "day", device=device, contract=contract, date=date))


@click.command("switch")
@gwa_option
@click.argument("device")
@click.argument("contract")
@click.argument("stage", type=int)
@click.option("--at", default="", help="UTC time, YYYY-MM-DDThh:mm:ssZ; default: at once.")
@click.option("--until", required=True, help="Not any more after this time (TR: must be given).")
def switch(gwa: Path, device: str, contract: str, stage: int, at: str, until: str) -> None:
    """Send a tariff switching instruction to a TAF5 contract."""
    print_json(
        send_order(gwa, "POST", "switch", device=device, contract=contract, stage=stage, at=at,
              until=until)
    )  # fmt: skip


@click.command("control")
@gwa_option
@click.argument("device")
@click.argument("contract")
@click.argument("level", type=click.IntRange(0, 100))
def control(gwa: Path, device: str, contract: str, level: int) -> None:
    """Give a TAF11 contract a control signal of LEVEL percent; 0 is off."""
    print_json(send_order(gwa, "POST", "control", device=device, contract=contract, level=level))


@click.command("capture")
@gwa_option
@click.argument("device")
@click.argument("contract")
def capture(gwa: Path, device: str, contract: str) -> None:
    """Have a TAF16 contract's meters registered now."""
    print_json(send_order(gwa, "POST", "capture", device=device, contract=contract))


@click.command("meter")
@gwa_option
@click.argument("device")
@click.argument("meter")
@click.argument("order", default="")
def meter(gwa: Path, device: str, meter: str, order: str) -> None:
    """Show a wired meter's state, or give it an ORDER and wait for the result.

    \b
    crypto-reset   undo the pairing (it is paired anew at once)
    renew          new certificates for meter and gateway
    reset-tamper   clear the tamper states its status word shows
    information    type, id, firmware, hardware
    set-time       bring the legal time
    clock          state of its clock
    log            its event log
    """  # noqa: D301  # \\b is click's mark for text not to be wrapped
    if order:
        print_json(send_order(gwa, "POST", "meter", device=device, meter=meter, order=order))
    else:
        print_json(send_order(gwa, "GET", "meter", device=device, meter=meter))


@click.command("versions")
@gwa_option
@click.argument("device")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def versions(gwa: Path, device: str, as_json: bool) -> None:
    """Show every version of every profile and whether it is in force."""
    rows = send_order(gwa, "GET", "versions", device=device)
    if as_json:
        print_json(rows)
        return
    for row in rows:
        ended = row["ended"] or "-"
        click.echo(f"{row['kind']:<12}{row['name']:<24}{row['version']:>3}  {row['began']}"
                   f"  {ended:<20}  {row['state']}")  # fmt: skip


COMMANDS = (read, day, switch, control, capture, meter, versions)
