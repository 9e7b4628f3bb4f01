"""Keys of one message between a meter and the gateway (TR-03116-3 chapter 7.2).

``key = AES-CMAC(MK, code || counter || meter id || padding)``; the padding fills to whole blocks,
each of its octets telling their number, and is never empty. How counter and id are written belongs
to the interface: wireless as on air, LSB first; wired (SYM) MSB first with the ten-octet server id.
"""

from __future__ import annotations

from enum import IntEnum

from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC

from smgw_emu.core.errors import LocalProtocolError

_BLOCK = 16


class MeterKey(IntEnum):
    """First octet of the derivation; K: sent by the meter, L: sent by the gateway."""

    K_ENC = 0x00
    K_MAC = 0x01
    L_ENC = 0x10
    L_MAC = 0x11


def mac(key: bytes, data: bytes) -> bytes:
    """Return the AES-CMAC of 16 octets (RFC 4493).

    Raises:
        LocalProtocolError: the key is not 16 octets.
    """
    if len(key) != _BLOCK:
        raise LocalProtocolError(f"a meter key of {len(key)} octets instead of {_BLOCK}")
    made = CMAC(algorithms.AES(key))
    made.update(data)
    return made.finalize()


def pad(data: bytes) -> bytes:
    """Fill to whole blocks: 16 - (l mod 16) octets of that value."""
    count = _BLOCK - len(data) % _BLOCK
    return data + bytes((count,)) * count


def derive(master_key: bytes, which: MeterKey, counter: bytes, meter_id: bytes) -> bytes:
    """Return one key of a message.

    Args:
        master_key: MK, 16 octets, one per meter.
        which: encryption or MAC, and who sends.
        counter: transmission counter, four octets as the interface writes them.
        meter_id: as the interface writes it.

    Raises:
        LocalProtocolError: MK is not 16 octets, or the counter not four.
    """
    if len(counter) != 4:
        raise LocalProtocolError("a transmission counter has four octets")
    return mac(master_key, pad(bytes((which,)) + counter + meter_id))
