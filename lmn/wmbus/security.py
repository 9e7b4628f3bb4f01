"""Security modes 5, 7 and 10 (EN 13757-7, TR-03116-3 chapter 7; ``lmn-wireless.md`` 2).

Both authenticated modes derive a key per message from the meter's master key, the message counter
and the meter's number (:mod:`hsm_sim.meter_keys`). The MAC is checked before anything is decrypted
or unpadded; table 19 of TR-03116-3 names K_MAC for CCM, a real meter uses K_ENC, which is followed
here.
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from hsm_sim.meter_keys import MeterKey, derive, mac
from lmn.wmbus.link import Address
from lmn.wmbus.tpl import ALL, Tpl
from smgw_emu.core.errors import RemoteProtocolError

CHECK = b"\x2f\x2f"  # decryption verification
_NO_IV = bytes(16)


class AuthenticationError(RemoteProtocolError):
    """A MAC or tag is wrong."""


def message_key(master_key: bytes, which: MeterKey, counter: bytes, address: Address) -> bytes:
    """Return the key of one message; ``counter`` as on air."""
    return derive(master_key, which, counter, address.identification)


def check_mac(master_key: bytes, counter: bytes, address: Address, data: bytes, tag: bytes) -> None:
    """Check the MAC of an AFL.

    Raises:
        AuthenticationError: it is wrong.
    """
    key = message_key(master_key, MeterKey.K_MAC, counter, address)
    if not hmac.compare_digest(mac(key, data)[: len(tag)], tag):
        raise AuthenticationError("the MAC is wrong")


def make_mac(
    master_key: bytes, counter: bytes, address: Address, data: bytes, length: int
) -> bytes:
    """Return the MAC of an AFL."""
    return mac(message_key(master_key, MeterKey.K_MAC, counter, address), data)[:length]


def _cbc(key: bytes, iv: bytes, data: bytes, *, encrypt: bool) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CBC(iv))
    context = cipher.encryptor() if encrypt else cipher.decryptor()
    return context.update(data) + context.finalize()


def mode_5_iv(address: Address, access: int) -> bytes:
    """Return M ID VER TYP and eight times the access number."""
    return address.octets + bytes((access,)) * 8


def decrypt_blocks(key: bytes, iv: bytes, blocks: int, data: bytes) -> bytes:
    """Decrypt so many blocks and take the check octets away; what follows them stays.

    Raises:
        RemoteProtocolError: too short, or the check octets are not there.
    """
    size = 16 * blocks
    if len(data) < size:
        raise RemoteProtocolError(f"{blocks} encrypted blocks do not fit the frame")
    if not blocks:
        return data
    plain = _cbc(key, iv, data[:size], encrypt=False)
    if plain[:2] != CHECK:
        raise RemoteProtocolError("2F2F is missing after decryption: the key is wrong")
    return plain[2:] + data[size:]


def decrypt_mode_5(key: bytes, tpl: Tpl, address: Address, data: bytes) -> bytes:
    """Decrypt mode 5 (no MAC: nobody knows who wrote it)."""
    return decrypt_blocks(key, mode_5_iv(address, tpl.access), tpl.blocks, data)


def decrypt_mode_7(
    master_key: bytes, counter: bytes, tpl: Tpl, address: Address, data: bytes
) -> bytes:
    """Decrypt mode 7; the MAC has been checked."""
    key = message_key(master_key, MeterKey.K_ENC, counter, address)
    return decrypt_blocks(key, _NO_IV, tpl.blocks, data)


def encrypt_blocks(key: bytes, iv: bytes, plain: bytes) -> tuple[int, bytes]:
    """Put the check octets before, fillers behind, encrypt; returns (blocks, octets)."""
    data = CHECK + plain
    data += CHECK[:1] * (-len(data) % 16)
    return len(data) // 16, _cbc(key, iv, data, encrypt=True)


def nonce(counter: bytes, address: Address) -> bytes:
    """Return the 13 octets of mode 10: M ID VER TYP 00 and the counter, MSB first (table 10.1)."""
    return address.octets + b"\x00" + counter[::-1]


def decrypt_mode_10(master_key: bytes, tpl: Tpl, address: Address, data: bytes) -> bytes:
    """Check and decrypt mode 10; plain octets after the encrypted ones are authenticated too.

    Raises:
        AuthenticationError: the tag is wrong.
        RemoteProtocolError: lengths do not fit.
    """
    length = tpl.tag_length
    if len(data) < length:
        raise RemoteProtocolError("the frame ends within the authentication tag")
    body, tag = data[: len(data) - length], data[len(data) - length :]
    count = len(body) if tpl.encrypted == ALL else tpl.encrypted
    if count > len(body):
        raise RemoteProtocolError(f"{count} encrypted octets do not fit the frame")
    secret, plain = body[:count], body[count:]
    key = message_key(master_key, MeterKey.K_ENC, tpl.counter, address)
    try:
        opened = AESCCM(key, tag_length=length).decrypt(
            nonce(tpl.counter, address), secret + tag, tpl.associated() + plain
        )
    except InvalidTag as error:
        raise AuthenticationError("the authentication tag is wrong") from error
    return opened + plain


def encrypt_mode_10(
    master_key: bytes, tpl: Tpl, address: Address, secret: bytes, plain: bytes = b""
) -> bytes:
    """Return encrypted octets, plain octets, tag."""
    key = message_key(master_key, MeterKey.K_ENC, tpl.counter, address)
    length = tpl.tag_length
    made = AESCCM(key, tag_length=length).encrypt(
        nonce(tpl.counter, address), secret, tpl.associated() + plain
    )
    return made[:-length] + plain + made[-length:]
