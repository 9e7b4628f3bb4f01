"""Firmware images in the inactive partition's directory, written block by block.

A block is on the disk before it is acknowledged, so a transfer goes on after a power cut where it
stopped. What an image means (packages, signatures, partitions) is not decided here.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from smgw_emu.core.errors import RemoteProtocolError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", re.ASCII)
_PART = ".part"
MAX_IMAGE = 256 << 20  # own choice: an eMMC partition of the class


class ImageError(RemoteProtocolError):
    """An image was refused; ``status`` is the HTTP status of the refusal."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ImageStore:
    """Images of one gateway.

    Args:
        directory: where they lie; made on the first block.

    Attributes:
        on_block: told the name of an image of which a block has come.
        on_complete: told (name, octets, hash) of an image whose last block has come.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.on_complete: Callable[[str, int, str], None] = lambda _name, _octets, _hash: None
        self.on_block: Callable[[str], None] = lambda _name: None

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or name.endswith(_PART):
            raise ImageError(404, "no such image")
        return self._directory / name

    def state(self, name: str) -> int:
        """Return how many octets are here.

        Raises:
            ImageError: 404, none.
        """
        path = self._path(name)
        for candidate in (path, path.with_name(path.name + _PART)):
            if candidate.exists():
                return candidate.stat().st_size
        raise ImageError(404, "no such image")

    def put(self, name: str, first: int, octets: bytes, total: int) -> bool:
        """Write a block; returns whether the image is complete.

        Raises:
            ImageError: 413 too big, 416 a gap.
        """
        path = self._path(name)
        if total > MAX_IMAGE:
            raise ImageError(413, f"more than {MAX_IMAGE} octets")
        part = path.with_name(path.name + _PART)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        have = part.stat().st_size if part.exists() else 0
        if first > have:
            raise ImageError(416, f"{have} octets are here")
        with part.open("r+b" if have else "wb") as file:
            file.seek(first)
            file.truncate()
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        self.on_block(name)
        if first + len(octets) < total:
            return False
        part.replace(path)
        self.on_complete(name, total, self.hash(name))
        return True

    def delete(self, name: str) -> None:
        """Drop an image, complete or not.

        Raises:
            ImageError: 404, none.
        """
        self.state(name)
        path = self._path(name)
        path.unlink(missing_ok=True)
        path.with_name(path.name + _PART).unlink(missing_ok=True)

    def hash(self, name: str) -> str:
        """Return the SHA-256 of a complete image in hex.

        Raises:
            ImageError: 404, none.
        """
        path = self._path(name)
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            raise ImageError(404, "no such image") from None

    def open(self, name: str) -> BinaryIO:
        """Open a complete image.

        Raises:
            ImageError: 404, none.
        """
        try:
            return self._path(name).open("rb")
        except OSError:
            raise ImageError(404, "no such image") from None

    def complete(self) -> list[tuple[str, int, str]]:
        """Return (name, octets, hash) of the complete images."""
        if not self._directory.is_dir():
            return []
        names = sorted(p.name for p in self._directory.iterdir() if not p.name.endswith(_PART))
        return [
            (n, self._path(n).stat().st_size, self.hash(n)) for n in names if _NAME.fullmatch(n)
        ]
