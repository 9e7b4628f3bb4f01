"""Radiocrafts RC1180-MBUS3 (``lmn-wireless.md`` 7.4).

``00`` enters the configuration, ``0`` dumps its 256 octets, ``M address value FF`` writes, ``X``
leaves; each is answered by ``>``. Telegrams come as ``L C M A CI ... {RSSI}``, without checksums
and without a start octet: a pause ends what was cut off.
"""

from __future__ import annotations

from hardware.radio.stick import Damage, Event, Heard, Step, Stick
from smgw_emu.core.instants import MILLISECOND, WorldTime

_PROMPT = ord(">")
_MODE, _RSSI = 0x03, 0x05  # registers
_TC, _T, _C, _S = 10, 1, 9, 3  # MBUS3
_DUMP = 256
_PAUSE = 200 * MILLISECOND  # own choice; an octet takes 0.5 ms at 19 200 baud


class Rc1180(Stick):
    """The driver."""

    BAUD = 19_200
    NAME = "RC1180"

    def __init__(self, modes: frozenset[str]) -> None:
        super().__init__(modes)
        self._levels = False
        self._last: WorldTime | None = None

    def steps(self) -> list[Step]:
        """Read the configuration, set the mode, leave."""
        mode = _S if "S" in self.modes else _TC if self.modes >= {"T", "C"} else _T
        if self.modes == {"C"}:
            mode = _C
        return [
            Step("configuration", b"\x00"),
            Step("registers", b"0"),
            Step("mode", bytes((ord("M"), _MODE, mode, 0xFF))),
            Step("leaving", b"X", skip_ms=100),
        ]

    def receive(self, data: bytes, now: WorldTime) -> list[Event]:
        """Take octets; a pause between them ends a packet."""
        events: list[Event] = []
        if self._buffer and self._last is not None and now - self._last > _PAUSE:
            events.append(Damage("a telegram was cut off", len(self._buffer)))
            self._buffer.clear()
        self._last = now
        return events + super().receive(data, now)

    def _packet(self, begun: WorldTime, now: WorldTime) -> list[Event]:
        if self._steps and self._steps[0].name != "leaving":
            return self._answer(self._steps[0].name, now)
        data = self._buffer
        length = data[0]
        if length < 9:
            del data[:1]
            return [Damage("octets between telegrams", 1)]
        end = 1 + length + (1 if self._levels else 0)
        if len(data) < end:
            return []
        level = (
            -data[end - 1] // 2 if self._levels else None
        )  # -0.5 dBm a step: RC1180 data sheet [S]
        frame = bytes(data[: 1 + length])
        del data[:end]
        return [Heard(frame, "bare", begun, "", level)]

    def _answer(self, step: str, now: WorldTime) -> list[Event]:
        data = self._buffer
        if step == "registers":
            if len(data) < _DUMP + 1:
                return []
            self._levels = bool(data[_RSSI])
            good = data[_DUMP] == _PROMPT
            data.clear()
            self.text = f"{self.NAME}, RSSI {'on' if self._levels else 'off'}"
            return self._answered(now, step) if good else [Damage("no prompt", _DUMP)]
        prompt = _PROMPT in data
        data.clear()
        return self._answered(now, step) if prompt else []
