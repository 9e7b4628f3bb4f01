"""The gateway's side of SYM: pairing and crypto reset (DS v2.0 8.3.1, 8.3.2).

Theory of operation (``lmn-wired.md`` 1.5). The gateway asks, the meter answers with the type | 80;
each answer that is authentic and in order brings the next request of the sequence:

* pairing: 01 the meter's counter, 02 its algorithms, 03 certificate and key made for it, 04 the
  gateway's certificate, 05 the fragment size;
* crypto reset: 01, then 06 and 07.

A request uses the counter of the last answer plus one. An answer's counter must be above the last
authentic one of this meter, also one of an earlier pairing: counters never go back.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from lmn.sym.messages import ANSWER, LAST_COUNTER, NO_COUNTER, SymCodec, SymMessage, SymType
from smgw_emu.core.errors import RemoteProtocolError


@dataclass(frozen=True, slots=True)
class Send:
    """A message for the meter."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """The sequence is complete.

    Attributes:
        suites, curves: what the meter says it can do, IANA numbers; empty if it says it otherwise.
        fragment: its largest fragment in octets, 0 if it did not say.
    """

    suites: tuple[int, ...] = ()
    curves: tuple[int, ...] = ()
    fragment: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The sequence is over without success; ``reason`` names no secret."""

    reason: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a pairing brings to the meter, DER: its certificate, its key (RFC 5915), ours."""

    meter_certificate: bytes
    meter_key: bytes
    gateway_certificate: bytes

    def __repr__(self) -> str:
        return "Credentials(...)"


class _Sequence:
    """Requests in order.

    Args:
        codec: keys of the meter.
        last_counter: the last authentic counter of this meter, 0 for a new key.
    """

    steps: tuple[SymType, ...] = ()

    def __init__(self, codec: SymCodec, last_counter: int = 0) -> None:
        self._codec = codec
        self._index = 0
        self.last_counter = last_counter
        self.result = Finished()

    def start(self) -> Send:
        """Return the first request."""
        return Send(self._codec.encode(self.steps[0], NO_COUNTER))

    def receive(self, octets: bytes) -> Send | Finished | Failed:
        """Take an answer; one that is not authentic ends the sequence."""
        step = self.steps[self._index]
        try:
            message = self._codec.decode(octets)
            self._check(message, step)
            self._note(step, message)
        except RemoteProtocolError as error:
            return Failed(str(error))
        self._index += 1
        if self._index == len(self.steps):
            return self.result
        following = self.steps[self._index]
        counter = self.last_counter + 1
        return Send(self._codec.encode(following, counter, self._data(following)))

    def _check(self, message: SymMessage, step: SymType) -> None:
        if message.type != step | ANSWER:
            raise RemoteProtocolError(f"type {message.type:02x} answers {step:02x}")
        if not self.last_counter < message.counter < LAST_COUNTER:
            raise RemoteProtocolError("the meter's transmission counter does not rise")
        self.last_counter = message.counter

    def _data(self, _step: SymType) -> bytes:
        return b""

    def _note(self, step: SymType, message: SymMessage) -> None:
        """Look at an answer."""


class Pairing(_Sequence):
    """Initial exchange of certificates and of the meter's key."""

    steps = (
        SymType.COUNTER,
        SymType.ALGORITHMS,
        SymType.METER_KEY,
        SymType.GATEWAY_CERTIFICATE,
        SymType.FRAGMENT,
    )

    def __init__(self, codec: SymCodec, credentials: Credentials, last_counter: int = 0) -> None:
        super().__init__(codec, last_counter)
        self._credentials = credentials

    def _data(self, step: SymType) -> bytes:
        given = self._credentials
        if step is SymType.METER_KEY:
            return given.meter_certificate + given.meter_key
        return given.gateway_certificate if step is SymType.GATEWAY_CERTIFICATE else b""

    def _note(self, step: SymType, message: SymMessage) -> None:
        result = self.result
        if step is SymType.ALGORITHMS:
            suites, curves = read_algorithms(message.data)
            self.result = Finished(suites, curves, result.fragment)
        elif step is SymType.FRAGMENT:
            # its width is in the DIN text only; early meters pad with zeros
            width = 4 if len(message.data) == 4 else 2
            fragment = int.from_bytes(message.data[:width], "big")
            self.result = Finished(result.suites, result.curves, fragment)


class CryptoReset(_Sequence):
    """Takes the association out of the meter; what 06 and 07 carry is in the DIN text only [I]."""

    steps = (SymType.COUNTER, SymType.RESET_PREPARE, SymType.RESET)


def write_algorithms(suites: tuple[int, ...], curves: tuple[int, ...]) -> bytes:
    """Return the answer to type 02: count and 16-bit numbers, suites then curves (layout [I])."""
    out = b""
    for numbers in (suites, curves):
        out += bytes((len(numbers),)) + struct.pack(f">{len(numbers)}H", *numbers)
    return out


def read_algorithms(data: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Read the answer to type 02; another layout than ours gives nothing, the handshake decides."""
    found = []
    position = 0
    for _ in range(2):
        count = data[position] if position < len(data) else 0
        end = position + 1 + 2 * count
        if position >= len(data) or end > len(data):
            return (), ()
        found.append(struct.unpack(f">{count}H", data[position + 1 : end]))
        position = end
    # early meters pad with zeros
    return ((), ()) if any(data[position:]) else (found[0], found[1])
