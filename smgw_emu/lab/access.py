"""``access.json``: how scripts get into a gateway. Holds credentials, so for the owner only."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from smgw_emu.core.errors import ConfigError


class HanAccess(msgspec.Struct):
    """HAN address, digest login, client certificate; ``ca`` is the certificate to trust (PEM)."""

    host: str
    port: int
    user: str
    password: str
    p12: str
    p12_password: str
    ca: str = ""


class ControlAccess(msgspec.Struct):
    """Base URL of the control endpoint."""

    url: str


class Access(msgspec.Struct):
    """The whole file."""

    han: HanAccess
    control: ControlAccess


def read_access(directory: Path) -> Access:
    """Read ``access.json`` of a gateway.

    Raises:
        ConfigError: missing or unreadable.
    """
    path = directory / "access.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Access)
    except FileNotFoundError as error:
        raise ConfigError(
            f"no gateway here: {path} does not exist (smgw init makes one)"
        ) from error
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def write_private(path: Path, data: bytes) -> None:
    """Write a file for the owner only, completely or not at all."""
    temporary = path.with_name(path.name + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_access(directory: Path, access: Access) -> None:
    """Write ``access.json``."""
    data = msgspec.json.format(msgspec.json.encode(access), indent=2)
    write_private(directory / "access.json", data + b"\n")
