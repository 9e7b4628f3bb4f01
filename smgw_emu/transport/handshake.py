"""Reading the plaintext part of a TLS 1.2 handshake (RFC 5246 7.4) beside OpenSSL.

Up to ChangeCipherSpec everything is readable: ClientHello for inspection and for gates of a
profile, Certificate for the check against the *device's* clock, ServerKeyExchange for the security
module's part in figures F28 and F29. The reader is bounded and never trusts a length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from smgw_emu.core.errors import RemoteProtocolError

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE = 20, 21, 22
CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, SERVER_KEY_EXCHANGE = 1, 2, 11, 12
MAX_HANDSHAKE = 65_536

GROUP_NAMES = {
    23: "secp256r1",
    24: "secp384r1",
    25: "secp521r1",
    26: "brainpoolP256r1",
    27: "brainpoolP384r1",
    28: "brainpoolP512r1",
    29: "x25519",
    30: "x448",
}
EXTENSION_NAMES = {
    0: "server_name",
    1: "max_fragment_length",
    3: "trusted_ca_keys",
    4: "truncated_hmac",
    5: "status_request",
    10: "supported_groups",
    11: "ec_point_formats",
    13: "signature_algorithms",
    16: "application_layer_protocol_negotiation",
    22: "encrypt_then_mac",
    23: "extended_master_secret",
    35: "session_ticket",
    43: "supported_versions",
    51: "key_share",
    65281: "renegotiation_info",
}


class HandshakeError(RemoteProtocolError):
    """A handshake message that cannot be read."""


class HandshakeReader:
    """Cuts a byte stream into plaintext handshake messages until ChangeCipherSpec."""

    __slots__ = ("_messages", "_records", "over")

    def __init__(self) -> None:
        self._records = bytearray()
        self._messages = bytearray()
        self.over = False

    def receive(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take octets of the wire; yields (message type, body).

        Raises:
            HandshakeError: a message beyond 64 KiB.
        """
        if self.over:
            return
        self._records += data
        while len(self._records) >= 5 and not self.over:
            size = int.from_bytes(self._records[3:5], "big")
            if len(self._records) < 5 + size:
                break
            kind = self._records[0]
            if kind == HANDSHAKE:
                self._messages += self._records[5 : 5 + size]
            elif kind != ALERT:
                self.over = True
            del self._records[: 5 + size]
        if len(self._records) + len(self._messages) > MAX_HANDSHAKE:
            self.over = True
            raise HandshakeError("handshake message beyond 64 KiB")
        yield from self._cut()

    def _cut(self) -> Iterator[tuple[int, bytes]]:
        while len(self._messages) >= 4:
            size = int.from_bytes(self._messages[1:4], "big")
            if len(self._messages) < 4 + size:
                return
            kind, body = self._messages[0], bytes(self._messages[4 : 4 + size])
            del self._messages[: 4 + size]
            yield kind, body


class _Cursor:
    """Takes length-prefixed vectors."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        if self._at + count > len(self._data):
            raise HandshakeError("truncated handshake message")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, octets: int) -> int:
        return int.from_bytes(self.take(octets), "big")

    def vector(self, prefix: int) -> bytes:
        return self.take(self.number(prefix))

    @property
    def left(self) -> bool:
        return self._at < len(self._data)


def _numbers(data: bytes) -> tuple[int, ...]:
    return tuple(
        int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - len(data) % 2, 2)
    )


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client offers.

    Attributes:
        version: legacy version, 0x0303 is TLS 1.2.
        random: 32 octets.
        session_id: to resume.
        suites: cipher suites in wire order, signalling values included.
        compressions: compression methods.
        extensions: type -> content, in wire order.
    """

    version: int
    random: bytes
    session_id: bytes
    suites: tuple[int, ...]
    compressions: bytes
    extensions: dict[int, bytes]

    @property
    def groups(self) -> tuple[int, ...]:
        """Named groups in wire order."""
        return _numbers(self.extensions.get(10, b"")[2:])

    @property
    def signature_algorithms(self) -> tuple[int, ...]:
        """Signature algorithms in wire order."""
        return _numbers(self.extensions.get(13, b"")[2:])

    @property
    def point_formats(self) -> tuple[int, ...]:
        """EC point formats; 0 is uncompressed."""
        return tuple(self.extensions.get(11, b"\x00")[1:])

    @property
    def server_name(self) -> str:
        """The host name asked for, "" if none."""
        content = self.extensions.get(0, b"")
        return content[5:].decode("ascii", "replace") if content[2:3] == b"\x00" else ""

    def describe(self) -> dict[str, object]:
        """Return the offer as JSON types, for the log and for ``smgw decode``."""
        return {
            "version": f"{self.version:04x}",
            "suites": [f"{suite:04x}" for suite in self.suites],
            "groups": [GROUP_NAMES.get(item, str(item)) for item in self.groups],
            "signature_algorithms": [f"{item:04x}" for item in self.signature_algorithms],
            "point_formats": list(self.point_formats),
            "extensions": [EXTENSION_NAMES.get(item, str(item)) for item in self.extensions],
            "server_name": self.server_name,
        }


