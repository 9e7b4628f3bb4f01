"""Amber/Wuerth AMB8465-M and Metis sticks (``lmn-wireless.md`` 7.2).

``FF command length payload CS``; CS is the exclusive or of all octets before it. An answer is the
command with bit 7 set. With RSSI on, the last payload octet of a telegram is the level and counts
in the length. A module in transparent mode does not answer: it is told to use commands
(parameter 05), restarted, and asked again.
"""

from __future__ import annotations

from functools import reduce

from hardware.radio.stick import Damage, Event, Heard, Step, Stick
from smgw_emu.core.instants import WorldTime

START = 0xFF
_RECEIVED, _SET_MODE, _RESET, _SET, _GET, _FIRMWARE = 0x03, 0x04, 0x05, 0x09, 0x0A, 0x0C
_ANSWER = 0x80
_COMMAND_OUT, _RSSI_ENABLE = 0x05, 0x45
_T, _TC, _S, _C = 0x08, 0x09, 0x03, 0x0E  # T2 other, C2T2 other, S2, C2 other
_RESTART_MS = 500


def checksum(data: bytes) -> int:
    """Return the exclusive or of octets."""
    return reduce(lambda left, right: left ^ right, data, 0)


def packet(command: int, payload: bytes = b"") -> bytes:
    """Return a command with its checksum."""
    data = bytes((START, command, len(payload))) + payload
    return data + bytes((checksum(data),))


class Amber(Stick):
    """The driver."""

    BAUD = 9600
    NAME = "AMB8465"

    def __init__(self, modes: frozenset[str]) -> None:
        super().__init__(modes)
        self._levels = False

    def steps(self) -> list[Step]:
        """Ask for firmware and the RSSI setting, then set the mode (volatile)."""
        mode = _S if "S" in self.modes else _TC if self.modes >= {"T", "C"} else _T
        if self.modes == {"C"}:
            mode = _C
        wake = (
            Step("command mode", packet(_SET, bytes((_COMMAND_OUT, 1, 1))), _RESTART_MS),
            Step("restart", packet(_RESET), _RESTART_MS),
        )
        return [
            Step("firmware", packet(_FIRMWARE), fallback=wake),
            Step("RSSI setting", packet(_GET, bytes((_RSSI_ENABLE, 1)))),
            Step("mode", packet(_SET_MODE, bytes((mode,)))),
        ]

    def _packet(self, begun: WorldTime, now: WorldTime) -> list[Event]:
        data = self._buffer
        if data[0] != START:
            return self._drop_until(START, "octets between packets")
        if len(data) < 3 or len(data) < 4 + data[2]:
            return []
        whole = bytes(data[: 4 + data[2]])
        if checksum(whole[:-1]) != whole[-1]:
            return self._drop_until(START, "wrong checksum of the receiver's packet")
        del data[: len(whole)]
        return self._command(whole[1], whole[3:-1], begun, now)

    def _command(
        self, command: int, payload: bytes, begun: WorldTime, now: WorldTime
    ) -> list[Event]:
        if command == _RECEIVED:
            level = None
            if self._levels:
                payload, level = payload[:-1], payload[-1:]
            if len(payload) < 9:
                return [Damage("a telegram of impossible length", len(payload))]
            return [Heard(bytes((len(payload),)) + payload, "bare", begun, "", _dbm(level))]
        if command == _FIRMWARE | _ANSWER and len(payload) >= 2:
            self.text = f"{self.NAME}, firmware {payload[0]}.{payload[1]}"
            return self._answered(now, "firmware")
        if command == _GET | _ANSWER and len(payload) >= 3 and payload[0] == _RSSI_ENABLE:
            self._levels = bool(payload[2])
            return self._answered(now, "RSSI setting")
        if command == _SET_MODE | _ANSWER:
            return self._answered(now, "mode")
        return []


def _dbm(level: bytes | None) -> int | None:
    if not level:
        return None
    raw = level[0] - 256 if level[0] >= 128 else level[0]
    return round(raw / 2 - 74)
