"""Telegrams as meters send them; the bench's meters and the tests use it.

Profile A is mode 5, profile B mode 7 with an AFL, profile D mode 10 (``lmn-wireless.md`` 2.5).
"""

from __future__ import annotations

import msgspec

from hsm_sim.meter_keys import MeterKey
from lmn.wmbus import security
from lmn.wmbus.afl import MAC_LENGTHS, Afl
from lmn.wmbus.ell import AES_CTR, ELL_I, ELL_II, Ell, crypt
from lmn.wmbus.link import Address, Control, check, encode_link
from lmn.wmbus.tpl import ALL, CI_LONG, CI_NONE, CI_SHORT, MODE_B, MODE_CBC_IV, MODE_D, Tpl
from smgw_emu.core.errors import LocalProtocolError, RemoteProtocolError

_CONTENT_Z = 0x2000
_MAC_KINDS = {length: kind for kind, length in MAC_LENGTHS.items()}
MAX_BLOCKS = 15  # four bits of the configuration field


class Outline(msgspec.Struct, frozen=True):
    """How a meter wraps its records.

    Attributes:
        link: sender of the frame.
        mode: security mode 0, 5, 7 or 10.
        meter: its own address if another device sends the frame (radio adapter): long header.
        control: C field.
        ell: whether an extended link layer I goes before.
        tag: octets of the MAC or tag.
        key_info: AFL.KI, b"" without.
        length_info: send AFL.ML.
        fragment: most octets of message per fragment, 0: not fragmented.
        clear: octets at the end that mode 10 leaves in the clear.
    """

    link: Address
    mode: int = MODE_B
    meter: Address | None = None
    control: int = Control.SND_NR
    ell: bool = True
    tag: int = 8
    key_info: bytes = b""
    length_info: bool = False
    fragment: int = 0
    clear: int = 0


def encode_telegram(
    outline: Outline, key: bytes, records: bytes, *, counter: int, access: int, status: int = 0
) -> list[bytes]:
    """Return the bare frames of a telegram, one unless it is fragmented.

    Raises:
        LocalProtocolError: an unknown mode.
        RemoteProtocolError: it does not fit a frame.
    """
    address = outline.meter or outline.link
    ci = CI_LONG if outline.meter is not None else CI_SHORT
    ell = Ell(ELL_I, 0x20, access & 0xFF).encode() if outline.ell else b""
    mcr = counter.to_bytes(4, "little")
    head = Tpl(ci, outline.meter, access & 0xFF, status)
    if outline.mode == MODE_B:
        return _profile_b(outline, key, records, head, mcr, ell)
    if outline.mode == 0:
        message = head.encode() + records
    elif outline.mode == MODE_CBC_IV:
        iv = security.mode_5_iv(address, access & 0xFF)
        blocks, secret = security.encrypt_blocks(key, iv, records)
        tpl = msgspec.structs.replace(head, cf=_blocks_field(MODE_CBC_IV, blocks))
        message = tpl.encode() + secret
    elif outline.mode == MODE_D:
        tpl = _profile_d_header(outline, head, mcr, len(records))
        cut = len(records) - outline.clear
        secret = security.encrypt_mode_10(key, tpl, address, records[:cut], records[cut:])
        message = tpl.encode() + secret
    else:
        raise LocalProtocolError(f"security mode {outline.mode} is not encoded")
    return [encode_link(outline.control, outline.link, ell + message)]


def _blocks_field(mode: int, blocks: int) -> int:
    if blocks > MAX_BLOCKS:
        raise RemoteProtocolError(f"mode {mode} encrypts {MAX_BLOCKS} blocks at most, not {blocks}")
    return mode << 8 | blocks << 4


def _profile_d_header(outline: Outline, head: Tpl, counter: bytes, length: int) -> Tpl:
    count = length - outline.clear if outline.clear else ALL
    cfe = bytes((0x10, (outline.tag - 4) // 4))  # KDF-A, key 0
    cf = _CONTENT_Z | MODE_D << 8 | count
    return msgspec.structs.replace(head, cf=cf, cfe=cfe, counter=counter)


def _profile_b(
    outline: Outline, key: bytes, records: bytes, head: Tpl, mcr: bytes, ell: bytes
) -> list[bytes]:
    address = outline.meter or outline.link
    enc = security.message_key(key, MeterKey.K_ENC, mcr, address)
    blocks, secret = security.encrypt_blocks(enc, bytes(16), records)
    tpl = msgspec.structs.replace(head, cf=_blocks_field(MODE_B, blocks), cfe=b"\x10")
    message = tpl.encode() + secret
    kind = _MAC_KINDS[outline.tag] | 0x20 | (0x10 if outline.key_info else 0)
    length = len(message).to_bytes(2, "little") if outline.length_info or outline.fragment else b""
    afl = Afl(mcl=kind | (0x40 if length else 0), ki=outline.key_info, mcr=mcr, ml=length)
    mac = security.make_mac(key, mcr, address, afl.protected(message), outline.tag)
    if not outline.fragment or len(message) <= outline.fragment:
        afl = msgspec.structs.replace(afl, mac=mac)
        return [encode_link(outline.control, outline.link, ell + afl.encode() + message)]
    size = outline.fragment
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    frames = []
    for number, part in enumerate(parts, start=1):
        last = number == len(parts)
        layer = afl if number == 1 else Afl()
        layer = msgspec.structs.replace(
            layer, fragment=number, more=not last, mac=mac if last else b""
        )
        frames.append(encode_link(outline.control, outline.link, ell + layer.encode() + part))
    return frames


def encode_ell_encrypted(
    link: Address, key: bytes, records: bytes, *, session: int, access: int
) -> bytes:
    """Return a bare frame with ELL II, AES-128-CTR, and records without a transport header."""
    payload = Tpl(CI_NONE).encode() + records
    number = (AES_CTR << 29 | session & 0x1FFFFFFF).to_bytes(4, "little")
    ell = Ell(ELL_II, 0x20, access & 0xFF, None, number)
    secret = crypt(ell, link, key, check(payload)[::-1] + payload)
    return encode_link(Control.SND_NR, link, ell.encode() + secret)
