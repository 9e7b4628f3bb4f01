"""``smgw han``: a consumer's client."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from smgw_emu.bench.consumer import HanClient, HanClientError
from smgw_emu.cli.common import print_json
from smgw_emu.cli.han_target import Target, ask, target_options
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.values import scaled

_UNITS = {"27": "W", "30": "Wh"}


@click.group("han")
@target_options
@click.pass_context
def command(ctx: click.Context, /, **options: Any) -> None:
    """Ask a gateway as its consumer (IF_GW_CON), with digest or a PKCS#12 certificate.

    Every sub-command takes --json for the gateway's own answer.
    """
    ctx.obj = Target(**options)


_JSON = click.option("--json", "as_json", is_flag=True, help="The gateway's answer as JSON.")


@command.command()
@_JSON
@click.pass_obj
def info(target: Target, as_json: bool) -> None:
    """Show what the gateway says of itself (smgw-info)."""
    answer = ask(target, lambda client: client.call("smgw-info"))
    if as_json:
        print_json(answer)
        return
    data = answer["smgw-info"]
    firmware = data["firmware-info"]
    for label, text in (
        ("SMGW-ID", data["smgw-id"]),
        ("Firmware", f"{firmware['version']}  {firmware['hash'][:16]}…"),
        ("State", data["smgw-state"]),
        ("Time", f"{data['smgw-time']} UTC"),
        ("Interface", answer["version"]),
        ("WAN certificates", str(len(data["certificates"]["wan"]))),
    ):
        click.echo(f"{label:<18}{text}")


@command.command()
@_JSON
@click.pass_obj
def contracts(target: Target, as_json: bool) -> None:
    """List the consumer's contracts (user-info)."""
    answer = ask(target, lambda client: client.call("user-info"))
    if as_json:
        print_json(answer)
        return
    for point in answer["user-info"]["usage-points"]:
        meters = ", ".join(meter["meter-id"] for meter in point["meter"])
        click.echo(f"{point['usage-point-id']:<28} TAF{point['taf-number']:<3}"
                   f"{point['taf-state']:<9}{meters}  {point['usage-point-name']}")  # fmt: skip
        for period in point["billing-Periods"]:
            click.echo(f"    {period['start-time']} – {period['end-time'] or 'open'}")


@command.command()
@click.argument("usage_point")
@_JSON
@click.pass_obj
def contract(target: Target, usage_point: str, as_json: bool) -> None:
    """Show one contract: its value lists and registers (usage-point-info)."""
    answer = ask(target, lambda c: c.call("usage-point-info", usage_point_id=usage_point))
    if as_json:
        print_json(answer)
        return
    data = answer["usage-point-info"]
    click.echo(f"{data['usage-point-id']}  {data['usage-point-name']}")
    for database in data["databases"]:
        for channel in database["channels"]:
            unit = _UNITS.get(channel["unit"], channel["unit"])
            shown = f"{channel['obis']}  10^{channel['scaler']} {unit}"
            click.echo(f"    {database['database']:<12}{shown}  {database['records']} records")
    click.echo(f"    EMT {', '.join(data['emts'])}; signed profile of "
               f"{len(data['taf-profile']) // 2} octets")  # fmt: skip


@command.command()
@click.argument("usage_point", default="")
@click.option("--database", default="origin", show_default=True,
              type=click.Choice(["origin", "derived", "calculated", "daily"]))  # fmt: skip
@click.option("--from", "begin", default="", help="Exclusive lower bound (24 h before --to).")
@click.option("--to", "end", default="", help="Inclusive upper bound (the gateway's time).")
@click.option("--last", is_flag=True, help="Only the newest value.")
@_JSON
@click.pass_obj
def readings(
    target: Target,
    usage_point: str,
    database: str,
    begin: str,
    end: str,
    last: bool,
    as_json: bool,
) -> None:
    """Read values of USAGE_POINT (default: the first running TAF 7 contract)."""
    scales: dict[str, tuple[int, str]] = {}

    async def call(client: HanClient) -> dict[str, Any]:
        point = usage_point or await _first_contract(client)
        about = await client.call("usage-point-info", usage_point_id=point, database=database)
        for item in about["usage-point-info"]["databases"]:
            for channel in item["channels"]:
                scales[channel["obis"]] = int(channel["scaler"]), channel["unit"]
        parameters: dict[str, object] = {"usage_point_id": point, "database": database}
        if last:
            parameters["last_reading"] = True
        else:
            parameters["fromtime"], parameters["totime"] = await _window(client, begin, end)
        return await client.call("readings", **parameters)

    answer = ask(target, call)
    if as_json:
        print_json(answer)
        return
    for channel in answer["readings"]["channels"]:
        scaler, unit = scales.get(channel["obis"], (0, "?"))
        for row in channel["readings"]:
            value = format(scaled(int(row["value"]), scaler), "f")
            signed = "signed" if row["signature"] else "unsigned"
            click.echo(f"{row['target-time']}  {channel['obis']}  {value:>14} "
                       f"{_UNITS.get(unit, unit):<4}{row['cosem-status']}  {signed}")  # fmt: skip
    click.echo(f"{answer['readings']['records']} values", err=True)


async def _first_contract(client: HanClient) -> str:
    points = (await client.call("user-info"))["user-info"]["usage-points"]
    running = [p for p in points if p["taf-state"] == "running"] or points
    if not running:
        raise HanClientError("the gateway has no contract for this consumer", status=200)
    sevens = [point for point in running if point["taf-number"] == "7"]
    return str((sevens or running)[0]["usage-point-id"])


async def _window(client: HanClient, begin: str, end: str) -> tuple[str, str]:
    """Return the bounds; by default the last 24 hours of the gateway's own time."""
    if not end:
        end = (await client.call("smgw-info"))["smgw-info"]["smgw-time"] + "Z"
    if not begin:
        try:
            moment = datetime.fromisoformat(end)
        except ValueError as error:
            raise ConfigError(f"not a date-time: {end!r}") from error
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        day_before = moment.astimezone(UTC) - timedelta(days=1)
        begin = day_before.strftime("%Y-%m-%dT%H:%M:%SZ")
    return begin, end


@command.command()
@click.option("--from", "begin", default="", help="Inclusive lower bound.")
@click.option("--to", "end", default="", help="Exclusive upper bound.")
@click.option("--from-index", default=0, help="First record number.")
@click.option("--count", default=0, help="Most entries (1 to 1500).")
@_JSON
@click.pass_obj
def log(target: Target, begin: str, end: str, from_index: int, count: int, as_json: bool) -> None:
    """Read the consumer log."""
    wanted = {"fromtime": begin, "totime": end, "fromindex": from_index, "count": count}
    parameters = {name: value for name, value in wanted.items() if value}
    answer = ask(target, lambda client: client.call("log", **parameters))
    if as_json:
        print_json(answer)
        return
    for entry in answer["log"]["entries"]:
        event = f"{entry['vendor-id']}.{entry['event-id']}.{entry['event-sub-id']}"
        click.echo(f"{entry['index']:>5}  {entry['time']}  {event:<14}level {entry['level']}  "
                   f"{entry['message']}")  # fmt: skip


@command.command()
@_JSON
@click.pass_obj
def selftest(target: Target, as_json: bool) -> None:
    """Start a self-test; its result appears in the log. Exit code 1 while the 600 s lock holds."""
    answer = ask(target, lambda client: client.call("self-test"))
    if as_json:
        print_json(answer)
    else:
        click.echo("self-test started; the result appears in the log (smgw han log)")