def parse_client_hello(body: bytes) -> ClientHello:
    """Read the body of a ClientHello.

    Raises:
        HandshakeError: truncated, an extension twice, or octets left over.
    """
    cursor = _Cursor(body)
    version, random = cursor.number(2), cursor.take(32)
    session_id, suites = cursor.vector(1), _numbers(cursor.vector(2))
    compressions = cursor.vector(1)
    extensions: dict[int, bytes] = {}
    if cursor.left:
        inner = _Cursor(cursor.vector(2))
        while inner.left:
            kind = inner.number(2)
            if kind in extensions:
                raise HandshakeError("an extension is given twice")
            extensions[kind] = inner.vector(2)
    if cursor.left:
        raise HandshakeError("octets after the extensions")
    return ClientHello(version, random, session_id, suites, compressions, extensions)


def server_extensions(body: bytes) -> set[int]:
    """Return the types of the extensions in a ServerHello.

    Raises:
        HandshakeError: truncated.
    """
    cursor = _Cursor(body)
    cursor.take(34)
    cursor.vector(1)
    cursor.take(3)
    found: set[int] = set()
    if cursor.left:
        inner = _Cursor(cursor.vector(2))
        while inner.left:
            found.add(inner.number(2))
            inner.vector(2)
    return found


def parse_certificates(body: bytes) -> list[bytes]:
    """Return the certificates of a Certificate message, leaf first, DER.

    Raises:
        HandshakeError: truncated.
    """
    inner = _Cursor(_Cursor(body).vector(3))
    found = []
    while inner.left:
        found.append(inner.vector(3))
    return found


@dataclass(frozen=True, slots=True)
class KeyExchange:
    """ServerKeyExchange of an ECDHE suite (RFC 8422 5.4).

    Attributes:
        group: named curve.
        point: the server's ephemeral point, uncompressed.
        hash_name: hash of the signature, ``sha256`` and so on.
        signature: DER ECDSA signature.
        parameters: the signed octets after the two random numbers.
    """

    group: int
    point: bytes
    hash_name: str
    signature: bytes
    parameters: bytes


_HASHES = {4: "sha256", 5: "sha384", 6: "sha512"}


def parse_server_key_exchange(body: bytes) -> KeyExchange:
    """Read the body of a ServerKeyExchange.

    Raises:
        HandshakeError: not a named curve, not ECDSA with a SHA-2 hash, or truncated.
    """
    cursor = _Cursor(body)
    if cursor.number(1) != 3:
        raise HandshakeError("not a named curve")
    group = cursor.number(2)
    point = cursor.vector(1)
    parameters = body[: 4 + len(point)]
    hash_number, algorithm = cursor.number(1), cursor.number(1)
    if algorithm != 3 or hash_number not in _HASHES:
        raise HandshakeError("not ECDSA with SHA-256, SHA-384 or SHA-512")
    return KeyExchange(group, point, _HASHES[hash_number], cursor.vector(2), parameters)
