"""Line codes of the radio: 3-of-6 (mode T) and Manchester (mode S), ``lmn-wireless.md`` 1.1.

Chips are octets of value 0 or 1, one per chip, first chip first.
"""

from __future__ import annotations

from smgw_emu.core.errors import RemoteProtocolError

# nibble -> six chips (ST, RTL); every word has three ones
THREE_OF_SIX = (
    0x16, 0x0D, 0x0E, 0x0B, 0x1C, 0x19, 0x1A, 0x13, 0x2C, 0x25, 0x26, 0x23, 0x34, 0x31, 0x32, 0x29,
)  # fmt: skip


def bits(value: int, count: int) -> bytes:
    """Return the lowest ``count`` bits of a number as chips, highest first."""
    return bytes((value >> at) & 1 for at in range(count - 1, -1, -1))


_WORDS = {bits(word, 6): nibble for nibble, word in enumerate(THREE_OF_SIX)}
_SIX = tuple(bits(word, 6) for word in THREE_OF_SIX)
_MANCHESTER = {b"\x00\x01": 1, b"\x01\x00": 0}


def encode_three_of_six(data: bytes) -> bytes:
    """Return the chips of octets: high nibble first."""
    return b"".join(_SIX[octet >> 4] + _SIX[octet & 0x0F] for octet in data)


def decode_three_of_six(chips: bytes) -> bytes:
    """Return the octets of chips; what does not fill an octet is left.

    Raises:
        RemoteProtocolError: six chips are no code word.
    """
    try:
        return bytes(
            _WORDS[chips[at : at + 6]] << 4 | _WORDS[chips[at + 6 : at + 12]]
            for at in range(0, len(chips) - 11, 12)
        )
    except KeyError as error:
        raise RemoteProtocolError("no code word of 3-of-6") from error


def encode_manchester(data: bytes) -> bytes:
    """Return the chips of octets: a one is 01, a zero 10."""
    return b"".join(
        b"\x00\x01" if (octet >> at) & 1 else b"\x01\x00"
        for octet in data
        for at in range(7, -1, -1)
    )


def decode_manchester(chips: bytes) -> bytes:
    """Return the octets of chips; what does not fill an octet is left.

    Raises:
        RemoteProtocolError: two equal chips.
    """
    found = bytearray()
    try:
        for start in range(0, len(chips) - 15, 16):
            octet = 0
            for at in range(start, start + 16, 2):
                octet = octet << 1 | _MANCHESTER[chips[at : at + 2]]
            found.append(octet)
    except KeyError as error:
        raise RemoteProtocolError("no Manchester code") from error
    return bytes(found)


def encode_nrz(data: bytes) -> bytes:
    """Return the chips of octets, one per bit (mode C)."""
    return b"".join(bits(octet, 8) for octet in data)


def decode_nrz(chips: bytes) -> bytes:
    """Return the octets of chips."""
    return bytes(_octet(chips[at : at + 8]) for at in range(0, len(chips) - 7, 8))


def _octet(chips: bytes) -> int:
    value = 0
    for chip in chips:
        value = value << 1 | chip
    return value
