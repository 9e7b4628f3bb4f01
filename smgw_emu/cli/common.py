"""What several sub-commands need: directory argument, program log, stop on signals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import structlog

from smgw_emu.core.errors import ConfigError, SmgwError

DIRECTORY = click.Path(path_type=Path, file_okay=False)
DEFAULT_DIRECTORY = "gateway"


def directory_option(function: Any) -> Any:
    """Add ``-d DIR``, by default $SMGW_DIR or ./gateway."""
    return click.option(
        "-d",
        "--dir",
        "directory",
        type=DIRECTORY,
        default=lambda: Path(os.environ.get("SMGW_DIR", DEFAULT_DIRECTORY)),
        help="Directory of the gateway (default: $SMGW_DIR or ./gateway).",
    )(function)


def configure_log(level: str) -> None:
    """Write the program's log to standard error; device logbooks are another thing."""
    renderer: Any = structlog.processors.JSONRenderer()
    if sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        # asks for sys.stderr at each line: a redirected or closed one must not end a connection
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def is_file(text: str) -> bool:
    """Tell whether an argument names a file; long hex digits are no name at all."""
    try:
        return Path(text).is_file()
    except OSError:
        return False


def post_control(directory: Path, resource: str, body: dict[str, Any]) -> dict[str, Any]:
    """Give an order to the control endpoint of a running gateway; returns its answer.

    Raises:
        UnreachableError: nobody answers there.
        SmgwError: the order was refused.
    """
    import httpx

    from smgw_emu.cli import UnreachableError
    from smgw_emu.lab.access import read_access

    url = read_access(directory).control.url
    try:
        answer = httpx.post(f"{url}/{resource}", json=body, timeout=60, trust_env=False)
        told: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise UnreachableError(f"the gateway does not run: no answer from {url}") from error
    if answer.status_code != 200:
        raise SmgwError(told.get("error", f"HTTP {answer.status_code}"))
    return told


def print_json(value: Any) -> None:
    """Print JSON for people and programs."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def stop_event() -> asyncio.Event:
    """Return an event that SIGINT and SIGTERM set."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, event.set)
    return event


def listen(obey: Callable[[str], None]) -> Callable[[], None]:
    """Take commands from standard input, one a line, if it can be watched; returns how to end.

    A command that is none is told on standard error.
    """
    loop, rest = asyncio.get_running_loop(), b""

    def end() -> None:
        with contextlib.suppress(OSError, ValueError):
            loop.remove_reader(sys.stdin.fileno())

    def read() -> None:
        nonlocal rest
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            end()
            return
        *lines, rest = (rest + data)[-4096:].split(b"\n")
        for line in lines:
            text = line.decode(errors="replace").strip()
            if not text:
                continue
            try:
                obey(text)
            except ConfigError as error:
                click.echo(f"smgw: {error}", err=True)

    try:
        loop.add_reader(sys.stdin.fileno(), read)
    except (OSError, ValueError):
        return lambda: None  # a file, or closed: nothing to wait for
    return end
