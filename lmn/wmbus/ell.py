"""Extended link layer (EN 13757-4; ``lmn-wireless.md`` 1.6).

CI 8C (I): CC ACC. 8D (II): CC ACC SN(4) CRC(2). 8E (III): CC ACC M2(2) A2(6). 8F (IV): CC ACC M2 A2
SN(4) CRC(2). CI 86 (V) has a variable form that our sources do not give: it is named and refused.
SN, LSB first: bits 31-29 encryption, 28-4 minutes, 3-0 session; the CRC (LSB first) is over what
follows it, decrypted, and is encrypted with it.
"""

from __future__ import annotations

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from lmn.wmbus.link import Address, check
from smgw_emu.core.errors import RemoteProtocolError

ELL_I, ELL_II, ELL_III, ELL_IV, ELL_V = 0x8C, 0x8D, 0x8E, 0x8F, 0x86
NAMES = {ELL_I: "I", ELL_II: "II", ELL_III: "III", ELL_IV: "IV"}
_HOP, _REPEATED = 0x10, 0x02
AES_CTR = 1
_CC_FLAGS = {
    0x80: "bidirectional", 0x40: "response delay", 0x20: "synchronous", _HOP: "hop",
    0x08: "priority", 0x04: "accessible", _REPEATED: "repeated", 0x01: "extended delay",
}  # fmt: skip


class Ell(msgspec.Struct, frozen=True):
    """An extended link layer.

    Attributes:
        ci: which one.
        cc: communication control.
        access: link access number.
        partner: whom the frame is for, None for everyone.
        session: SN as on air, b"" without.
        crc: of the payload as on air, b"" without.
    """

    ci: int
    cc: int
    access: int
    partner: Address | None = None
    session: bytes = b""
    crc: bytes = b""

    @property
    def encryption(self) -> int:
        """0 none, 1 AES-128-CTR."""
        return self.session[3] >> 5 if self.session else 0

    @property
    def flags(self) -> list[str]:
        """Names of the bits set in CC."""
        return [name for bit, name in _CC_FLAGS.items() if self.cc & bit]

    def encode(self) -> bytes:
        """Return the layer as on air."""
        head = bytes((self.ci, self.cc, self.access))
        partner = self.partner.octets if self.partner is not None else b""
        return head + partner + self.session + self.crc


_LENGTHS = {ELL_I: 3, ELL_II: 9, ELL_III: 11, ELL_IV: 17}


def parse_ell(data: bytes) -> tuple[Ell | None, bytes]:
    """Return the layer, None without one, and what follows it.

    Raises:
        RemoteProtocolError: it is cut off, or ELL V.
    """
    ci = data[0] if data else 0
    length = _LENGTHS.get(ci)
    if length is None:
        if ci == ELL_V:
            raise RemoteProtocolError("ELL V (CI 86) is not supported")
        return None, data
    if len(data) < length:
        raise RemoteProtocolError("the frame ends within the extended link layer")
    cc, access = data[1], data[2]
    if ci == ELL_I:
        return Ell(ci, cc, access), data[3:]
    partner = Address(data[3:11]) if ci in {ELL_III, ELL_IV} else None
    if ci == ELL_III:
        return Ell(ci, cc, access, partner), data[11:]
    at = length - 6
    return Ell(ci, cc, access, partner, data[at : at + 4], data[at + 4 : length]), data[length:]


def crypt(ell: Ell, sender: Address, key: bytes, data: bytes) -> bytes:
    """En- or decrypt what follows SN (CRC and payload), AES-128-CTR.

    The first counter block is ``M A CC SN 00 00 00``, with the bits H and R of CC cleared: a
    repeater changes them.
    """
    cc = ell.cc & ~(_HOP | _REPEATED) & 0xFF
    block = sender.octets + bytes((cc,)) + ell.session + bytes(3)
    cipher = Cipher(algorithms.AES(key), modes.CTR(block)).encryptor()
    return cipher.update(data) + cipher.finalize()


def open_payload(ell: Ell, sender: Address, key: bytes | None, payload: bytes) -> bytes:
    """Return the decrypted payload of an ELL II or IV.

    A payload whose CRC fits as it is was not encrypted, or a stick has decrypted it.

    Raises:
        RemoteProtocolError: it needs a key, the CRC is wrong, or the method is unknown.
    """
    if check(payload)[::-1] == ell.crc:
        return payload
    if ell.encryption == 0:
        raise RemoteProtocolError("wrong checksum in the extended link layer")
    if ell.encryption != AES_CTR:
        raise RemoteProtocolError(f"unknown encryption {ell.encryption} of the ELL")
    if key is None:
        raise RemoteProtocolError("the extended link layer is encrypted, and there is no key")
    plain = crypt(ell, sender, key, ell.crc + payload)
    if check(plain[2:])[::-1] != plain[:2]:
        raise RemoteProtocolError("wrong key or checksum in the extended link layer")
    return plain[2:]
