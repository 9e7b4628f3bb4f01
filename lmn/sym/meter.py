"""A meter's side of SYM: what the gateway's requests do to its memory (``lmn-wired.md`` 1.5).

The meter answers authentic requests whose counter is above the last authentic one; everything else
it does not answer at all. Certificate and key are stored when the gateway's certificate has come
too, in one step: a power cut between 03 and 04 leaves the old pair.
"""

from __future__ import annotations

import msgspec

from lmn.sym.messages import ANSWER, LAST_COUNTER, NO_COUNTER, SymCodec, SymMessage, SymType
from lmn.sym.pairing import write_algorithms
from smgw_emu.core import der
from smgw_emu.core.errors import RemoteProtocolError

SUITES = (0xC02B, 0xC02C, 0xC023, 0xC024)
CURVES = (26, 27, 28, 23, 24)
FRAGMENT = 2048


class PairingMemory(msgspec.Struct):
    """What survives a loss of power.

    Attributes:
        counter: the last counter used by either side.
        certificate, key: of the meter, DER.
        gateway_certificates: accepted ones, newest first.
    """

    counter: int = 1
    certificate: bytes = b""
    key: bytes = b""
    gateway_certificates: tuple[bytes, ...] = ()

    @property
    def paired(self) -> bool:
        """Whether the meter has everything TLS needs."""
        return bool(self.certificate and self.key and self.gateway_certificates)

    def __repr__(self) -> str:
        return f"PairingMemory(paired={self.paired})"


def split_der(data: bytes) -> list[bytes]:
    """Return the DER objects one after the other; what follows the last is padding.

    Raises:
        RemoteProtocolError: an object is cut off, or is not a SEQUENCE.
    """
    found = []
    position = 0
    while position < len(data) and data[position] == der.SEQUENCE:
        size = 2
        length = data[position + 1] if position + 1 < len(data) else 0
        if length > 0x80:
            size += length - 0x80
            length = int.from_bytes(data[position + 2 : position + size], "big")
        end = position + size + length
        if end > len(data) or size > 6:
            raise RemoteProtocolError("a DER object is cut off")
        found.append(data[position:end])
        position = end
    return found


class MeterPairing:
    """Answers SYM messages.

    Args:
        codec: keys of this meter.
        memory: changed in place.
    """

    def __init__(self, codec: SymCodec, memory: PairingMemory) -> None:
        self._codec = codec
        self.memory = memory
        self._received: tuple[bytes, bytes] | None = None
        self._armed = False

    def receive(self, octets: bytes) -> bytes | None:
        """Take a message; returns the answer, or None where the meter stays silent."""
        try:
            message = self._codec.decode(octets)
            kind = SymType(message.type)
        except (RemoteProtocolError, ValueError):
            return None
        counter = self.memory.counter
        first = kind is SymType.COUNTER
        if first != (message.counter == NO_COUNTER):
            return None
        if not first:
            if not counter < message.counter < LAST_COUNTER:
                return None
            counter = message.counter
        if counter + 1 >= LAST_COUNTER:
            return None
        try:
            data = self._execute(kind, message)
        except RemoteProtocolError:
            return None
        if data is None:
            return None
        self.memory.counter = counter + 1
        return self._codec.encode(kind | ANSWER, counter + 1, data)

    def _execute(self, kind: SymType, message: SymMessage) -> bytes | None:
        memory = self.memory
        if kind is not SymType.RESET:
            armed, self._armed = self._armed, kind is SymType.RESET_PREPARE
        else:
            armed, self._armed = self._armed, False
        match kind:
            case SymType.ALGORITHMS:
                return write_algorithms(SUITES, CURVES)
            case SymType.METER_KEY:
                certificate, key = _two(split_der(message.plain))
                self._received = (certificate, key)
            case SymType.GATEWAY_CERTIFICATE:
                own = split_der(message.plain)
                if self._received is None or len(own) != 1:
                    return None
                memory.certificate, memory.key = self._received
                memory.gateway_certificates = (own[0],)
                self._received = None
            case SymType.FRAGMENT:
                return FRAGMENT.to_bytes(2, "big")
            case SymType.RESET:
                if not armed:
                    return None
                memory.certificate = memory.key = b""
                memory.gateway_certificates = ()
        return b""


def _two(found: list[bytes]) -> tuple[bytes, bytes]:
    if len(found) != 2:
        raise RemoteProtocolError("certificate and key expected")
    return found[0], found[1]
