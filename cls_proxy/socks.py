"""SOCKSv5 with the TLS method, server side (Detailspezifikation v2.0 chapter 11).

Theory of operation. A CLS opens TCP and says which methods it knows (RFC 1928 section 3)::

    VER 05 | NMETHODS | METHODS            answered with   VER 05 | METHOD

Only method 06 is taken; ``FF`` and the end answer everything else (3.4.3.3 c). From then on every
octet travels in frames of draft-ietf-aft-socks-ssl-00::

    VER 01 | STATE | LEN (2) | TLS record     STATE 01 initial handshake, 02 option negotiation,
                                              03 data flow, 04 closing handshake

The draft is not among our texts. DS v2.0 fixes VER and STATE; LEN is the layout of RFC 1961 3.1,
after which the draft is made [I]. A profile may choose ``framing = "record"``: then the TLS record
follows STATE at once and its own header says how long it is.

Inside TLS the CLS sends one CONNECT (RFC 1928 section 4), answered with a reply whose REP is of
table 11.1; then both directions are data. ``TABLE`` says which frame may come when; anything else
ends the connection. A parser here raises nothing but :class:`SocksError`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType

from smgw_emu.core.cls_profiles import HOST_NAME
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.profiles import Cls as Rules

VERSION, FRAME_VERSION = 5, 1
METHOD_TLS, NO_METHOD = 6, 0xFF  # IANA SOCKS methods; the draft's own 86 is refused (K04)
CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_RECORD_HEADER = 5
_MAX_RECORD = 16_384 + 2_048 + _RECORD_HEADER  # RFC 5246 6.2.3
_MAX_OPTIONS = 256  # own choice: figure F17 shows none at all


class Reply(IntEnum):
    """REP of a reply (table 11.1; 01, 07, 08 from RFC 1928 section 6)."""

    OK = 0
    FAILURE = 1
    NOT_CONFIGURED = 2
    TIMEOUT = 4
    REFUSED = 5
    COMMAND = 7
    ADDRESS_TYPE = 8


class State(IntEnum):
    """STATE of a frame."""

    HANDSHAKE = 1
    OPTIONS = 2
    DATA = 3
    CLOSING = 4


class Phase(StrEnum):
    """Where the server is."""

    METHOD = "method"
    HANDSHAKE = "handshake"
    REQUEST = "request"
    WAITING = "waiting for the EMT"
    FLOW = "data flow"
    OVER = "over"


_P, _S = Phase, State
# frames a client may send in a phase; an alert may end any of them
TABLE: Mapping[Phase, frozenset[State]] = MappingProxyType(
    {
        _P.METHOD: frozenset(),
        _P.HANDSHAKE: frozenset({_S.HANDSHAKE, _S.CLOSING}),
        _P.REQUEST: frozenset({_S.OPTIONS, _S.DATA, _S.CLOSING}),
        _P.WAITING: frozenset({_S.DATA, _S.CLOSING}),
        _P.FLOW: frozenset({_S.DATA, _S.CLOSING}),
        _P.OVER: frozenset(),
    }
)


class SocksError(RemoteProtocolError):
    """The client broke the protocol; ``reply`` is what it is told, if it can be told at all."""

    def __init__(self, text: str, reply: Reply = Reply.FAILURE) -> None:
        super().__init__(text)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Request:
    """A CONNECT: a name, or an address and port."""

    name: str = ""
    host: str = ""
    port: int = 0


def parse_methods(data: bytes) -> tuple[tuple[int, ...], bytes] | None:
    """Read a client's greeting: (methods, what follows); None while it is not complete.

    Raises:
        SocksError: not SOCKSv5.
    """
    if data[:1] and data[0] != VERSION:
        raise SocksError(f"SOCKS version {data[0]}")
    if len(data) < 2 or len(data) < 2 + data[1]:
        return None
    end = 2 + data[1]
    return tuple(data[2:end]), data[end:]


def parse_request(data: bytes) -> tuple[Request, bytes] | None:
    """Read a CONNECT request: (request, what follows); None while it is not complete.

    Octets: ``VER 05 | CMD | RSV 00 | ATYP | DST.ADDR | DST.PORT (2)`` (RFC 1928 section 4).

    Raises:
        SocksError: with the reply the client gets.
    """
    if len(data) < 5:
        _check_head(data)
        return None
    _check_head(data)
    kind = data[3]
    length = {_IPV4: 4, _IPV6: 16, _NAME: 1 + data[4]}[kind]
    end = 4 + length + 2
    if len(data) < end:
        return None
    address, port = data[4 : 4 + length], int.from_bytes(data[end - 2 : end], "big")
    if kind != _NAME:
        return Request(host=str(ipaddress.ip_address(address)), port=port), data[end:]
    name = address[1:].decode("latin-1")
    if not HOST_NAME.fullmatch(name):  # REQ.TA.SOCKSTLS.Connect.35
        raise SocksError("name is not 1 to 63 of a-z 0-9 . -", Reply.NOT_CONFIGURED)
    return Request(name=name, port=port), data[end:]


def _check_head(data: bytes) -> None:
    if data[:1] and data[0] != VERSION:
        raise SocksError(f"request of version {data[0]}")
    if data[1:2] and data[1] != CONNECT:
        raise SocksError(f"command {data[1]}", Reply.COMMAND)
    if data[2:3] and data[2]:
        raise SocksError("reserved octet is not 0")
    if data[3:4] and data[3] not in {_IPV4, _NAME, _IPV6}:
        raise SocksError(f"address type {data[3]}", Reply.ADDRESS_TYPE)


def write_reply(reply: Reply) -> bytes:
    """Return ``VER 05 | REP | RSV | ATYP 01 | BND.ADDR 0 | BND.PORT 0`` (Connect.60)."""
    return bytes((VERSION, reply, 0, _IPV4)) + bytes(6)


def write_frame(state: State, record: bytes, *, length: bool = True) -> bytes:
    """Return one frame around one TLS record."""
    size = len(record).to_bytes(2, "big") if length else b""
    return bytes((FRAME_VERSION, state)) + size + record


def split_records(data: bytes) -> list[bytes]:
    """Split TLS octets at the ends of their records; the last piece may be incomplete."""
    at, found = 0, []
    while at < len(data):
        size = _RECORD_HEADER + int.from_bytes(data[at + 3 : at + 5], "big")
        found.append(data[at : at + size])
        at += size
    return found


class FrameReader:
    """Cuts a stream into frames.

    Args:
        length: frames have a LEN field, or end where their TLS record ends.
    """

    def __init__(self, *, length: bool = True) -> None:
        self._length = length
        self._rest = b""

    def receive(self, data: bytes) -> list[tuple[State, bytes]]:
        """Take octets; return the frames that are complete, (state, TLS octets) each.

        Raises:
            SocksError: another version, an unknown state, or a TLS record that is none.
        """
        data = self._rest + data
        at, found = 0, []
        while len(data) - at >= 2:
            if data[at] != FRAME_VERSION or not 1 <= data[at + 1] <= 4:
                raise SocksError(f"frame begins with {data[at : at + 2].hex()}")
            begin, size = self._size(data, at)
            if not self._length and size > _MAX_RECORD:
                raise SocksError(f"TLS record of {size} octets")
            if size < 0 or len(data) < begin + size:
                break
            found.append((State(data[at + 1]), data[begin : begin + size]))
            at = begin + size
        self._rest = data[at:]
        return found

    def _size(self, data: bytes, at: int) -> tuple[int, int]:
        """Where the content of a frame begins and how long it is, -1: not known yet."""
        if self._length:
            known = len(data) - at >= 4
            return at + 4, int.from_bytes(data[at + 2 : at + 4], "big") if known else -1
        known = len(data) - at >= 2 + _RECORD_HEADER
        size = _RECORD_HEADER + int.from_bytes(data[at + 5 : at + 7], "big")
        return at + 2, size if known else -1


@dataclass(frozen=True, slots=True)
class Wire:
    """Send these octets as they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Tls:
    """Give these octets to TLS."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """The CONNECT request; the EMT has to be reached now."""

    request: Request


@dataclass(frozen=True, slots=True)
class Payload:
    """Data for the EMT."""

    data: bytes


class SocksServer:
    """One client's conversation.

    Args:
        rules: of the device profile.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._length = rules.framing == "length"
        self._frames = FrameReader(length=self._length)
        self._buffer = b""
        self._optioned = False
        self._says = State.HANDSHAKE
        self.phase = Phase.METHOD

    def receive(self, data: bytes) -> list[Wire | Tls]:
        """Take octets of the wire.

        Raises:
            SocksError: the conversation is over; :meth:`refusal` is what may be sent before.
        """
        if self.phase is not Phase.METHOD:
            return self._take(data)
        self._buffer += data
        greeting = parse_methods(self._buffer)
        if greeting is None:
            return []
        methods, rest = greeting
        others = set(methods) - {METHOD_TLS}
        if METHOD_TLS not in methods or (others and self._rules.other_methods == "refuse"):
            raise SocksError(f"methods {bytes(methods).hex()}")
        self._buffer, self.phase = b"", Phase.HANDSHAKE
        return [Wire(bytes((VERSION, METHOD_TLS))), *self._take(rest)]

    def refusal(self) -> bytes:
        """Return what a client without an acceptable method gets, b"" later on."""
        return bytes((VERSION, NO_METHOD)) if self.phase is Phase.METHOD else b""

    def _take(self, data: bytes) -> list[Wire | Tls]:
        found: list[Wire | Tls] = []
        octets = b""
        for state, content in self._frames.receive(data):
            if state not in TABLE[self.phase]:
                raise SocksError(f"frame of state {state:02x} in phase {self.phase}")
            if state is State.OPTIONS:
                # figure F17: empty options; the client's are not for us, ours are none
                if self._optioned or len(content) > _MAX_OPTIONS:
                    raise SocksError("second or long option negotiation")
                self._optioned = True
                found.append(Wire(self._no_options()))
                continue
            octets += content
        return [*found, Tls(octets)] if octets else found

    def _no_options(self) -> bytes:
        return write_frame(State.OPTIONS, b"") if self._length else b""

    def established(self) -> None:
        """TLS stands."""
        self.phase = Phase.REQUEST
        self._says = State.DATA

    def decrypted(self, data: bytes) -> list[Asked | Payload]:
        """Take octets that came through TLS.

        Raises:
            SocksError: a request that is refused, with its reply.
        """
        if self.phase is not Phase.REQUEST:
            return [Payload(data)]
        self._buffer += data
        found = parse_request(self._buffer)
        if found is None:
            return []
        request, rest = found
        self._buffer, self.phase = b"", Phase.WAITING
        return [Asked(request), Payload(rest)] if rest else [Asked(request)]

    def answered(self, reply: Reply) -> bytes:
        """Return the reply to the request; after a good one data flows."""
        self.phase = Phase.FLOW if reply is Reply.OK else Phase.OVER
        return write_reply(reply)

    def closing(self) -> None:
        """What TLS says from now on is its farewell."""
        self._says = State.CLOSING

    def wrap(self, octets: bytes) -> bytes:
        """Put octets of TLS into frames, one record each."""
        return b"".join(
            write_frame(self._says, record, length=self._length) for record in split_records(octets)
        )
