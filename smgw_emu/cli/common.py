"""What several sub-commands need: directory argument, program log, stop on signals."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click
import structlog

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
