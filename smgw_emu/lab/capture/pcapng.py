"""Captures of the wired LMN as pcapng, for Wireshark and scapy.

Link type 147 (``LINKTYPE_USER0``): there is none for HDLC format type 3, and this one is reserved
for private use (tcpdump.org/linktypes.html). Each packet is one HDLC frame with both flags, or the
octets between frames; ``epb_flags`` tell the direction (1 heard, 2 sent by the gateway). The block
layouts are those of the pcapng draft (section header, interface description, enhanced packet).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from lmn.hdlc.frame import FLAG, HEAD_LENGTH, LENGTH_MASK, MIN_FRAME, TYPE_3
from smgw_emu.core.instants import WorldTime
from smgw_emu.transport.clock import Clock

LINKTYPE_USER0 = 147
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_MAGIC = 0x1A2B3C4D
_IF_NAME, _TSRESOL, _FLAGS = 2, 9, 2
_INBOUND, _OUTBOUND = 1, 2


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _pad(value)


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return struct.pack("<II", kind, length) + body + struct.pack("<I", length)


class PcapngWriter:
    """Writes packets of one interface, times in nanoseconds.

    Args:
        file: where to.
        name: of the interface.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        head = struct.pack("<IHHq", _MAGIC, 1, 0, -1)
        options = _option(_IF_NAME, name.encode()) + _option(_TSRESOL, b"\x09") + bytes(4)
        interface = struct.pack("<HHI", LINKTYPE_USER0, 0, 0) + options
        file.write(_block(_SECTION, head) + _block(_INTERFACE, interface))

    def write(self, data: bytes, at: WorldTime, *, sent: bool) -> None:
        """Append a packet."""
        high, low = at.ns >> 32, at.ns & 0xFFFFFFFF
        head = struct.pack("<IIIII", 0, high, low, len(data), len(data))
        direction = _option(_FLAGS, struct.pack("<I", _OUTBOUND if sent else _INBOUND))
        self._file.write(_block(_PACKET, head + _pad(data) + direction + bytes(4)))


def split_frames(data: bytes) -> tuple[list[bytes], bytes]:
    """Cut octets into frames and what lies between; returns (pieces, incomplete rest)."""
    pieces: list[bytes] = []
    position = 0
    while position < len(data):
        if data[position] != FLAG:
            following = data.find(FLAG, position)
            end = len(data) if following < 0 else following
            pieces.append(data[position:end])
            position = end
            continue
        if len(data) - position < 3:
            break
        length = int.from_bytes(data[position + 1 : position + 3], "big")
        size = (length & LENGTH_MASK) + 2
        if length >> 11 != TYPE_3 or length & LENGTH_MASK < HEAD_LENGTH or size < MIN_FRAME:
            pieces.append(data[position : position + 1])
            position += 1
            continue
        if len(data) - position < size:
            break
        pieces.append(data[position : position + size])
        position += size
    return pieces, data[position:]


class LmnCapture:
    """What passes on a gateway's wired LMN, frame by frame.

    Args:
        path: the file; begun anew.
        clock: world time.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._file = path.open("wb")
        self._writer = PcapngWriter(self._file, "wired LMN")
        self._clock = clock
        self._rest: dict[bool, bytes] = {True: b"", False: b""}

    def note(self, _port: str, sent: bool, data: bytes) -> None:  # noqa: FBT001  # a direction
        """Take octets."""
        pieces, self._rest[sent] = split_frames(self._rest[sent] + data)
        for piece in pieces:
            self._writer.write(piece, self._clock.now(), sent=sent)
        self._file.flush()

    def close(self) -> None:
        """Write what is left and close."""
        for sent, rest in self._rest.items():
            if rest:
                self._writer.write(rest, self._clock.now(), sent=sent)
        self._file.close()
