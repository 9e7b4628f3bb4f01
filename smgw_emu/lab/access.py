"""``access.json``: how scripts get into a gateway. Holds credentials, so for the owner only."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hsm_sim.files import write_private
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
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error


def write_access(directory: Path, access: Access) -> None:
    """Write ``access.json``."""
    data = msgspec.json.format(msgspec.json.encode(access), indent=2)
    write_private(directory / "access.json", data + b"\n")
