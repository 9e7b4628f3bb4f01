"""What the module remembers when power is gone: life cycle, PIN, keys, public keys, files.

One file per object in a directory, each written completely or not at all, so ``kill -9`` at any
moment leaves the old object or the new one, and nothing acknowledged is lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from hsm_sim.curves import SecurityModuleError
from hsm_sim.files import write_private

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,60}", re.ASCII)
MAX_FILE = 16_384
_MAX_OBJECTS = 512


class CardState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The module's own record: life cycle, K_pi in hex, PIN tries left, number of power-ups."""

    life_cycle: str = "manufacturing"
    pin_key: str = ""
    tries: int = 3
    boots: int = 0

    def __repr__(self) -> str:
        return f"CardState({self.life_cycle!r}, tries={self.tries}, boots={self.boots})"


class Memory:
    """Objects of the module in ``directory``.

    Raises:
        SecurityModuleError: the module's record is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SecurityModuleError(f"cannot make {directory}: {error.strerror}") from error
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.state = self._read_state()

    def _read_state(self) -> CardState:
        try:
            return msgspec.json.decode((self._directory / "card.json").read_bytes(), type=CardState)
        except FileNotFoundError:
            if any(self._directory.glob("*.p8")):
                raise SecurityModuleError("the security module has lost its record") from None
            return CardState()
        except (OSError, msgspec.DecodeError) as error:
            raise SecurityModuleError("the security module's record is damaged") from error

    def change_state(self, **changes: object) -> None:
        """Change the record durably."""
        state = msgspec.structs.replace(self.state, **changes)
        write_private(self._directory / "card.json", msgspec.json.encode(state))
        self.state = state

    # -- keys --------------------------------------------------------------------------------

    def key_names(self) -> list[str]:
        """Return the names of the key slots in use."""
        return sorted(path.stem for path in self._directory.glob("*.p8"))

    def has_key(self, name: str) -> bool:
        """Tell whether a slot is in use."""
        return self._path(name, "p8").exists()

    def store_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> None:
        """Put a private key into a slot.

        Raises:
            SecurityModuleError: too many slots in use.
        """
        if len(self.key_names()) >= _MAX_OBJECTS:
            raise SecurityModuleError("the security module has no free key slot")
        data = key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        write_private(self._path(name, "p8"), data)
        self._keys[name] = key

    def key(self, name: str) -> ec.EllipticCurvePrivateKey:
        """Return a private key; never given to anyone outside the module.

        Raises:
            SecurityModuleError: empty or damaged slot.
        """
        key = self._keys.get(name)
        if key is None:
            key = self._keys[name] = self._load(name)
        return key

    def _load(self, name: str) -> ec.EllipticCurvePrivateKey:
        try:
            key = serialization.load_der_private_key(self._path(name, "p8").read_bytes(), None)
        except FileNotFoundError as error:
            raise SecurityModuleError(f"key slot {name} is empty") from error
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise SecurityModuleError(f"key slot {name} is damaged") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SecurityModuleError(f"key slot {name} is damaged")
        return key

    # -- files (certificates, public keys) ---------------------------------------------------

    def file_names(self) -> list[str]:
        """Return the names of the files."""
        return sorted(path.stem for path in self._directory.glob("*.bin"))

    def write_file(self, name: str, data: bytes) -> None:
        """Write a file.

        Raises:
            SecurityModuleError: too many files.
        """
        if name not in (names := self.file_names()) and len(names) >= _MAX_OBJECTS:
            raise SecurityModuleError("the security module has no room for another file")
        write_private(self._path(name, "bin"), data)

    def read_file(self, name: str) -> bytes | None:
        """Return a file, None if there is none."""
        try:
            return self._path(name, "bin").read_bytes()
        except FileNotFoundError:
            return None

    # -- both --------------------------------------------------------------------------------

    def delete(self, name: str) -> bool:
        """Delete the key and the file of that name; returns whether there was one."""
        self._keys.pop(name, None)
        found = False
        for ending in ("p8", "bin"):
            path = self._path(name, ending)
            found = found or path.exists()
            path.unlink(missing_ok=True)
        return found

    def wipe(self) -> None:
        """Delete every key and file (end of life)."""
        for name in (*self.key_names(), *self.file_names()):
            self.delete(name)

    def _path(self, name: str, ending: str) -> Path:
        if not _NAME.fullmatch(name):
            raise SecurityModuleError(f"not a slot name: {name[:40]!r}")
        return self._directory / f"{name}.{ending}"

    def __iter__(self) -> Iterator[str]:
        return iter(self.key_names())
