"""Device identifications of DIN 43863-5 / DIN 43849 and their server-id form.

Text: medium (one character), three letters of the manufacturer, two hex digits of the block,
eight decimal digits, e.g. ``1EMH0004911613`` or ``ETHE0300004261``.
Server id (Detailspezifikation v2.0 figure 8.3), ten octets: ``0A``, medium, three ASCII letters,
block, number as unsigned 32 bit, most significant octet first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from smgw_emu.core.errors import RemoteProtocolError

_TEXT = re.compile(r"([0-9A-F])([A-Z]{3})([0-9A-F]{2})([0-9]{8})", re.ASCII)
_SERVER_ID_PREFIX = 0x0A
MEDIUM_GATEWAY = 0xE


@dataclass(frozen=True, slots=True)
class DeviceId:
    """A manufacturer-independent device identification.

    Attributes:
        medium: 1 electricity, 7 gas, 8/9 water, E communication (gateway).
        manufacturer: three upper-case letters (FLAG id).
        block: manufacturer's block, 0..255.
        number: serial number, 0..99 999 999.
    """

    medium: int
    manufacturer: str
    block: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the 14-character form; case and blanks do not matter.

        Raises:
            RemoteProtocolError: another form.
        """
        match = _TEXT.fullmatch(text.replace(" ", "").upper())
        if match is None:
            raise RemoteProtocolError(f"not a device id of DIN 43863-5: {text[:40]!r}")
        medium, manufacturer, block, number = match.groups()
        return cls(int(medium, 16), manufacturer, int(block, 16), int(number))

    @classmethod
    def from_server_id(cls, octets: bytes) -> Self:
        """Read the ten-octet server id.

        Raises:
            RemoteProtocolError: another length, prefix or content.
        """
        if len(octets) != 10 or octets[0] != _SERVER_ID_PREFIX:
            raise RemoteProtocolError(f"not a server id of DIN 43863-5: {octets[:16].hex()}")
        letters, number = octets[2:5], int.from_bytes(octets[6:10], "big")
        if octets[1] > 0xF or number > 99_999_999 or not all(65 <= c <= 90 for c in letters):
            raise RemoteProtocolError(f"server id out of range: {octets.hex()}")
        return cls(octets[1], letters.decode("ascii"), octets[5], number)

    @property
    def server_id(self) -> bytes:
        """The ten-octet form."""
        head = bytes((_SERVER_ID_PREFIX, self.medium)) + self.manufacturer.encode("ascii")
        return head + bytes((self.block,)) + self.number.to_bytes(4, "big")

    def __str__(self) -> str:
        return f"{self.medium:X}{self.manufacturer}{self.block:02X}{self.number:08d}"

    @property
    def lower(self) -> str:
        """The form of URLs, realms and logical names (GW-N01)."""
        return str(self).lower()
