"""Data link layer of EN 13757-4: frame formats A and B, header, addresses (``lmn-wireless.md`` 1).

Without checksums both formats are ``L C M(2) A(6) CI ...``, L counting what follows; this *bare*
form is what the rest of the package works on. On air:

* A: ``L C M A`` + CRC, then blocks of 16 octets + CRC; L counts no checksums.
* B: ``L C M A`` and up to 116 octets + CRC over both; a second block of up to 126 octets + CRC; L
  counts the checksums.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import pairwise
from typing import Literal, Self

import msgspec
from fastcrc import crc16

from smgw_emu.core.errors import RemoteProtocolError

Format = Literal["A", "B"]
MIN_LENGTH = 9  # C, M, A
_FIRST, _BLOCK = 10, 16  # octets of format A's blocks
_B_FIRST, _B_SECOND = 126, 126  # octets of format B's blocks before their CRC


class Control(IntEnum):
    """C field: what a frame is for."""

    SND_NKE = 0x40
    SND_UD2 = 0x43
    SND_NR = 0x44
    SND_UD3 = 0x45
    SND_IR = 0x46
    ACC_NR = 0x47
    ACC_DMD = 0x48
    ACK = 0x00
    CNF_IR = 0x06
    RSP_UD = 0x08


_NAMES = {
    0x53: "SND-UD", 0x73: "SND-UD", 0x5A: "REQ-UD1", 0x7A: "REQ-UD1", 0x5B: "REQ-UD2",
    0x7B: "REQ-UD2", 0x10: "ACK", 0x20: "ACK", 0x30: "ACK", 0x01: "NACK", 0x18: "RSP-UD",
    0x28: "RSP-UD", 0x38: "RSP-UD",
} | {control.value: control.name.replace("_", "-") for control in Control}  # fmt: skip

# EN 13757-7 device types
TYPES = {
    0x00: "other", 0x01: "oil", 0x02: "electricity", 0x03: "gas", 0x04: "heat (return)",
    0x05: "steam", 0x06: "warm water", 0x07: "water", 0x08: "heat cost allocator",
    0x09: "compressed air", 0x0A: "cooling (return)", 0x0B: "cooling (inlet)",
    0x0C: "heat (inlet)", 0x0D: "heat and cooling", 0x14: "calorific value", 0x15: "hot water",
    0x16: "cold water", 0x17: "dual water", 0x18: "pressure", 0x1A: "smoke detector",
    0x1B: "room sensor", 0x1C: "gas detector", 0x20: "breaker", 0x21: "valve",
    0x25: "display", 0x28: "waste water", 0x31: "communication controller",
    0x32: "repeater", 0x33: "repeater", 0x36: "radio converter (system)",
    0x37: "radio converter (meter)", 0x38: "wired adapter",
}  # fmt: skip

# DIN 43863-5 medium of a device type [I]
MEDIA = {
    0x02: 1, 0x08: 4, 0x0A: 5, 0x0B: 5, 0x04: 6, 0x0C: 6, 0x0D: 6, 0x03: 7, 0x07: 8, 0x16: 8,
    0x06: 9, 0x15: 9,
}  # fmt: skip
OTHER_MEDIUM = 0xF


def control_name(control: int) -> str:
    """Return the name of a C field."""
    return _NAMES.get(control, f"C {control:02X}")


def manufacturer_code(letters: str) -> bytes:
    """Return the two octets of three letters, LSB first: five bits each, A = 1.

    Raises:
        RemoteProtocolError: not three letters A to Z.
    """
    if len(letters) != 3 or not all("A" <= letter <= "Z" for letter in letters):
        raise RemoteProtocolError(f"not a manufacturer: {letters[:8]!r}")
    first, second, third = (ord(letter) - 64 for letter in letters)
    return (first << 10 | second << 5 | third).to_bytes(2, "little")


def manufacturer_letters(code: bytes) -> str:
    """Return the three letters of a manufacturer's code."""
    value = int.from_bytes(code, "little")
    return "".join(chr(64 + ((value >> shift) & 0x1F)) for shift in (10, 5, 0))


class Address(msgspec.Struct, frozen=True):
    """A meter's address; ``octets``: ``M(2) ID(4) VER TYP`` as in a link header."""

    octets: bytes

    @classmethod
    def of(cls, manufacturer: str, number: str, version: int, device_type: int) -> Self:
        """Make an address of its parts; ``number`` has eight digits.

        Raises:
            RemoteProtocolError: a part is out of range.
        """
        try:
            identification = bytes.fromhex(number)[::-1]
        except ValueError as error:
            raise RemoteProtocolError(f"not a meter's number: {number[:16]!r}") from error
        if len(identification) != 4 or not (0 <= version <= 255 and 0 <= device_type <= 255):
            raise RemoteProtocolError(f"not a meter's address: {number[:16]!r}")
        return cls(manufacturer_code(manufacturer) + identification + bytes((version, device_type)))

    @property
    def manufacturer(self) -> str:
        """Three letters."""
        return manufacturer_letters(self.octets[:2])

    @property
    def identification(self) -> bytes:
        """Four octets of BCD as on air."""
        return self.octets[2:6]

    @property
    def number(self) -> str:
        """Eight digits."""
        return self.octets[5:1:-1].hex().upper()

    @property
    def version(self) -> int:
        """Version (generation) of the meter."""
        return self.octets[6]

    @property
    def device_type(self) -> int:
        """What it measures (EN 13757-7)."""
        return self.octets[7]

    @property
    def type_name(self) -> str:
        """The device type in words."""
        return TYPES.get(self.device_type, f"type {self.device_type:02X}")

    @property
    def device_id(self) -> str:
        """DIN 43863-5 id in lower case: medium, manufacturer, version as block, number [I]."""
        medium = MEDIA.get(self.device_type, OTHER_MEDIUM)
        return f"{medium:X}{self.manufacturer}{self.version:02X}{self.number}".lower()

    def __str__(self) -> str:
        return f"{self.manufacturer}-{self.number}-{self.version:02X}-{self.device_type:02X}"


