"""Lamps that the kernel has: ``/sys/class/leds/<name>/brightness``."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import WorldTime
from smgw_emu.core.leds import Leds


class SysfsLeds:
    """Kernel LEDs, taken from their trigger.

    Args:
        names: lamp -> (LED, lit after the end).
        root: where LEDs are.

    Raises:
        ConfigError: there is no such LED, or it may not be written.
    """

    live = True

    def __init__(self, names: Mapping[str, tuple[str, bool]], root: Path) -> None:
        self._leds: dict[str, tuple[Path, bytes, bool]] = {}
        self._level: dict[str, bool] = {}
        self._open = True
        for lamp, (name, safe) in names.items():
            folder = root / name
            try:
                full = (folder / "max_brightness").read_bytes().strip() or b"1"
                with contextlib.suppress(FileNotFoundError):  # not every driver has triggers
                    self._write(folder / "trigger", b"none")
                self._leds[lamp] = (folder / "brightness", full, safe)
                self._set(lamp, lit=False)
            except OSError as error:
                raise ConfigError(f"LED {name}: {folder}: {error.strerror}") from error

    @staticmethod
    def _write(path: Path, value: bytes) -> None:
        with path.open("r+b", buffering=0) as file:
            file.write(value)

    def _set(self, lamp: str, *, lit: bool) -> None:
        if self._level.get(lamp) != lit:
            path, full, _ = self._leds[lamp]
            self._write(path, full if lit else b"0")
            self._level[lamp] = lit

    def show(self, now: WorldTime, lamps: Leds) -> None:  # noqa: ARG002
        """Set what has changed."""
        if self._open:
            for lamp in self._leds:
                self._set(lamp, lit=getattr(lamps, lamp))

    def close(self) -> None:
        """Set the safe levels."""
        if self._open:
            self._open = False
            for lamp, (_, _, safe) in self._leds.items():
                self._set(lamp, lit=safe)
