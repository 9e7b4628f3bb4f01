"""SML transport layer v1: finds frames in a stream of octets, and builds them.

Frame (DIN VDE 0418-63-9 8.1; ``lmn-wired.md`` 2.1)::

    1B1B1B1B 01010101 | payload, 00-padded to a multiple of 4 | 1B1B1B1B 1A pp cc cc

``pp`` is the number of padding octets (0..3); the CRC covers everything from the first 1B to
``pp``, low octet first. Four octets 1B in the payload are doubled.

Theory of operation. A run of r octets 1B inside a frame holds r // 8 doubled escapes; of the rest
(r % 8), four or more mean that its last four are an escape and what precedes them is payload.
The octet after an escape says which: 1A ends the frame, 01010101 starts a new one (the tail of
the old one was lost), anything else is damage. After damage the search goes on behind the start
sequence of the damaged frame, so a good frame is never swallowed. The result does not depend on
how the stream is cut into chunks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lmn.crc import crc16_kermit, crc16_x25
from smgw_emu.core.errors import LocalProtocolError

ESCAPE = b"\x1b\x1b\x1b\x1b"
VERSION_1 = b"\x01\x01\x01\x01"
START = ESCAPE + VERSION_1
END_MARK = 0x1A
DEFAULT_MAX_FRAME = 65_536


class CrcKind(StrEnum):
    """Which checksum a meter uses."""

    X25 = "x25"
    KERMIT = "kermit"
    """Old Holley DTZ541: other CRC, octets in the other order."""


@dataclass(frozen=True, slots=True)
class SmlFile:
    """A frame with a good checksum: its payload without escapes and padding."""

    payload: bytes
    crc: CrcKind


@dataclass(frozen=True, slots=True)
class SmlDamage:
    """A frame that was begun and cannot be used; ``octets`` were dropped."""

    reason: str
    octets: int


SmlEvent = SmlFile | SmlDamage


class SmlReceiver:
    """Incremental receiver.

    Args:
        max_frame: longest frame in octets; longer ones are damage, memory stays below twice that.

    Attributes:
        noise: octets outside frames dropped so far.
    """

    __slots__ = ("_buffer", "_max_frame", "_scan", "noise")

    def __init__(self, max_frame: int = DEFAULT_MAX_FRAME) -> None:
        self._buffer = bytearray()
        self._max_frame = max_frame
        self._scan = 0
        self.noise = 0

    def receive(self, data: bytes) -> list[SmlEvent]:
        """Take octets; returns finished and damaged frames in order."""
        events: list[SmlEvent] = []
        # Slices keep the buffer small when somebody hands over a whole recording.
        for begin in range(0, len(data), self._max_frame):
            self._buffer += data[begin : begin + self._max_frame]
            while self._find_start() and self._advance(events):
                pass
        return events

    def _find_start(self) -> bool:
        """Bring a start sequence to the front of the buffer; False if there is none yet."""
        buffer = self._buffer
        if self._scan:
            return True
        at = buffer.find(START)
        if at < 0:
            at = max(0, len(buffer) - len(START) + 1)
            self.noise += at
            del buffer[:at]
            return False
        self.noise += at
        del buffer[:at]
        self._scan = len(START)
        return True

    def _advance(self, events: list[SmlEvent]) -> bool:
        """Look for the end of the frame at the front; True if one was finished or given up."""
        buffer, size = self._buffer, len(self._buffer)
        while True:
            at = buffer.find(ESCAPE, self._scan)
            if at < 0:
                self._scan = max(len(START), size - len(ESCAPE) + 1)
                break
            stop = at
            while stop < size and buffer[stop] == 0x1B:
                stop += 1
            if stop + 4 > size:
                self._scan = at
                break
            if (stop - at) % 8 < 4:
                self._scan = stop
                continue
            return self._escape(stop, events)
        if size > self._max_frame:
            self._drop(events, "frame too long", len(START))
            return True
        return False

    def _escape(self, control: int, events: list[SmlEvent]) -> bool:
        """Handle the escape whose control octets begin at ``control``."""
        buffer = self._buffer
        if control + 4 > self._max_frame:
            self._drop(events, "frame too long", len(START))
        elif buffer[control] == END_MARK:
            self._finish(control, events)
        elif buffer[control : control + 4] == VERSION_1:
            self._drop(events, "new start inside a frame", control - len(ESCAPE))
        else:
            self._drop(events, "unknown escape sequence", len(START))
        return True

    def _finish(self, control: int, events: list[SmlEvent]) -> None:
        end = control + 4
        frame = bytes(self._buffer[:end])
        kind = _checksum_kind(frame)
        padding = frame[control + 1]
        if kind is None:
            self._drop(events, "wrong checksum", len(START))
            return
        payload = frame[len(START) : control - len(ESCAPE)].replace(ESCAPE * 2, ESCAPE)
        if padding > 3 or padding > len(payload):
            self._drop(events, f"impossible padding {padding}", end)
            return
        events.append(SmlFile(payload[: len(payload) - padding], kind))
        del self._buffer[:end]
        self._scan = 0

    def _drop(self, events: list[SmlEvent], reason: str, octets: int) -> None:
        events.append(SmlDamage(reason, octets))
        del self._buffer[:octets]
        self._scan = 0


def _checksum_kind(frame: bytes) -> CrcKind | None:
    body, stored = frame[:-2], frame[-2:]
    if crc16_x25(body) == stored[0] | stored[1] << 8:
        return CrcKind.X25
    if crc16_kermit(body) == stored[0] << 8 | stored[1]:
        return CrcKind.KERMIT
    return None


def encode_frame(payload: bytes, crc: CrcKind = CrcKind.X25) -> bytes:
    """Wrap messages into one frame.

    Raises:
        LocalProtocolError: an empty payload.
    """
    if not payload:
        raise LocalProtocolError("an SML frame carries at least one message")
    escaped = payload.replace(ESCAPE, ESCAPE * 2)
    padding = -len(escaped) % 4
    head = START + escaped + bytes(padding) + ESCAPE + bytes((END_MARK, padding))
    if crc is CrcKind.X25:
        return head + crc16_x25(head).to_bytes(2, "little")
    return head + crc16_kermit(head).to_bytes(2, "big")
