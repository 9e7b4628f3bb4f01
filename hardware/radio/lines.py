"""Receivers that need no start-up: ``rtl_wmbus`` (a radio in software) and plain hex lines.

``rtl_wmbus``: ``MODE;CRC_OK;3OUTOF6OK;TIME;PACKET_RSSI;RSSI;ID;0xHEX``, checksums taken out
(``lmn-wireless.md`` 7.5). Hex lines: a frame per line, with checksums of format A or B or without;
what stands after a blank or ``#`` is a comment.
"""

from __future__ import annotations

from hardware.radio.stick import Damage, Event, Heard, LineStick, Mode, Step, unhex
from smgw_emu.core.instants import WorldTime

_FIELDS = 8
_RTL_MODES: dict[bytes, Mode] = {b"S1": "S", b"T1": "T", b"C1": "C"}


class RtlWmbusLines(LineStick):
    """Lines of ``rtl_wmbus``."""

    BAUD = 115_200
    NAME = "rtl_wmbus"

    def steps(self) -> list[Step]:
        """Return none: the program only talks."""
        return []

    def _line(self, line: bytes, begun: WorldTime, now: WorldTime) -> list[Event]:
        del now
        fields = line.split(b";")
        if len(fields) < _FIELDS or fields[0] not in _RTL_MODES or fields[7][:2] != b"0x":
            return [Damage("a line that is no telegram", len(line))]
        if fields[1] != b"1" or fields[2] != b"1":
            return [Damage("a telegram with a wrong checksum", len(line))]
        data = unhex(fields[7][2:])
        if not data:
            return [Damage("a line that is no telegram", len(line))]
        return [Heard(data, "bare", begun, _RTL_MODES[fields[0]])]


class HexLines(LineStick):
    """A frame per line."""

    BAUD = 115_200
    NAME = "hex lines"

    def steps(self) -> list[Step]:
        """Return none."""
        return []

    def _line(self, line: bytes, begun: WorldTime, now: WorldTime) -> list[Event]:
        del now
        digits = line.split(b"#")[0].split()
        if not digits:
            return []
        data = unhex(digits[0])
        if not data or len(data) < 10:
            return [Damage("a line that is no telegram", len(line))]
        return [Heard(data, "any", begun)]