def check(data: bytes) -> bytes:
    """Return the CRC of EN 13757 over octets, as on air (big-endian)."""
    return int(crc16.en_13757(data)).to_bytes(2, "big")


def air_length(length: int, form: Format) -> int:
    """Return how many octets a frame with this L field has on air."""
    if form == "B":
        return length + 1
    return 1 + length + 2 * (1 + max(0, -(-(length - MIN_LENGTH) // _BLOCK)))


def decode_a(data: bytes) -> bytes:
    """Take the checksums out of a frame of format A.

    Raises:
        RemoteProtocolError: another length, or a checksum is wrong.
    """
    if len(data) < _FIRST + 2 or data[0] < MIN_LENGTH or len(data) != air_length(data[0], "A"):
        raise RemoteProtocolError("the frame's length does not fit format A")
    blocks: list[bytes] = []
    at, size = 0, _FIRST
    while at < len(data):
        end = min(at + size, len(data) - 2)
        block = data[at:end]
        if data[end : end + 2] != check(block):
            raise RemoteProtocolError(f"wrong checksum of block {len(blocks) + 1}")
        blocks.append(block)
        at, size = end + 2, _BLOCK
    return b"".join(blocks)


def encode_a(bare: bytes) -> bytes:
    """Put checksums into a bare frame, format A."""
    cuts = [0, *range(_FIRST, len(bare), _BLOCK), len(bare)]
    blocks = [bare[begin:end] for begin, end in pairwise(cuts)]
    return b"".join(block + check(block) for block in blocks if block)


def decode_b(data: bytes) -> bytes:
    """Take the checksums out of a frame of format B; L becomes that of the bare frame.

    Raises:
        RemoteProtocolError: another length, or a checksum is wrong.
    """
    if len(data) < _FIRST + 2 or len(data) != data[0] + 1:
        raise RemoteProtocolError("the frame's length does not fit format B")
    first, rest = data[: _B_FIRST + 2], data[_B_FIRST + 2 :]
    bare = b""
    for number, block in enumerate(part for part in (first, rest) if part):
        if len(block) < 3 or len(block) > _B_SECOND + 2 or block[-2:] != check(block[:-2]):
            raise RemoteProtocolError(f"wrong checksum of block {number + 1}")
        bare += block[:-2]
    return bytes((len(bare) - 1,)) + bare[1:]


def encode_b(bare: bytes) -> bytes:
    """Put checksums into a bare frame, format B.

    Raises:
        RemoteProtocolError: longer than 252 octets.
    """
    count = 1 if len(bare) <= _B_FIRST else 2
    if len(bare) > _B_FIRST + _B_SECOND:
        raise RemoteProtocolError("the frame is too long for format B")
    bare = bytes((len(bare) - 1 + 2 * count,)) + bare[1:]
    blocks = [bare[:_B_FIRST], bare[_B_FIRST:]][:count]
    return b"".join(block + check(block) for block in blocks)


def decode_air(data: bytes, form: Format) -> bytes:
    """Return the bare frame of one on air.

    Raises:
        RemoteProtocolError: it is damaged.
    """
    return decode_a(data) if form == "A" else decode_b(data)


def strip_checksums(data: bytes) -> tuple[bytes, Literal["", "A", "B"]]:
    """Find out which format a frame has: the bare frame and its format, "" if it had no checksums.

    Raises:
        RemoteProtocolError: it fits no form.
    """
    if not data or len(data) != data[0] + 1:
        return decode_a(data), "A"
    try:
        return decode_b(data), "B"  # a bare frame has such checksums once in 65 536
    except RemoteProtocolError:
        return data, ""


def encode_air(bare: bytes, form: Format) -> bytes:
    """Return a bare frame as it is on air."""
    return encode_a(bare) if form == "A" else encode_b(bare)


class LinkFrame(msgspec.Struct, frozen=True):
    """A bare frame, taken apart: control, sender, and what begins with the CI field."""

    control: int
    address: Address
    payload: bytes


def parse_link(bare: bytes) -> LinkFrame:
    """Read a bare frame.

    Raises:
        RemoteProtocolError: too short, or L does not fit.
    """
    if len(bare) <= MIN_LENGTH or len(bare) != bare[0] + 1:
        raise RemoteProtocolError("the L field does not fit the frame")
    return LinkFrame(bare[1], Address(bare[2:10]), bare[10:])


def encode_link(control: int, address: Address, payload: bytes) -> bytes:
    """Return a bare frame.

    Raises:
        RemoteProtocolError: the payload is too long.
    """
    body = bytes((control,)) + address.octets + payload
    if len(body) > 255:
        raise RemoteProtocolError(f"a radio frame holds 255 octets, not {len(body)}")
    return bytes((len(body),)) + body
