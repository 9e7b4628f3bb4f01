"""Frames in a stream of octets, whatever else is in it (``lmn-wired.md`` 1.2).

Theory of operation. Without stuffing only the length field delimits, so the receiver looks for 7E,
then the type nibble, then the length, then the HCS, and only then trusts the length. What fails is
dropped one octet at a time, so that a frame behind or inside garbage is found. A closing flag may
be the opening flag of the next frame. A frame with a good HCS and a closing flag where it belongs,
but a wrong FCS, is dropped as a whole.

The moment of a frame is when its first octet came (Detailspezifikation v2.0 REQ.TLSHDLC.SMGW.50).
A frame that stops in the middle for longer than the gap is over.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from fastcrc.crc16 import ibm_sdlc as _crc

from lmn.hdlc.frame import (
    FLAG,
    HEAD_LENGTH,
    LENGTH_MASK,
    TYPE_3,
    Frame,
    decode_frame,
)
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import MILLISECOND, WorldTime
from smgw_emu.profiles import LmnBus

_HCS_END = 10  # octets from the opening flag to the end of the HCS


@dataclass(frozen=True, slots=True)
class Received:
    """A frame and the moment of its first octet."""

    frame: Frame
    at: WorldTime


@dataclass(frozen=True, slots=True)
class HdlcDamage:
    """Octets that belong to no good frame, and the first reason."""

    octets: int
    reason: str


class HdlcReceiver:
    """Finds frames.

    Args:
        rules: address order, longest information, gap.
    """

    def __init__(self, rules: LmnBus) -> None:
        self._sap_first = rules.sap_first
        self._max_length = HEAD_LENGTH + 2 + rules.accept_information
        self._gap = rules.gap_ms * MILLISECOND
        self._buffer = bytearray()
        self._marks: list[int] = []  # where in the buffer a piece begins ...
        self._times: list[WorldTime] = []  # ... and when it came
        self._last = WorldTime(0)
        self._dropped = 0
        self._reason = ""
        self._shared = False  # the first octet in the buffer closed the last frame

    @property
    def pending(self) -> int:
        """Octets of a frame that is not complete."""
        return len(self._buffer) - self._shared

    def receive(self, data: bytes, now: WorldTime) -> list[Received | HdlcDamage]:
        """Take octets that came at ``now``."""
        events: list[Received | HdlcDamage] = []
        if self._buffer and now - self._last > self._gap:
            events += self._scan(final=True)
        self._last = now
        self._marks.append(len(self._buffer))
        self._times.append(now)
        self._buffer += data
        return events + self._scan(final=False)

    def reset(self) -> list[Received | HdlcDamage]:
        """Give up an incomplete frame: the line has been silent."""
        return self._scan(final=True)

    # -- inner steps -----------------------------------------------------------------------

    def _scan(self, *, final: bool) -> list[Received | HdlcDamage]:
        events: list[Received | HdlcDamage] = []
        buffer, position = self._buffer, 0
        while True:
            found = buffer.find(FLAG, position)
            if found != position:
                end = len(buffer) if found < 0 else found
                self._drop(end - position, "octets between frames")
                self._shared = False
                position = end
            if found < 0:
                break
            length = self._candidate(position)
            if length is None:  # not enough octets to tell
                if not final:
                    break
                length = 0
                self._reason = self._reason or "frame cut off"
            if length == 0:
                if not self._shared:
                    self._drop(1, "")
                self._shared = False
                position += 1
                continue
            if self._dropped:
                events.append(self._damage())
            events += self._take(position, length)
            position += length + 1
            self._shared = True
        self._forget(position)
        # flags between frames are no damage: only complete losses are told
        if self._dropped and (final or not self._buffer):
            events.append(self._damage())
        return events

    def _candidate(self, start: int) -> int | None:
        """Return L of a frame that begins here and is whole, 0 for none, None to wait."""
        buffer, there = self._buffer, len(self._buffer) - start
        if there < 2:
            return None
        if buffer[start + 1] == FLAG:  # two flags between frames
            self._shared = True
            return 0
        if buffer[start + 1] >> 3 != TYPE_3:
            return self._refuse("no format type 3")
        if there < 3:
            return None
        length = (buffer[start + 1] << 8 | buffer[start + 2]) & LENGTH_MASK
        if length > self._max_length or length < HEAD_LENGTH or 0 < length - HEAD_LENGTH < 3:
            return self._refuse(f"length {length}")
        if there < _HCS_END:
            return None
        stored = buffer[start + 8] | buffer[start + 9] << 8
        if _crc(bytes(buffer[start + 1 : start + 8])) != stored:
            return self._refuse("wrong HCS")
        if there < length + 2:
            return None
        if buffer[start + length + 1] != FLAG:
            return self._refuse("no closing flag")
        return length

    def _refuse(self, reason: str) -> int:
        self._reason = self._reason or reason
        return 0

    def _take(self, start: int, length: int) -> list[Received | HdlcDamage]:
        data = bytes(self._buffer[start : start + length + 2])
        try:
            frame = decode_frame(data, sap_first=self._sap_first)
        except RemoteProtocolError as error:
            return [HdlcDamage(len(data), str(error))]
        first = start + self._shared  # a shared flag came with the frame before
        return [Received(frame, self._times[bisect_right(self._marks, first) - 1])]

    def _drop(self, count: int, reason: str) -> None:
        self._dropped += count
        self._reason = self._reason or reason

    def _damage(self) -> HdlcDamage:
        event = HdlcDamage(self._dropped, self._reason or "octets between frames")
        self._dropped, self._reason = 0, ""
        return event

    def _forget(self, position: int) -> None:
        """Drop what has been looked at; keep the closing flag of the last frame."""
        if position >= len(self._buffer):
            self._buffer.clear()
            self._marks.clear()
            self._times.clear()
            self._shared = False
            return
        del self._buffer[:position]
        keep = bisect_right(self._marks, position) - 1
        self._marks = [max(0, mark - position) for mark in self._marks[keep:]]
        del self._times[:keep]
