"""Which gateway a consumer's command asks, and as whom."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from smgw_emu.bench.consumer import HanClient, HanClientError, client_context
from smgw_emu.cli import UnreachableError
from smgw_emu.cli.common import directory_option
from smgw_emu.core.errors import ConfigError
from smgw_emu.lab.access import read_access

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """Which gateway, as whom."""

    directory: Path
    url: str
    user: str
    password: str
    p12: Path | None
    p12_password: str
    certificate: Path | None
    insecure: bool
    with_certificate: bool

    def client(self) -> HanClient:
        """Return a client; what is not given is taken from ``access.json``."""
        if self.url:
            return self._explicit()
        access = read_access(self.directory).han
        url = f"https://{access.host}:{access.port}"
        ca = None if self.insecure else (self.certificate or Path(access.ca))
        p12 = (Path(access.p12), access.p12_password) if self.with_certificate else None
        if self.p12 is not None:
            p12 = (self.p12, self.p12_password)
        login = (self.user or access.user, self.password or access.password)
        return HanClient(url, client_context(ca, p12), None if p12 else login)

    def _explicit(self) -> HanClient:
        if self.certificate is None and not self.insecure:
            raise ConfigError("--url needs --cert FILE (HAN certificate to trust) or --insecure")
        p12 = None if self.p12 is None else (self.p12, self.p12_password)
        login = (self.user, self.password) if self.user else None
        if p12 is None and login is None:
            raise ConfigError("--url needs --user and --password, or --p12")
        context = client_context(self.certificate, p12)
        return HanClient(self.url.rstrip("/"), context, login)

    @property
    def login(self) -> str:
        """The login that is used, "" if it is not known."""
        if self.user or self.url:
            return self.user
        return read_access(self.directory).han.user


_OPTIONS = (
    directory_option,
    click.option("--url", default="", help="Another gateway: https://host:port (instead of -d)."),
    click.option("--user", default="", help="Login (from access.json)."),
    click.option("--password", default="", envvar="SMGW_PASSWORD", help="Password."),
    click.option("--p12", type=click.Path(path_type=Path, exists=True), help="Client certificate."),
    click.option("--p12-password", default="", envvar="SMGW_P12_PASSWORD", help="Its password."),
    click.option(
        "--with-certificate", is_flag=True, help="Log in with the PKCS#12 of access.json."
    ),
    click.option(
        "--cert",
        "certificate",
        type=click.Path(path_type=Path, exists=True),
        help="HAN certificate to trust (PEM).",
    ),
    click.option("--insecure", is_flag=True, help="Trust any HAN certificate."),
)


def target_options(function: Any) -> Any:
    """Add the options that name a gateway and a login."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def ask(target: Target, call: Callable[[HanClient], Awaitable[T]]) -> T:
    """Run a question to a gateway.

    Raises:
        HanClientError, UnreachableError: refused, or not there.
    """

    async def asked() -> T:
        async with target.client() as client:
            return await call(client)

    try:
        return asyncio.run(asked())
    except HanClientError as error:
        if error.status == 0:
            raise UnreachableError(str(error)) from error
        raise
