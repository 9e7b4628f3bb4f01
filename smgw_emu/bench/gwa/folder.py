"""An administrator's directory: PKI, identity, registry, addresses.

``gwa.json`` (addresses), ``administrator.json`` (the card for factories), ``pki/`` (hierarchy and
participants), ``registry.db``; ``emt1.db`` belongs to the market participant beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from smgw_emu.bench.gwa.card import write_card
from smgw_emu.bench.gwa.registry import Registry
from smgw_emu.bench.gwa.server import Addresses, Administrator
from smgw_emu.bench.pki import Participant, Role, TestPki
from smgw_emu.bench.pki.folder import open_folder, open_participant, save, save_participant
from smgw_emu.core.errors import ConfigError
from smgw_emu.profiles import load
from smgw_emu.transport.clock import Clock

PKI = "pki"
ADMINISTRATOR, PARTICIPANT = "gwa1", "emt1"


class Places(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where administrator and participant listen."""

    host: str = "127.0.0.1"
    management: int = 9443
    admin_service: int = 9444
    ntp: int = 9445
    control: int = 9460
    emt: int = 9446
    aemt: int = 9447
    aemt_control: int = 9461


@dataclass(frozen=True, slots=True)
class GwaFolder:
    """An opened directory."""

    path: Path
    places: Places
    pki: TestPki

    def participant(self, name: str) -> Participant:
        """Return a participant with its keys (``gwa1.GWA``, ``emt1.EMT``).

        Raises:
            ConfigError: not in the PKI.
        """
        found = sorted((self.path / PKI / "issued" / name).glob("*"), key=lambda p: int(p.name))
        if not found:
            raise ConfigError(f"no participant {name} in {self.path / PKI}")
        return open_participant(found[-1])

    def administrator(self, clock: Clock, keylog: str = "") -> Administrator:
        """Return the administrator, not yet listening."""
        p = self.places
        addresses = Addresses((p.host, p.management), (p.host, p.admin_service), (p.host, p.ntp))
        return Administrator(
            self.pki,
            self.participant(f"{ADMINISTRATOR}.{Role.GWA}"),
            Registry(self.path / "registry.db"),
            clock,
            load(),
            addresses,
            keylog,
        )

    @property
    def control_url(self) -> str:
        """Base URL of the running administrator's control service."""
        return f"http://127.0.0.1:{self.places.control}/v1"


def create_gwa(path: Path, places: Places, now: datetime) -> GwaFolder:
    """Make an administrator with its PKI and one market participant.

    Raises:
        ConfigError: the directory is in use or cannot be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{path} exists and is not empty")
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make {path}: {error.strerror}") from error
    pki = TestPki(now)
    save(pki, path / PKI)
    for role, name in ((Role.GWA, ADMINISTRATOR), (Role.EMT, PARTICIPANT)):
        save_participant(path / PKI, pki.participant(role, name))
    (path / "gwa.json").write_bytes(msgspec.json.format(msgspec.json.encode(places)) + b"\n")
    folder = open_gwa(path)
    write_card(path / "administrator.json", folder.administrator(_NoClock()).card())  # type: ignore[arg-type]
    return folder


def open_gwa(path: Path) -> GwaFolder:
    """Open an administrator's directory.

    Raises:
        ConfigError: none there, or damaged.
    """
    try:
        places = msgspec.json.decode((path / "gwa.json").read_bytes(), type=Places)
    except FileNotFoundError as error:
        raise ConfigError(f"no administrator in {path} (smgw gwa init makes one)") from error
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise ConfigError(f"cannot read {path / 'gwa.json'}: {error}") from error
    return GwaFolder(path, places, open_folder(path / PKI))


class _NoClock:
    """The card needs no time."""
