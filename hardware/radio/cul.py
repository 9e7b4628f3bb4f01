"""CUL and nanoCUL with culfw (``lmn-wireless.md`` 7.3).

Lines: ``b<frame of format A with checksums><LQI><RSSI>``, ``bY...`` for format B, all in hex.
"""

from __future__ import annotations

from hardware.radio.stick import Damage, Event, Heard, LineStick, Mode, Step, unhex
from smgw_emu.core.instants import WorldTime


class Cul(LineStick):
    """The driver."""

    BAUD = 38_400
    NAME = "CUL"

    def steps(self) -> list[Step]:
        """Ask for the version, set mode and reports with levels.

        One mode at a time: T before C, as it is what a gateway must hear.
        """
        letter = "s" if "S" in self.modes else "t" if "T" in self.modes else "c"
        return [
            Step("version", b"V\r\n"),
            Step("mode", f"br{letter}\r\n".encode()),
            Step("reports", b"X21\r\n", skip_ms=100),
        ]

    @property
    def _mode(self) -> Mode:
        return "S" if "S" in self.modes else "T" if "T" in self.modes else "C"

    def _line(self, line: bytes, begun: WorldTime, now: WorldTime) -> list[Event]:
        if line[:1] == b"V":
            self.text = line.decode("ascii", "replace")[:60]
            return self._answered(now, "version")
        if line in {b"SMODE", b"TMODE", b"CMODE"}:
            return self._answered(now, "mode")
        if line[:1] != b"b":
            return [Damage("a line that is no telegram", len(line))]
        second = line[1:2] == b"Y"
        data = unhex(line[2 if second else 1 :])
        if data is None or len(data) < 14:
            return [Damage("a line that is no telegram", len(line))]
        level = data[-1] - 256 if data[-1] >= 128 else data[-1]
        mode: Mode = "C" if second else self._mode
        form = "B" if second else "A"
        return [Heard(data[:-2], form, begun, mode, round(level / 2 - 74))]  # type: ignore[arg-type]
