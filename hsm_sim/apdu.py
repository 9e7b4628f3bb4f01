"""APDUs: command and response with short and extended lengths (ISO 7816-4 chapter 5).

A command is ``CLA INS P1 P2 [Lc data] [Le]``, a response ``[data] SW1 SW2``. The instructions are
the subset of ``crypto.md`` 4.2; their names are ISO 7816-4's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from smgw_emu.core.errors import RemoteProtocolError

MAX_DATA = 65_535


class Status(IntEnum):
    """Status words (ISO 7816-4 table 6)."""

    OK = 0x9000
    WRONG_PIN = 0x63C0  # the low digit counts the tries left
    MEMORY = 0x6581
    WRONG_LENGTH = 0x6700
    SECURITY_STATUS = 0x6982
    PIN_BLOCKED = 0x6983
    CONDITIONS = 0x6985
    SM_MISSING = 0x6987
    SM_WRONG = 0x6988
    WRONG_DATA = 0x6A80
    FILE_NOT_FOUND = 0x6A82
    WRONG_PARAMETERS = 0x6A86
    REFERENCE_NOT_FOUND = 0x6A88
    EXISTS = 0x6A89
    UNKNOWN_INSTRUCTION = 0x6D00
    UNKNOWN_CLASS = 0x6E00
    FAILED = 0x6F00


class Ins(IntEnum):
    """Instruction octets."""

    CHANGE_REFERENCE_DATA = 0x24
    MANAGE_SECURITY_ENVIRONMENT = 0x22
    PERFORM_SECURITY_OPERATION = 0x2A
    ACTIVATE = 0x44
    GENERATE_KEY_PAIR = 0x46
    GET_CHALLENGE = 0x84
    GENERAL_AUTHENTICATE = 0x86
    SELECT = 0xA4
    READ_BINARY = 0xB0
    GET_DATA = 0xCA
    UPDATE_BINARY = 0xD6
    DELETE = 0xE4
    TERMINATE = 0xE6


@dataclass(frozen=True, slots=True)
class Command:
    """A command APDU; ``expected`` is Ne, None: no response data asked for."""

    cla: int
    ins: int
    p1: int = 0
    p2: int = 0
    data: bytes = b""
    expected: int | None = None

    def encode(self) -> bytes:
        """Return the octets; lengths are extended only if they must be."""
        head = bytes((self.cla, self.ins, self.p1, self.p2))
        size, expected = len(self.data), self.expected
        if size <= 255 and (expected is None or expected <= 256):
            body = bytes((size,)) + self.data if size else b""
            return head + body + (b"" if expected is None else bytes((expected & 0xFF,)))
        body = b"\x00" + size.to_bytes(2, "big") + self.data if size else b""
        if expected is None:
            return head + body
        tail = (expected & 0xFFFF).to_bytes(2, "big")
        return head + body + (tail if size else b"\x00" + tail)


def decode_command(octets: bytes) -> Command:
    """Read a command APDU.

    Raises:
        RemoteProtocolError: the lengths do not fit (ISO 7816-4 5.1).
    """
    if len(octets) < 4:
        raise RemoteProtocolError("a command APDU has four octets at least")
    cla, ins, p1, p2 = octets[:4]
    body = octets[4:]
    if not body:
        return Command(cla, ins, p1, p2)
    extended = body[0] == 0 and len(body) >= 3
    wide = 2 if extended else 1
    first = int.from_bytes(body[1:3], "big") if extended else body[0]
    rest = body[3:] if extended else body[1:]
    top = 65_536 if extended else 256
    if not rest:
        return Command(cla, ins, p1, p2, b"", first or top)
    if first == 0 or len(rest) not in {first, first + wide}:
        raise RemoteProtocolError("Lc does not fit the data")
    expected = int.from_bytes(rest[first:], "big") or top if len(rest) > first else None
    return Command(cla, ins, p1, p2, rest[:first], expected)


@dataclass(frozen=True, slots=True)
class Response:
    """A response APDU."""

    status: int
    data: bytes = b""

    def encode(self) -> bytes:
        """Return the octets."""
        return self.data + self.status.to_bytes(2, "big")


def decode_response(octets: bytes) -> Response:
    """Read a response APDU.

    Raises:
        RemoteProtocolError: shorter than its status word.
    """
    if len(octets) < 2:
        raise RemoteProtocolError("a response APDU has two octets at least")
    return Response(int.from_bytes(octets[-2:], "big"), octets[:-2])


class Refused(Exception):  # noqa: N818  # a status word, not a fault of the program
    """Raised inside the module to end a command with a status word."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status:04x}")
        self.status = status


_MODES = {
    (0xC1, 0xA4): "Set AT (PACE)",
    (0x41, 0xB6): "Set DST (sign)",
    (0x81, 0xB6): "Set DST (verify)",
    (0x41, 0xA6): "Set KAT (key agreement)",
}
_OPERATIONS = {
    (0x9E, 0x9A): "COMPUTE DIGITAL SIGNATURE",
    (0x00, 0xA8): "VERIFY DIGITAL SIGNATURE",
    (0x00, 0xAE): "VERIFY CERTIFICATE (import of a public key)",
}


def command_name(command: Command) -> str:
    """Return what a command is called, for the log."""
    parameters = (command.p1, command.p2)
    if command.ins == Ins.MANAGE_SECURITY_ENVIRONMENT:
        return f"MSE: {_MODES.get(parameters, 'unknown')}"
    if command.ins == Ins.PERFORM_SECURITY_OPERATION:
        return f"PSO: {_OPERATIONS.get(parameters, 'unknown')}"
    try:
        return Ins(command.ins).name.replace("_", " ")
    except ValueError:
        return f"INS {command.ins:02X}"
