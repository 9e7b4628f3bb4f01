"""``smgw leds``: the front of a running gateway, live in a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from smgw_emu.cli import UnreachableError
from smgw_emu.cli.common import DIRECTORY
from smgw_emu.cli.status_ import fetch_state
from smgw_emu.lab.access import read_access

WIDTH = 50
_GREEN, _BLUE, _AMBER, _GREY, _PLAIN = "\x1b[92m", "\x1b[94m", "\x1b[93m", "\x1b[90m", "\x1b[0m"
_FRONT = (("PWR", "pwr", _GREEN), ("TLS", "tls", _GREEN), ("LMC", "lmc", _GREEN),
          ("wMT", "wmt", _BLUE))  # fmt: skip
_PORTS = (("HAN", "han"), ("[HAN]CLS", "cls"))


def edges(url: str) -> Iterator[dict[str, Any]]:
    """Yield the lamps now and every edge from then on.

    Raises:
        UnreachableError: nobody answers there, or the gateway ends.
    """
    import httpx

    try:
        with httpx.stream("GET", f"{url}/leds/stream", timeout=None, trust_env=False) as answer:  # noqa: S113  # an edge may be days away
            answer.raise_for_status()
            for line in answer.iter_lines():
                yield json.loads(line)
    except (httpx.HTTPError, ValueError) as error:
        raise UnreachableError(f"the gateway does not run: no answer from {url}") from error


def _cells(shown: list[tuple[str, bool, str]], *, colour: bool) -> tuple[str, int]:
    """Return lamps with their names, and how wide they look."""
    parts, width = [], 0
    for name, lit, tint in shown:
        mark = "●" if lit else "○"
        text = f"{tint if lit else _GREY}{mark}{_PLAIN}" if colour else mark
        parts.append(f"{name} {text}")
        width += len(name) + 2
    return "   ".join(parts), width + 3 * (len(shown) - 1)


def draw(edge: dict[str, Any], title: str, *, colour: bool = True) -> list[str]:
    """Return the lines of the device's front."""
    lamps = edge["leds"]
    front = _cells([(name, lamps[key], tint) for name, key, tint in _FRONT], colour=colour)
    rows = [(title, len(title)), ("", 0), front, ("", 0)]
    for name, key in _PORTS:
        label = f"{name:<9}"
        text, width = _cells(
            [("link", lamps[key], _GREEN), ("act", lamps[f"{key}_activity"], _AMBER)], colour=colour
        )
        rows.append((label + text, len(label) + width))
    state = f"{edge['phase']}, {edge['secure_state']}"
    rows += [("", 0), (state, len(state))]
    cause = edge["cause"][: WIDTH - 2]
    rows.append((cause, len(cause)))
    inside = [f"│ {text}{' ' * (WIDTH - 1 - width)}│" for text, width in rows]
    return ["┌" + "─" * WIDTH + "┐", *inside, "└" + "─" * WIDTH + "┘"]


def _line(edge: dict[str, Any]) -> str:
    lit = " ".join(name for name, on in edge["leds"].items() if on) or "dark"
    return f"{edge['ns']}  {edge['phase']:9} {edge['secure_state']:14} {lit}"


@click.command("leds")
@click.argument("directory", type=DIRECTORY)
@click.option("--once", is_flag=True, help="Draw the present state and end.")
@click.option(
    "--edges", "as_edges", is_flag=True, help="One line per edge: world time in ns, lamps."
)
def command(directory: Path, once: bool, as_edges: bool) -> None:
    """Draw the front of the running gateway in DIRECTORY, live: lamps, port LEDs, state.

    Without a terminal, or with --edges, a line per edge is printed. Ends with Ctrl-C.
    """
    url = read_access(directory).control.url
    state = fetch_state(url)
    title = f"{state['model']}  {state['id']}  {state['firmware']}"[: WIDTH - 2]
    terminal = sys.stdout.isatty() and not as_edges
    if terminal and not once:
        click.echo("\x1b[2J\x1b[?25l", nl=False)
    try:
        for edge in edges(url):
            if terminal and not once:
                click.echo("\x1b[H" + "\n".join(draw(edge, title)) + "\n", nl=False)
            elif once:
                click.echo("\n".join(draw(edge, title, colour=sys.stdout.isatty())))
                return
            else:
                click.echo(_line(edge))
    finally:
        if terminal and not once:
            click.echo("\x1b[?25h", nl=False)
