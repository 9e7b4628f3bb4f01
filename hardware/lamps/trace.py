"""A trace of the lamps for wave viewers (GTKWave, PulseView): Value Change Dump, IEEE 1364 18.2."""

from __future__ import annotations

from pathlib import Path

from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import WorldTime
from smgw_emu.core.leds import Leds

_MARKS = "!\"#$%&'("  # one printable character per lamp


class LampTrace:
    """Writes edges with their world time in nanoseconds, from the first one on.

    Args:
        path: the file; an older one is replaced.

    Raises:
        ConfigError: it cannot be written.
    """

    live = True

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("w", encoding="ascii")
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from error
        self._start: WorldTime | None = None
        self._shown: Leds | None = None

    def show(self, now: WorldTime, lamps: Leds) -> None:
        """Write what has changed."""
        if self._file.closed or lamps == self._shown:
            return
        if self._start is None:
            self._start = now
            self._head(now)
        before = self._shown or ()
        self._shown = lamps
        self._file.write(f"#{now - self._start}\n")
        for number, lit in enumerate(lamps):
            if not before or before[number] != lit:
                self._file.write(f"{int(lit)}{_MARKS[number]}\n")
        self._file.flush()

    def _head(self, now: WorldTime) -> None:
        names = "\n".join(
            f"$var wire 1 {_MARKS[number]} {name} $end" for number, name in enumerate(Leds._fields)
        )
        self._file.write(
            f"$date {now.iso()} $end\n$version smgw-emu $end\n$timescale 1 ns $end\n"
            f"$scope module smgw $end\n{names}\n$upscope $end\n$enddefinitions $end\n"
        )

    def close(self) -> None:
        """End the file."""
        self._file.close()
