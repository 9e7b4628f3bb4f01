"""``smgw export``: a contract's values as a file or a picture."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from smgw_emu.bench.consumer import HanClient
from smgw_emu.bench.values import Bundle, fetch
from smgw_emu.bench.values.bundle import parse_time
from smgw_emu.cli.han_target import Target, ask, target_options
from smgw_emu.core.errors import SmgwError

FORMS = ("xml", "csv", "json", "png", "svg")
LISTS = ("origin", "derived", "calculated", "daily")
BINARY = ("png",)


def fetch_bundle(target: Target, contract: str, begin: str, end: str) -> Bundle:
    """Ask the gateway, with a line of progress for each question on a terminal."""
    loud = sys.stderr.isatty()

    def progress(text: str) -> None:
        if loud:
            click.echo(f"\r\x1b[K{text}", nl=False, err=True)

    async def call(client: HanClient) -> Bundle:
        first = parse_time(begin) if begin else None
        last = parse_time(end) if end else None
        return await fetch(client, contract, first, last, target.login, progress)

    bundle = ask(target, call)
    if loud:
        click.echo("\r\x1b[K", nl=False, err=True)
    return bundle


def render(bundle: Bundle, form: str, database: str) -> bytes:
    """Return a bundle in one of the forms."""
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(bundle), indent=1)
    if form == "csv":
        from smgw_emu.bench.values.table import write_csv

        return write_csv(bundle).encode()
    if form == "xml":
        from smgw_emu.bench.values.ar2418 import write_ar2418

        return write_ar2418(bundle)
    from smgw_emu.bench.values.plot import draw

    return draw(bundle, database, form)


@click.command("export")
@target_options
@click.argument("contract", default="")
@click.option("--format", "form", type=click.Choice(FORMS), default=None,
              help="Default: by the file's name, else csv.")  # fmt: skip
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False),
              help="File (default: standard output).")  # fmt: skip
@click.option("--from", "begin", default="", help="Exclusive lower bound, UTC "
              "(default: begin of the billing period).")  # fmt: skip
@click.option("--to", "end", default="", help="Inclusive upper bound, UTC (default: now).")
@click.option("--list", "database", type=click.Choice(LISTS), default="origin", show_default=True,
              help="What a picture shows.")  # fmt: skip
def command(
    contract: str,
    form: str | None,
    out: Path | None,
    begin: str,
    end: str,
    database: str,
    **options: Any,
) -> None:
    """Write a contract's values: AR 2418-6 XML, CSV, a bundle for `smgw verify`, or a plot.

    CONTRACT is a logical name (01005e318027.taf7-1.sm) or its middle part (taf7-1); by default the
    first running TAF7 contract. Works on any gateway that speaks IF_GW_CON.

    \b
    Examples:
      smgw export taf7-1 -o month.xml          for the transparency software
      smgw export taf7-1 -o load.png           load profile
      smgw export taf2-1 -o list.json && smgw verify list.json
    """  # noqa: D301  # \\b is click's mark for text not to be wrapped
    form = form or (out.suffix[1:] if out is not None and out.suffix[1:] in FORMS else "csv")
    if out is None and form in BINARY and sys.stdout.isatty():
        raise SmgwError(f"a {form} does not go to a terminal: give --out FILE")
    bundle = fetch_bundle(Target(**options), contract, begin, end)
    data = render(bundle, form, database)
    if out is None:
        sys.stdout.buffer.write(data)
        return
    try:
        out.write_bytes(data)
    except OSError as error:
        raise SmgwError(f"cannot write {out}: {error.strerror}") from error
    count = sum(1 for _ in bundle.rows())
    click.echo(
        f"{out}: {count} values of {bundle.point['usage-point-id']}, {bundle.begin} to {bundle.end}"
    )
