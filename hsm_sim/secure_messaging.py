"""Secure messaging with AES-128 in CBC mode and an 8-octet CMAC (TR-03110-3 annex F, AES).

Both ends hold a send sequence counter of 16 octets that starts at 0 and is incremented before each
command and each response; IV = AES(KSenc, SSC). Data objects: 87 (01 || cryptogram), 97 (Le),
99 (status word), 8E (MAC); padding 80 00... The MAC of a command covers
``SSC || padded header || padded data objects``, that of a response ``SSC || padded data objects``.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from hsm_sim.apdu import Command, Response
from hsm_sim.templates import split
from smgw_emu.core.der import tlv
from smgw_emu.core.errors import RemoteProtocolError

_BLOCK = 16
_MAC_OCTETS = 8
_SM_CLASS = 0x0C  # secure messaging, header authenticated (ISO 7816-4 5.4.1)


class SecureMessagingError(RemoteProtocolError):
    """A MAC is wrong or a data object is missing: the channel is dead."""


def _pad(data: bytes) -> bytes:
    return data + b"\x80" + bytes(-(len(data) + 1) % _BLOCK)


def _unpad(data: bytes) -> bytes:
    stripped = data.rstrip(b"\x00")
    if stripped[-1:] != b"\x80" or len(data) - len(stripped) >= _BLOCK:
        raise SecureMessagingError("wrong padding")
    return stripped[:-1]


def _objects(data: bytes) -> tuple[dict[int, bytes], bytes]:
    """Split data objects; returns them by tag, and what the MAC covers (all before 8E)."""
    found: dict[int, bytes] = {}
    covered = b""
    try:
        for tag, at, value in split(data):
            if tag in found or 0x8E in found:
                raise SecureMessagingError("data objects are damaged")
            found[tag] = value
            covered = data[:at]
    except RemoteProtocolError as error:
        raise SecureMessagingError(str(error)) from error
    if 0x8E not in found:
        raise SecureMessagingError("no MAC")
    return found, covered


class Channel:
    """One end of a secure channel.

    Args:
        encryption_key: KSenc, 16 octets.
        mac_key: KSmac, 16 octets.
    """

    __slots__ = ("_counter", "_encrypt", "_key", "_mac_key")

    def __init__(self, encryption_key: bytes, mac_key: bytes) -> None:
        self._key = algorithms.AES(encryption_key)
        # one context for every IV: ECB of a single block has no state
        self._encrypt = Cipher(self._key, modes.ECB()).encryptor()  # noqa: S305
        self._mac_key = CMAC(algorithms.AES(mac_key))
        self._counter = 0

    # -- the gateway's end -------------------------------------------------------------------

    def wrap(self, command: Command) -> Command:
        """Protect a command."""
        counter = self._next()
        body = b""
        if command.data:
            body = tlv(0x87, b"\x01", self._cbc(counter, _pad(command.data), encrypt=True))
        if command.expected is not None:
            wide = command.expected > 256
            le = (
                (command.expected & 0xFFFF).to_bytes(2, "big")
                if wide
                else bytes((command.expected & 0xFF,))
            )
            body += tlv(0x97, le)
        cla = command.cla | _SM_CLASS
        header = _pad(bytes((cla, command.ins, command.p1, command.p2)))
        mac = self._mac(counter + header + (_pad(body) if body else b""))
        data = body + b"\x8e\x08" + mac
        wide_answer = (command.expected or 0) > 200 or len(data) > 255
        return Command(cla, command.ins, command.p1, command.p2, data,
                       65_536 if wide_answer else 256)  # fmt: skip

    def unwrap_response(self, response: Response) -> Response:
        """Check and open a protected response.

        Raises:
            SecureMessagingError: MAC, padding or objects are wrong.
        """
        counter = self._next()
        found, covered = _objects(response.data)
        self._check(counter + _pad(covered), found)
        if len(found.get(0x99, b"")) != 2:
            raise SecureMessagingError("no protected status word")
        data = self._plain(counter, found)
        return Response(int.from_bytes(found[0x99], "big"), data)

    # -- the module's end --------------------------------------------------------------------

    def unwrap(self, command: Command) -> Command:
        """Check and open a protected command.

        Raises:
            SecureMessagingError: MAC, padding or objects are wrong.
        """
        counter = self._next()
        found, covered = _objects(command.data)
        header = _pad(bytes((command.cla, command.ins, command.p1, command.p2)))
        self._check(counter + header + (_pad(covered) if covered else b""), found)
        expected = None
        if 0x97 in found:
            le = found[0x97]
            expected = int.from_bytes(le, "big") or (256 if len(le) == 1 else 65_536)
        return Command(command.cla & ~_SM_CLASS & 0xFF, command.ins, command.p1, command.p2,
                       self._plain(counter, found), expected)  # fmt: skip

    def wrap_response(self, response: Response) -> Response:
        """Protect a response."""
        counter = self._next()
        body = b""
        if response.data:
            body = tlv(0x87, b"\x01", self._cbc(counter, _pad(response.data), encrypt=True))
        body += b"\x99\x02" + response.status.to_bytes(2, "big")
        mac = self._mac(counter + _pad(body))
        return Response(response.status, body + b"\x8e\x08" + mac)

    # -- primitives --------------------------------------------------------------------------

    def _next(self) -> bytes:
        self._counter += 1
        return self._counter.to_bytes(_BLOCK, "big")

    def _cbc(self, counter: bytes, data: bytes, *, encrypt: bool) -> bytes:
        cipher = Cipher(self._key, modes.CBC(self._encrypt.update(counter)))
        context = cipher.encryptor() if encrypt else cipher.decryptor()
        return context.update(data)

    def _mac(self, data: bytes) -> bytes:
        mac = self._mac_key.copy()
        mac.update(data)
        return mac.finalize()[:_MAC_OCTETS]

    def _check(self, data: bytes, found: dict[int, bytes]) -> None:
        if not hmac.compare_digest(self._mac(data), found[0x8E]):
            raise SecureMessagingError("wrong MAC")

    def _plain(self, counter: bytes, found: dict[int, bytes]) -> bytes:
        if 0x87 not in found:
            return b""
        value = found[0x87]
        if value[:1] != b"\x01" or len(value) % _BLOCK != 1 or len(value) == 1:
            raise SecureMessagingError("damaged cryptogram")
        return _unpad(self._cbc(counter, value[1:], encrypt=False))
