"""The wake-up packet, version 1 (TR-03109-1 v1.0 Annex A, T45 and T46; ``wan.md`` 1.1).

===========  =======  =========================================================================
offset       octets   field
===========  =======  =========================================================================
0            2        header ``WU``
2            1        version 01
3            9        RecipientId: medium, three letters, block, number as uint32 MSB first
12           8        timestamp, seconds since 1970 UTC, signed; LSB first (see ByteOrder)
20           12       padding, twelve times 0B
32           1        signature format, 01 = r || s
33           1        n, length of the OID
34           n        OID content octets, ecdsa-plain-SHA256
34 + n       2 L      r and s, L octets each (L of the key's curve)
===========  =======  =========================================================================

Signed are the first 32 octets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from construct import Byte, Bytes, GreedyBytes, Prefixed, Struct

from smgw_emu.core.der import oid_content
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.ids import DeviceId

MARKER = b"WU\x01"
SIGNED_OCTETS = 32
PADDING = b"\x0b" * 12
PLAIN_FORMAT = 1
ECDSA_PLAIN_SHA256 = oid_content("0.4.0.127.0.7.1.1.4.1.3")  # TR-03111 5.2.1.1
MAX_OCTETS = 34 + 14 + 2 * 66

_LAYOUT = Struct(
    "header" / Bytes(2),
    "version" / Byte,
    "recipient" / Bytes(9),
    "timestamp" / Bytes(8),
    "padding" / Bytes(12),
    "signature_format" / Byte,
    "oid" / Prefixed(Byte, GreedyBytes),
    "signature" / GreedyBytes,
)
_PARSER = _LAYOUT.compile()  # four times faster than walking the description


class ByteOrder(StrEnum):
    """Order of the timestamp's octets: the text says little, its example shows big (WAN-N02)."""

    LITTLE = "little"
    BIG = "big"
    EITHER = "either"


class WakeupError(RemoteProtocolError):
    """The octets are not a wake-up packet of version 1."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A decoded packet; octet fields as on the wire."""

    recipient: bytes
    timestamp: bytes
    padding: bytes
    signature_format: int
    oid: bytes
    signature: bytes

    def times(self, order: ByteOrder = ByteOrder.EITHER) -> tuple[int, ...]:
        """Return the time or times the packet may mean, in seconds since 1970."""
        orders = ("little", "big") if order is ByteOrder.EITHER else (order.value,)
        return tuple(int.from_bytes(self.timestamp, item, signed=True) for item in orders)  # type: ignore[arg-type]

    def device(self) -> DeviceId | None:
        """Return the addressed device, None if the octets name none."""
        try:
            return DeviceId.from_server_id(b"\x0a" + self.recipient)
        except RemoteProtocolError:
            return None


def decode(data: bytes) -> Packet:
    """Read a packet.

    Raises:
        WakeupError: not "WU", another version, or too short for its fields.
    """
    if data[:3] != MARKER:
        raise WakeupError("not a wake-up packet of version 1")
    if len(data) > MAX_OCTETS:
        raise WakeupError(f"{len(data)} octets are more than a wake-up packet can have")
    oid_length = SIGNED_OCTETS + 1
    # the compiled parser does not check lengths itself
    if len(data) <= oid_length or len(data) < oid_length + 1 + data[oid_length]:
        raise WakeupError("truncated wake-up packet")
    fields = _PARSER.parse(data)
    return Packet(
        fields.recipient,
        fields.timestamp,
        fields.padding,
        fields.signature_format,
        fields.oid,
        fields.signature,
    )


def compose(
    device: DeviceId,
    seconds: int,
    sign: Callable[[bytes], bytes],
    order: ByteOrder = ByteOrder.LITTLE,
) -> bytes:
    """Return a packet.

    Args:
        device: the addressed gateway.
        seconds: creation time, seconds since 1970 UTC.
        sign: SHA-256 digest -> r || s.
        order: byte order of the timestamp; EITHER is sent as LITTLE.
    """
    wire = "big" if order is ByteOrder.BIG else "little"
    signed = _LAYOUT.build(
        {
            "header": MARKER[:2],
            "version": MARKER[2],
            "recipient": device.server_id[1:],
            "timestamp": seconds.to_bytes(8, wire, signed=True),  # type: ignore[arg-type]
            "padding": PADDING,
            "signature_format": PLAIN_FORMAT,
            "oid": ECDSA_PLAIN_SHA256,
            "signature": b"",
        }
    )
    signature = sign(hashlib.sha256(signed[:SIGNED_OCTETS]).digest())
    packet: bytes = signed + signature
    return packet


def expected_length(data: bytes, field_octets: int) -> int | None:
    """Return how long the packet that begins with ``data`` is (for TCP), None: not known yet."""
    if len(data) < SIGNED_OCTETS + 2:
        return None
    return SIGNED_OCTETS + 2 + data[SIGNED_OCTETS + 1] + 2 * field_octets
