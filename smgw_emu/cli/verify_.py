"""``smgw verify``: are the signatures of a value list good?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from smgw_emu.bench.values import Bundle, Row, read_bundle
from smgw_emu.bench.values.verify import Verdict, verify
from smgw_emu.cli.common import print_json
from smgw_emu.cli.export_ import fetch_bundle
from smgw_emu.cli.han_target import Target, target_options
from smgw_emu.core.errors import SmgwError

_SHOWN = 10


@click.command("verify")
@target_options
@click.argument("what", default="")
@click.option("--from", "begin", default="", help="Exclusive lower bound, UTC "
              "(default: begin of the billing period).")  # fmt: skip
@click.option("--to", "end", default="", help="Inclusive upper bound, UTC (default: now).")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def command(what: str, begin: str, end: str, as_json: bool, **options: Any) -> None:
    """Check every value of a list against the certificates the gateway gives (smgw-info).

    WHAT is a bundle written by `smgw export --format json`, or a contract that is read now. The
    signed octets are those of docs/signatures.md. Exit code 1 if a signature does not fit, or one
    is missing where it should be.
    """
    path = Path(what)
    if what.endswith(".json") or (what and path.is_file()):
        bundle = _kept(path)
    else:
        bundle = fetch_bundle(Target(**options), what, begin, end)
    verdict = verify(bundle)
    if as_json:
        print_json(_plain(bundle, verdict))
    else:
        _show(bundle, verdict)
    if not verdict.passed:
        raise click.exceptions.Exit(1)


def _kept(path: Path) -> Bundle:
    try:
        return read_bundle(path.read_bytes())
    except OSError as error:
        raise SmgwError(f"cannot read {path}: {error.strerror}") from error


def _show(bundle: Bundle, verdict: Verdict) -> None:
    click.echo(f"{bundle.point['usage-point-id']} of {bundle.info['smgw-id']},"
               f" {bundle.begin} to {bundle.end}")  # fmt: skip
    for index, count in sorted(verdict.certificates.items()):
        click.echo(f"  good      {count:>7}  certificate {index}")
    if not verdict.good:
        click.echo("  good            0")
    click.echo(
        f"  unsigned  {verdict.unsigned:>7}  repeated values, or a use case without signatures"
    )
    for index in verdict.untrusted:
        click.echo(f"  certificate {index} is not issued by the sub-CA beside it")
    for word, rows in (("bad", verdict.bad), ("missing", verdict.missing)):
        if rows:
            click.echo(f"  {word:<8}  {len(rows):>7}")
        for row in rows[:_SHOWN]:
            click.echo(f"      {_name(row)}")
        if len(rows) > _SHOWN:
            click.echo(f"      and {len(rows) - _SHOWN} more (--json names all)")


def _name(row: Row) -> str:
    return f"{row.database} {row.obis} {row.item['target-time']} {row.item['value']}"


def _plain(bundle: Bundle, verdict: Verdict) -> dict[str, Any]:
    return {
        "contract": bundle.point["usage-point-id"],
        "gateway": bundle.info["smgw-id"],
        "passed": verdict.passed,
        "good": verdict.good,
        "unsigned": verdict.unsigned,
        "certificates": verdict.certificates,
        "untrusted": verdict.untrusted,
        "bad": [_name(row) for row in verdict.bad],
        "missing": [_name(row) for row in verdict.missing],
    }
