"""The 48-octet NTP header (RFC 5905 7.3; Detailspezifikation v2.0 chapter 14): nothing else.

``LI 2 bit | VN 3 | mode 3, stratum, poll, precision`` (signed octets), root delay and dispersion as
16.16 fixed point, reference id, then reference, origin, receive and transmit timestamps as 32.32
fixed point seconds since 1900, whose era turns over in 2036.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.instants import SECOND

OCTETS = 48
VERSION = 4
CLIENT, SERVER = 3, 4
LEAP_UNKNOWN = 3
_LAYOUT = struct.Struct(">BBbb4s4s4s8s8s8s8s")
_EPOCH_1900 = 2_208_988_800  # seconds from 1900 to 1970
_ERA = 1 << 32


class NtpError(RemoteProtocolError):
    """Not an NTP header."""


class Timestamp(NamedTuple):
    """A 64-bit NTP timestamp as on the wire."""

    octets: bytes

    @classmethod
    def from_ns(cls, ns: int) -> Timestamp:
        """Build from nanoseconds since 1970."""
        seconds, rest = divmod(ns, SECOND)
        fraction = (rest << 32) // SECOND
        return cls(struct.pack(">II", (seconds + _EPOCH_1900) % _ERA, fraction))

    def ns(self, near: int) -> int:
        """Return nanoseconds since 1970 in the era closest to ``near``."""
        seconds, fraction = struct.unpack(">II", self.octets)
        base = seconds - _EPOCH_1900
        eras = round((near / SECOND - base) / _ERA)
        return int((base + eras * _ERA) * SECOND + (fraction * SECOND >> 32))


ZERO = Timestamp(bytes(8))


@dataclass(frozen=True, slots=True)
class NtpPacket:
    """One header.

    Attributes:
        leap: 0 none, 1 and 2 a leap second is due, 3 not synchronised.
        version: 4 on this interface.
        mode: 3 client, 4 server.
        stratum: distance from the reference clock.
        poll: log2 of the poll interval in seconds.
        precision: log2 of the precision in seconds.
        root_delay: 16.16 fixed point seconds, four octets.
        root_dispersion: same.
        reference_id: four octets.
        reference: when the server's clock was last set.
        origin: the client's transmit timestamp sent back.
        receive: when the request arrived.
        transmit: when the packet left.
    """

    leap: int = 0
    version: int = VERSION
    mode: int = CLIENT
    stratum: int = 0
    poll: int = 0
    precision: int = 0
    root_delay: bytes = bytes(4)
    root_dispersion: bytes = bytes(4)
    reference_id: bytes = bytes(4)
    reference: Timestamp = ZERO
    origin: Timestamp = ZERO
    receive: Timestamp = ZERO
    transmit: Timestamp = ZERO

    def encode(self) -> bytes:
        """Return the 48 octets."""
        return _LAYOUT.pack(
            self.leap << 6 | self.version << 3 | self.mode,
            self.stratum,
            self.poll,
            self.precision,
            self.root_delay,
            self.root_dispersion,
            self.reference_id,
            self.reference.octets,
            self.origin.octets,
            self.receive.octets,
            self.transmit.octets,
        )

    @property
    def max_error_ns(self) -> int:
        """Root delay / 2 + root dispersion in nanoseconds."""
        delay, dispersion = (
            int.from_bytes(item, "big") for item in (self.root_delay, self.root_dispersion)
        )
        return (delay // 2 + dispersion) * SECOND >> 16


def decode(data: bytes) -> NtpPacket:
    """Read a header.

    Raises:
        NtpError: not exactly 48 octets.
    """
    if len(data) != OCTETS:
        raise NtpError(f"{len(data)} octets instead of {OCTETS}")
    first, stratum, poll, precision, delay, dispersion, reference_id, *times = _LAYOUT.unpack(data)
    return NtpPacket(
        first >> 6,
        first >> 3 & 7,
        first & 7,
        stratum,
        poll,
        precision,
        delay,
        dispersion,
        reference_id,
        *(Timestamp(item) for item in times),
    )
