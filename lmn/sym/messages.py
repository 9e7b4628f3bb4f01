"""One SYM message in an I frame (``lmn-wired.md`` 1.5; TR-03116-3 chapter 7).

::

    0 1   type: request 01..07, its answer type | 80
    1 4   length of the whole message, most significant octet first
    5 4   transmission counter, most significant octet first
    9 m   AES-128-CBC ciphertext, IV 0 (each key is used once); absent without data
      16  AES-CMAC over everything before it

Keys: Lenc, Lmac for messages of the gateway, Kenc, Kmac for those of the meter, derived from MK,
counter and meter id (:mod:`hsm_sim.meter_keys`). Counter and id are under the MAC: the id by way of
the key.

Two readings of ``length`` exist in the one public implementation: with the padding, and without
it. Both are accepted; what is sent is a setting. Data that fill whole blocks may come without
the extra block of padding. The padding is looked at only after the MAC has been verified.
"""

from __future__ import annotations

import hmac
import struct
from enum import IntEnum, StrEnum
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from hsm_sim.meter_keys import MeterKey, derive, mac, pad
from smgw_emu.core.errors import RemoteProtocolError

_HEAD = struct.Struct(">BII")
_TAG = 16
_BLOCK = 16
_IV = bytes(_BLOCK)
MIN_LENGTH = _HEAD.size + _TAG
NO_COUNTER = 0xFFFFFFFF  # of the request that asks for the meter's counter
LAST_COUNTER = 0xFFFFFFFE  # counters never wrap (TR-03116-3 7.1)
ANSWER = 0x80


class SymType(IntEnum):
    """What a request asks for."""

    COUNTER = 1
    ALGORITHMS = 2
    METER_KEY = 3
    GATEWAY_CERTIFICATE = 4
    FRAGMENT = 5
    RESET_PREPARE = 6
    RESET = 7


class Quirk(StrEnum):
    """Behaviour of meters in the field that differs from the text."""

    NONE = ""
    EMH_EARLY = "emh-early"
    """K and L codes exchanged, keys padded with 00, data with zeros (``lmn-wired.md`` 1.5)."""


class SymMessage(NamedTuple):
    """An authentic message.

    Attributes:
        type: request type, with bit 80 in an answer.
        counter: transmission counter.
        data: decrypted, without padding as far as that can be told.
        plain: decrypted, with padding: data that delimit themselves are read from it.
    """

    type: int
    counter: int
    data: bytes = b""
    plain: bytes = b""


class SymCodec:
    """Writes and checks messages of one meter.

    Args:
        master_key: MK, 16 octets.
        meter_id: Server-ID, ten octets, or what the meter's maker says instead.
        quirk: of the meter.
        padded: whether the length we write counts the padding.

    Raises:
        LocalProtocolError: the key has another length.
    """

    def __init__(
        self, master_key: bytes, meter_id: bytes, quirk: Quirk = Quirk.NONE, *, padded: bool = True
    ) -> None:
        self._key = master_key
        self._id = meter_id
        self._quirk = quirk
        self._padded = padded
        derive(master_key, MeterKey.K_ENC, bytes(4), meter_id)  # refuses a bad key at once

    def encode(self, kind: int, counter: int, data: bytes = b"") -> bytes:
        """Return a message; ``kind`` says who sends it."""
        cipher = b""
        if data:
            zeros = bytes(-len(data) % _BLOCK)
            plain = data + zeros if self._quirk is Quirk.EMH_EARLY else pad(data)
            encryptor = Cipher(
                algorithms.AES(self._derive(kind, counter, encrypt=True)), modes.CBC(_IV)
            ).encryptor()
            cipher = encryptor.update(plain) + encryptor.finalize()
        length = MIN_LENGTH + (len(cipher) if self._padded else len(data))
        head = _HEAD.pack(kind, length, counter) + cipher
        return head + mac(self._derive(kind, counter, encrypt=False), head)

    def decode(self, octets: bytes) -> SymMessage:
        """Check and decrypt a message.

        Raises:
            RemoteProtocolError: wrong length or wrong MAC.
        """
        if len(octets) < MIN_LENGTH:
            raise RemoteProtocolError(f"a SYM message of {len(octets)} octets")
        kind, length, counter = _HEAD.unpack_from(octets)
        cipher = octets[_HEAD.size : -_TAG]
        unpadded = length - MIN_LENGTH
        if len(cipher) % _BLOCK or not 0 <= len(cipher) - unpadded <= _BLOCK:
            raise RemoteProtocolError(f"length {length} of a SYM message of {len(octets)} octets")
        expected = mac(self._derive(kind, counter, encrypt=False), octets[:-_TAG])
        if not hmac.compare_digest(expected, octets[-_TAG:]):
            raise RemoteProtocolError("wrong MAC of a SYM message")
        if not cipher:
            return SymMessage(kind, counter)
        decryptor = Cipher(
            algorithms.AES(self._derive(kind, counter, encrypt=True)), modes.CBC(_IV)
        ).decryptor()
        plain = decryptor.update(cipher) + decryptor.finalize()
        data = plain[:unpadded] if unpadded < len(cipher) else _strip(plain)
        return SymMessage(kind, counter, data, plain)

    def _derive(self, kind: int, counter: int, *, encrypt: bool) -> bytes:
        of_meter = bool(kind & ANSWER)
        early = self._quirk is Quirk.EMH_EARLY
        if of_meter != early:
            which = MeterKey.K_ENC if encrypt else MeterKey.K_MAC
        else:
            which = MeterKey.L_ENC if encrypt else MeterKey.L_MAC
        octets = counter.to_bytes(4, "big")
        if early:
            seed = bytes((which,)) + octets + self._id
            return mac(self._key, seed + bytes(-len(seed) % _BLOCK))
        return derive(self._key, which, octets, self._id)


def _strip(plain: bytes) -> bytes:
    """Take the padding off if it is one; a sender may leave it out of whole blocks."""
    count = plain[-1]
    if 1 <= count <= _BLOCK and plain.endswith(bytes((count,)) * count):
        return plain[:-count]
    return plain
