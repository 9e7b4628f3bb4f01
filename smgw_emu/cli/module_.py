"""``smgw module``: the security module of a running gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from smgw_emu.cli import UnreachableError
from smgw_emu.cli.common import DIRECTORY, print_json
from smgw_emu.lab.access import read_access


@click.command("module")
@click.argument("directory", type=DIRECTORY)
@click.option("--log", "show_log", is_flag=True, help="The commands since start, newest last.")
@click.option("--since", default=0, type=click.IntRange(0), help="Only commands after this number.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def command(directory: Path, show_log: bool, since: int, as_json: bool) -> None:
    """Show the security module of the running gateway in DIRECTORY: keys, files, command log.

    The log names commands, keys, lengths and status words; it never holds data.
    """
    import httpx

    url = f"{read_access(directory).control.url}/module"
    try:
        answer = httpx.get(url, params={"since": since}, timeout=5, trust_env=False)
        answer.raise_for_status()
        state: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise UnreachableError(f"the gateway does not run: no answer from {url}") from error
    if as_json:
        print_json(state)
        return
    mode = "strict" if state["strict"] else "normal"
    origin = "REPRODUCIBLE, its keys are no secret" if state["reproducible"] else "random"
    click.echo(f"{state['kind']}  {state['life_cycle']}  {mode}  {origin}")
    click.echo("keys   " + ", ".join(state["slots"]))
    click.echo("files  " + ", ".join(state["files"]))
    for entry in state["log"] if show_log else ():
        sizes = f"{entry['sent']:>5} -> {entry['received']:<5}"
        click.echo(f"{entry['number']:>6}  {entry['status']}  {sizes} "
                   f"{entry['command']:<34} {entry['key']}")  # fmt: skip
