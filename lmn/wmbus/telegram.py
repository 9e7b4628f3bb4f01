"""A telegram of a meter: its layers, and the way from octets to data records.

:func:`parse_telegram` takes the layers apart that are in the clear; :func:`open_telegram` checks
the MAC, decrypts and reads the records. What a gateway accepts is decided in
:mod:`lmn.wmbus.inbox`.
"""

from __future__ import annotations

import msgspec

from lmn.mbus.records import Application, decode_records
from lmn.wmbus import security
from lmn.wmbus.afl import Afl, parse_afl
from lmn.wmbus.ell import Ell, open_payload, parse_ell
from lmn.wmbus.link import Address, LinkFrame, parse_link
from lmn.wmbus.tpl import (
    CI_ONLY_LONG,
    CI_ONLY_SHORT,
    KDF_A,
    MODE_B,
    MODE_CBC_IV,
    MODE_D,
    MODE_NONE,
    MODE_TLS,
    Tpl,
    parse_tpl,
)
from smgw_emu.core.errors import RemoteProtocolError

TAG_LENGTHS = (8, 12, 16)  # REQ.WMBUS.Unidirektional.72
MIN_MAC = 8  # TR-03116-3 table 19: 128 bit, or the first 64
_MASTER_KEY_ID = 0


class Telegram(msgspec.Struct, frozen=True):
    """The layers of a message (of a frame, or of all fragments of one).

    Attributes:
        link: the frame (the last one).
        ell: extended link layer, None without.
        afl: authentication and fragmentation layer, None without.
        tpl: transport layer; None while a fragment, or where the ELL hides it.
        message: transport layer and what follows, as the MAC covers it.
        data: what follows the transport layer: application layer, perhaps encrypted.
    """

    link: LinkFrame
    ell: Ell | None
    afl: Afl | None
    tpl: Tpl | None
    message: bytes
    data: bytes

    @property
    def address(self) -> Address:
        """Of the meter: a long transport header replaces the link address."""
        if self.tpl is not None and self.tpl.address is not None:
            return self.tpl.address
        return self.link.address

    @property
    def mode(self) -> int:
        """The security mode, 0 where there is no header."""
        return 0 if self.tpl is None else self.tpl.mode

    @property
    def authenticated(self) -> bool:
        """Whether there is something by which to know the sender (profile B or D)."""
        if self.mode == MODE_B:
            return self.afl is not None and bool(self.afl.mac)
        return self.mode == MODE_D

    @property
    def counter_octets(self) -> bytes:
        """The message counter as on air, b"" without."""
        if self.tpl is not None and self.tpl.counter:
            return self.tpl.counter
        return self.afl.mcr if self.afl is not None else b""

    @property
    def counter(self) -> int:
        """The message counter."""
        return int.from_bytes(self.counter_octets, "little")


def parse_telegram(bare: bytes, key: bytes | None = None) -> Telegram:
    """Take a bare frame apart as far as it is in the clear, see :func:`parse_layers`.

    Raises:
        RemoteProtocolError: it is no frame, or of a kind that is not read, which is named.
    """
    return parse_layers(parse_link(bare), key)


def parse_layers(link: LinkFrame, key: bytes | None = None) -> Telegram:
    """Take a frame's payload apart as far as it is in the clear.

    Args:
        link: the frame.
        key: for an encrypted extended link layer.

    Raises:
        RemoteProtocolError: a layer is of a kind that is not read, which is named.
    """
    ell, rest = parse_ell(link.payload)
    if ell is not None and ell.crc:
        rest = open_payload(ell, link.address, key, rest)
    afl, message = parse_afl(rest)
    if afl is not None and afl.fragment:
        return Telegram(link, ell, afl, None, message, b"")
    return whole(link, ell, afl, message)


def whole(link: LinkFrame, ell: Ell | None, afl: Afl | None, message: bytes) -> Telegram:
    """Return the telegram of a complete message.

    Raises:
        RemoteProtocolError: its transport layer is none that is read.
    """
    tpl, data = parse_tpl(message)
    return Telegram(link, ell, afl, tpl, message, data)


def open_message(telegram: Telegram, key: bytes | None) -> bytes:
    """Check, decrypt; returns the application layer in the clear.

    Args:
        telegram: complete.
        key: master key (modes 7, 10) or the key itself (mode 5).

    Raises:
        AuthenticationError: MAC or tag is wrong.
        RemoteProtocolError: there is no key, or the mode is not supported.
    """
    tpl = telegram.tpl
    if tpl is None:
        raise RemoteProtocolError("a fragment alone")
    mode = tpl.mode
    if mode == MODE_NONE:
        return telegram.data
    if mode not in {MODE_CBC_IV, MODE_B, MODE_D}:
        why = " (TLS): no two-way radio" if mode == MODE_TLS else ""
        raise RemoteProtocolError(f"security mode {mode} is not supported{why}")
    if key is None:
        raise RemoteProtocolError(f"security mode {mode}, and there is no key")
    if mode == MODE_CBC_IV:
        return security.decrypt_mode_5(key, tpl, telegram.address, telegram.data)
    return _open_authenticated(telegram, tpl, key)


def _open_authenticated(telegram: Telegram, tpl: Tpl, key: bytes) -> bytes:
    if tpl.mode == MODE_B and (telegram.afl is None or len(telegram.afl.mac) < MIN_MAC):
        raise security.AuthenticationError("security mode 7 without a MAC of 64 bit or more")
    if tpl.kdf != KDF_A or tpl.key_id != _MASTER_KEY_ID:
        raise RemoteProtocolError(f"key {tpl.key_id} with derivation {tpl.kdf} is not known")
    if not telegram.counter_octets:
        raise RemoteProtocolError("there is no message counter")
    if tpl.mode == MODE_D:
        if tpl.tag_length not in TAG_LENGTHS:
            raise RemoteProtocolError(f"a tag of {tpl.tag_length} octets")
        return security.decrypt_mode_10(key, tpl, telegram.address, telegram.data)
    _check_afl(telegram, key)
    return security.decrypt_mode_7(
        key, telegram.counter_octets, tpl, telegram.address, telegram.data
    )


def _check_afl(telegram: Telegram, key: bytes) -> None:
    afl = telegram.afl
    assert afl is not None
    if afl.ml and int.from_bytes(afl.ml, "little") != len(telegram.message):
        raise RemoteProtocolError("the message is not as long as the AFL says")
    data = afl.protected(telegram.message)
    security.check_mac(key, telegram.counter_octets, telegram.address, data, afl.mac)


def open_telegram(telegram: Telegram, key: bytes | None) -> Application:
    """Check, decrypt and read the records.

    Raises:
        RemoteProtocolError: as :func:`open_message`, or the records are damaged.
    """
    tpl = telegram.tpl
    if tpl is not None and tpl.ci in {CI_ONLY_SHORT, CI_ONLY_LONG}:
        return Application(())
    return decode_records(open_message(telegram, key))
