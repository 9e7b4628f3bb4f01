"""The long frame of the wired M-Bus (EN 13757-2): ``68 L L 68 C A CI data CS 16``."""

from __future__ import annotations

import msgspec

from smgw_emu.core.errors import RemoteProtocolError

_START, _STOP = 0x68, 0x16


class LongFrame(msgspec.Struct, frozen=True):
    """A long frame: control, address, and what begins with the CI field."""

    control: int
    address: int
    payload: bytes


def decode_long_frame(data: bytes) -> LongFrame:
    """Read a long frame.

    Raises:
        RemoteProtocolError: another form, length or checksum.
    """
    if len(data) < 9 or data[0] != _START or data[3] != _START or data[-1] != _STOP:
        raise RemoteProtocolError("not an M-Bus long frame")
    if data[1] != data[2] or len(data) != data[1] + 6:
        raise RemoteProtocolError("the length fields of the M-Bus frame do not fit")
    body = data[4:-2]
    if sum(body) & 0xFF != data[-2]:
        raise RemoteProtocolError("wrong checksum of the M-Bus frame")
    return LongFrame(body[0], body[1], body[2:])
