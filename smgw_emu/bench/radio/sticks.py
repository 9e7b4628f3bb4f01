"""Virtual radio receivers: they answer a driver as the vendor's firmware does and report telegrams.

Written from the vendors' texts (``lmn-wireless.md`` 7) without the drivers' code, so that a driver
is tested against a second reading. Each one hears only the modes it was set to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from binascii import hexlify
from collections.abc import Iterator

from lmn.wmbus.link import Format, encode_air
from smgw_emu.core.errors import ConfigError

DEFAULT_RSSI = -60


class VirtualStick(ABC):
    """A receiver.

    Attributes:
        dead: it does not answer (unplugged, broken).
    """

    BAUD = 9600

    def __init__(self) -> None:
        self.modes: frozenset[str] = frozenset()
        self.dead = False
        self._buffer = b""

    def receive(self, data: bytes) -> bytes:
        """Take octets of the host; returns answers."""
        if self.dead:
            return b""
        self._buffer = (self._buffer + data)[-1024:]
        return self._answers()

    def hear(self, bare: bytes, mode: str, form: Format, rssi: int = DEFAULT_RSSI) -> bytes:
        """Return what the host is told of a frame on the air, b"" if it is not heard."""
        if self.dead or mode not in self.modes:
            return b""
        return self._report(bare, mode, form, rssi)

    def _packets(self, start: int, length_at: int) -> Iterator[bytes]:
        """Take packets of four octets and a payload out of the buffer."""
        while len(self._buffer) >= 4:
            end = 4 + self._buffer[length_at]
            if self._buffer[0] != start:
                self._buffer = self._buffer[1:]
            elif len(self._buffer) < end:
                return
            else:
                packet, self._buffer = self._buffer[:end], self._buffer[end:]
                yield packet

    @abstractmethod
    def _answers(self) -> bytes: ...

    @abstractmethod
    def _report(self, bare: bytes, mode: str, form: Format, rssi: int) -> bytes: ...


def _fcs(data: bytes) -> bytes:
    """CRC-16/X-25 bit by bit."""
    register = 0xFFFF
    for octet in data:
        register ^= octet
        for _ in range(8):
            register = (register >> 1) ^ (0x8408 if register & 1 else 0)
    return (register ^ 0xFFFF).to_bytes(2, "little")


class VirtualIm871a(VirtualStick):
    """IMST iM871A; ``checksums``: its packets end with a FCS."""

    BAUD = 57_600
    _MODES = {0: "S", 1: "S", 2: "S", 3: "T", 4: "T", 6: "C", 8: "C", 10: "CT"}  # noqa: RUF012

    def __init__(self, *, checksums: bool = False) -> None:
        super().__init__()
        self._flags = 0x80 if checksums else 0
        self._extras = 0

    def _packet(self, endpoint: int, message: int, payload: bytes, tail: bytes = b"") -> bytes:
        flags = self._flags | (self._extras if tail else 0)
        body = bytes((flags | endpoint, message, len(payload))) + payload + tail
        return b"\xa5" + body + (_fcs(body) if flags & 0x80 else b"")

    def _answers(self) -> bytes:
        packets = self._packets(0xA5, 3)
        return b"".join(self._command(p[1] & 0x0F, p[2], p[4:]) for p in packets)

    def _command(self, endpoint: int, message: int, payload: bytes) -> bytes:
        if endpoint == 1 and message == 0x0F:
            # module, mode, firmware 1.4, HCI, four octets of id
            return self._packet(1, 0x10, b"\x21\x00\x14\x16TEST")
        if (endpoint, message) in {(1, 0x03), (2, 0x03)} and len(payload) >= 4:
            self.modes = frozenset(self._MODES.get(payload[2], ""))
            self._extras = (0x40 if payload[3] & 0x10 else 0) | (0x20 if payload[3] & 0x20 else 0)
            return self._packet(endpoint, 0x04, b"\x00")
        return b""

    def _report(self, bare: bytes, mode: str, form: Format, rssi: int) -> bytes:
        del mode, form
        tail = b"\x01\x02\x03\x04" if self._extras & 0x20 else b""
        tail += bytes((2 * (rssi + 100) + 45 & 0xFF,)) if self._extras & 0x40 else b""
        return self._packet(2, 0x03, bare[1:], tail)


class VirtualAmber(VirtualStick):
    """Amber AMB8465-M; ``levels``: telegrams carry the RSSI; ``transparent``: as delivered."""

    BAUD = 9600
    _MODES = {1: "S", 2: "S", 3: "S", 6: "T", 8: "T", 9: "CT", 12: "C", 14: "C"}  # noqa: RUF012

    def __init__(self, *, levels: bool = True, transparent: bool = False) -> None:
        super().__init__()
        self._memory = {0x45: int(levels), 0x05: 0 if transparent else 1}
        self._commands = not transparent

    @staticmethod
    def _packet(command: int, payload: bytes) -> bytes:
        data = bytes((0xFF, command, len(payload))) + payload
        total = 0
        for octet in data:
            total ^= octet
        return data + bytes((total,))

    def _answers(self) -> bytes:
        packets = [p for p in self._packets(0xFF, 2) if p == self._packet(p[1], p[3:-1])]
        return b"".join(self._command(p[1], p[3:-1]) for p in packets)

    def _command(self, command: int, payload: bytes) -> bytes:
        answer = b""
        match command:
            case 0x0C:
                answer = b"\x03\x01\x00"
            case 0x0A if len(payload) == 2:
                answer = payload + bytes((self._memory.get(payload[0], 0),))
            case 0x09 if len(payload) == 3:
                self._memory[payload[0]] = payload[2]
                answer = b"\x00"
            case 0x04 if payload:
                self.modes = frozenset(self._MODES.get(payload[0], ""))
                answer = b"\x00"
            case 0x05:
                answer = b"\x00"
        out = self._packet(command | 0x80, answer) if answer and self._commands else b""
        if command == 0x05:
            self._commands = bool(self._memory[0x05])
        return out

    def _report(self, bare: bytes, mode: str, form: Format, rssi: int) -> bytes:
        del mode, form
        if not self._commands:
            return bare
        level = bytes((2 * (rssi + 74) & 0xFF,)) if self._memory[0x45] else b""
        return self._packet(0x03, bare[1:] + level)


class VirtualCul(VirtualStick):
    """CUL with culfw."""

    BAUD = 38_400

    def _answers(self) -> bytes:
        out = b""
        while b"\n" in self._buffer:
            line, _, self._buffer = self._buffer.partition(b"\n")
            match line.strip():
                case b"V":
                    out += b"V 1.67 TEST CUL868\r\n"
                case b"brs" | b"brt" | b"brc" as order:
                    letter = order[2:].upper().decode()
                    self.modes = frozenset(letter)
                    out += letter.encode() + b"MODE\r\n"
        return out

    def _report(self, bare: bytes, mode: str, form: Format, rssi: int) -> bytes:
        del mode
        level = bytes((0x30, 2 * (rssi + 74) & 0xFF))
        mark = b"bY" if form == "B" else b"b"
        return mark + hexlify(encode_air(bare, form) + level).upper() + b"\r\n"


class VirtualRc1180(VirtualStick):
    """Radiocrafts RC1180-MBUS3."""

    BAUD = 19_200
    _MODES = {0: "S", 1: "T", 2: "T", 3: "S", 8: "C", 9: "C", 10: "CT", 11: "CT"}  # noqa: RUF012

    def __init__(self, *, levels: bool = True) -> None:
        super().__init__()
        self._memory = bytearray(256)
        self._memory[0x03] = 1
        self._memory[0x05] = int(levels)
        self._configuring = False
        self.modes = frozenset("T")

    def _answers(self) -> bytes:
        out = b""
        while self._buffer:
            first = self._buffer[:1]
            if not self._configuring:
                self._configuring = first == b"\x00"
                out += b">" if self._configuring else b""
            elif first == b"0":
                out += bytes(self._memory) + b">"
            elif first == b"X":
                self._configuring = False
                self.modes = frozenset(self._MODES.get(self._memory[0x03], ""))
            elif first == b"M":
                if len(self._buffer) < 4:
                    break
                self._memory[self._buffer[1]] = self._buffer[2]
                self._buffer = self._buffer[3:]
                out += b">"
            self._buffer = self._buffer[1:]
        return out

    def _report(self, bare: bytes, mode: str, form: Format, rssi: int) -> bytes:
        del mode, form
        if self._configuring:
            return b""
        return bare + (bytes((-2 * rssi & 0xFF,)) if self._memory[0x05] else b"")


class RtlWmbus(VirtualStick):
    """Lines as ``rtl_wmbus`` prints them."""

    def __init__(self) -> None:
        super().__init__()
        self.modes = frozenset("STC")

    def _answers(self) -> bytes:
        self._buffer = b""
        return b""

    def _report(self, bare: bytes, mode: str, form: Format, rssi: int) -> bytes:
        del form
        number = bare[7:3:-1].hex().upper()
        head = f"{mode}1;1;1;2026-01-31 12:00:00.000;{rssi + 157};{rssi + 100};{number};0x"
        return head.encode() + hexlify(bare).upper() + b"\n"


class HexWriter(RtlWmbus):
    """Frames as they are on the air, checksums included, in hex, one per line."""

    def _report(self, bare: bytes, mode: str, form: Format, rssi: int) -> bytes:
        del mode, rssi
        return hexlify(encode_air(bare, form)).upper() + b"\n"


VIRTUAL_STICKS: dict[str, type[VirtualStick]] = {
    "im871a": VirtualIm871a,
    "amb8465": VirtualAmber,
    "metis": VirtualAmber,
    "cul": VirtualCul,
    "rc1180": VirtualRc1180,
    "rtl_wmbus": RtlWmbus,
    "hex": HexWriter,
}


def virtual_stick(name: str) -> VirtualStick:
    """Return a new receiver of a kind.

    Raises:
        ConfigError: there is no such kind.
    """
    if name not in VIRTUAL_STICKS:
        raise ConfigError(f"no receiver {name!r}; there are: {', '.join(VIRTUAL_STICKS)}")
    return VIRTUAL_STICKS[name]()
