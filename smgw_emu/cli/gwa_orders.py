"""Orders to a running administrator: the local control address of ``smgw gwa serve``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from smgw_emu.cli.common import DIRECTORY
from smgw_emu.core.errors import SmgwError


def gwa_option(function: Any) -> Any:
    """Add ``-g DIR``, the administrator's directory."""
    return click.option(
        "-g",
        "--gwa",
        "gwa",
        type=DIRECTORY,
        envvar="SMGW_GWA",
        default="gwa",
        show_default=True,
        help="Directory of the administrator.",
    )(function)


def send_order(gwa: Path, verb: str, path: str, **parameters: Any) -> Any:
    """Send an order; returns its JSON."""
    import httpx

    body = parameters.pop("body", None)
    try:
        answer = httpx.request(
            verb, f"{url(gwa)}/{path}", params=parameters, content=body, timeout=200,
            trust_env=False,
        )  # fmt: skip
    except httpx.HTTPError as error:
        raise unreachable(gwa) from error
    found = answer.json()
    if answer.status_code != 200:
        raise SmgwError(found.get("error", f"HTTP {answer.status_code}"))
    return found


def stream_order(gwa: Path, path: str, body: bytes, **parameters: Any) -> Any:
    """Send an order that takes its time; yields what it says."""
    import httpx

    try:
        with httpx.stream(
            "POST", f"{url(gwa)}/{path}", params=parameters, content=body, timeout=900,
            trust_env=False,
        ) as answer:  # fmt: skip
            for line in answer.iter_lines():
                item = json.loads(line)
                if "error" in item:
                    raise SmgwError(item["error"])
                if "done" not in item:
                    yield item
    except httpx.HTTPError as error:
        raise unreachable(gwa) from error


def url(gwa: Path) -> str:
    """Return the control address of an administrator's directory."""
    from smgw_emu.bench.gwa.folder import open_gwa

    return open_gwa(gwa).control_url


def unreachable(gwa: Path) -> SmgwError:
    """Return the error for an administrator that does not answer."""
    from smgw_emu.cli import UnreachableError

    return UnreachableError(f"the administrator in {gwa} does not run (smgw gwa serve {gwa})")
