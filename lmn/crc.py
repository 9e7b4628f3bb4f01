"""CRC-16 as HDLC and SML use it: reflected polynomial 0x1021.

Computed with the standard library: ``binascii.crc_hqx`` is the unreflected form of the same
polynomial, so octets and result are bit-reversed around it. Measured about 14 times faster than a
Python table (``lmn-wired.md`` section 5).
"""

from __future__ import annotations

from binascii import crc_hqx

_REVERSED = bytes(int(f"{octet:08b}"[::-1], 2) for octet in range(256))


def _reverse16(value: int) -> int:
    return _REVERSED[value & 0xFF] << 8 | _REVERSED[value >> 8]


def crc16_x25(data: bytes) -> int:
    """Return CRC-16/X.25 (init and final inversion); check("123456789") = 0x906E."""
    return _reverse16(crc_hqx(data.translate(_REVERSED), 0xFFFF)) ^ 0xFFFF


def crc16_kermit(data: bytes) -> int:
    """Return CRC-16/KERMIT (no inversions), used by old Holley meters; check = 0x2189."""
    return _reverse16(crc_hqx(data.translate(_REVERSED), 0))
