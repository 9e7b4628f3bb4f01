"""Transport layer: who speaks, status, security mode (EN 13757-7; ``lmn-wireless.md`` 1.5, 1.8).

Short, CI 7A: ``ACC STS CF(2)``; long, CI 72: ``ID(4) M(2) VER TYP ACC STS CF(2)``. Modes 7 and 10
go on with an extension of CF, a key version if V is set, and a message counter if Z is set.
"""

from __future__ import annotations

import msgspec

from lmn.wmbus.link import Address
from smgw_emu.core.errors import RemoteProtocolError

CI_LONG, CI_SHORT, CI_NONE = 0x72, 0x7A, 0x78
CI_ONLY_SHORT, CI_ONLY_LONG = 0x8A, 0x8B  # TPL without an application layer

# what we name and do not read; lmn-wireless.md 1.5
OTHER = {
    0x50: "application reset", 0x51: "command", 0x5A: "command", 0x5B: "command",
    0x60: "DLMS", 0x61: "DLMS", 0x7C: "DLMS", 0x7D: "DLMS", 0x6C: "clock", 0x6D: "clock",
    0x6E: "application error", 0x6F: "application error", 0x70: "application error",
    0x71: "alarm", 0x74: "alarm", 0x75: "alarm", 0x73: "compact frame (Annex G)",
    0x79: "compact frame (Annex G)", 0x7B: "compact frame (Annex G)",
    0x80: "transport layer towards a device", 0x81: "network layer", 0x82: "network layer",
    0x83: "network management", 0x87: "network management", 0x88: "network management",
    0x89: "network management",
}  # fmt: skip

STATUS = {0: "", 1: "busy", 2: "application error", 3: "abnormal condition"}
_STATUS_BITS = {0x04: "power low", 0x08: "permanent error", 0x10: "temporary error"}
KDF_A = 1
_Z = 0x2000
MODE_NONE, MODE_CBC_IV, MODE_B, MODE_D, MODE_TLS = 0, 5, 7, 10, 13
ALL = 0xFF  # mode 10: everything that follows is encrypted


def ci_name(ci: int) -> str:
    """Return the name of a CI field that is not a data header."""
    if 0xA0 <= ci <= 0xB7:
        return "manufacturer specific"
    if 0xB8 <= ci <= 0xBF:
        return "baud rate"
    return OTHER.get(ci, "unknown")


def status_text(status: int) -> str:
    """Return the status octet in words."""
    words = [STATUS[status & 3], *(name for bit, name in _STATUS_BITS.items() if status & bit)]
    if status & 0xE0:
        words.append(f"manufacturer {status >> 5}")
    return ", ".join(word for word in words if word) or "ok"


class Tpl(msgspec.Struct, frozen=True):
    """A transport layer.

    Attributes:
        ci: which header.
        address: of the meter if the header is long; it replaces the link's.
        access: access number.
        status: of the meter.
        cf: configuration field.
        cfe: its extension, as on air.
        version: of the key, b"" without.
        counter: message counter as on air, b"" without.
    """

    ci: int
    address: Address | None = None
    access: int = 0
    status: int = 0
    cf: int = 0
    cfe: bytes = b""
    version: bytes = b""
    counter: bytes = b""

    @property
    def mode(self) -> int:
        """The security mode."""
        return (self.cf >> 8) & 0x1F

    @property
    def blocks(self) -> int:
        """Encrypted blocks of 16 octets (modes 5 and 7)."""
        return (self.cf >> 4) & 0x0F

    @property
    def encrypted(self) -> int:
        """Encrypted octets (mode 10); :data:`ALL` for all."""
        return self.cf & 0xFF

    @property
    def kdf(self) -> int:
        """Key derivation function: 0 the key itself, 1 KDF-A."""
        return (self.cfe[0] >> 4) & 3 if self.cfe else 0

    @property
    def key_id(self) -> int:
        """Which key."""
        return self.cfe[0] & 0x0F if self.cfe else 0

    @property
    def tag_length(self) -> int:
        """Octets of the authentication tag (mode 10)."""
        return 4 + 4 * (self.cfe[1] & 3) if len(self.cfe) == 2 else 0

    @property
    def has_header(self) -> bool:
        """Whether the meter's status is told."""
        return self.ci != CI_NONE

    def encode(self) -> bytes:
        """Return the header as on air."""
        if self.ci == CI_NONE:
            return bytes((CI_NONE,))
        head = bytes((self.ci,))
        if self.address is not None:
            octets = self.address.octets
            head += octets[2:6] + octets[:2] + octets[6:]
        head += bytes((self.access, self.status)) + self.cf.to_bytes(2, "little")
        return head + self.cfe + self.version + self.counter

    def associated(self) -> bytes:
        """Return what the tag of mode 10 covers of the header: CI ACC STS CF CFE KV.

        REQ.WMBUS.Unidirektional.71: address and message counter are not in it; they are in the
        nonce.
        """
        head = bytes((self.ci, self.access, self.status)) + self.cf.to_bytes(2, "little")
        return head + self.cfe + self.version


def parse_tpl(data: bytes) -> tuple[Tpl, bytes]:
    """Read a transport layer; returns it and the application layer.

    Raises:
        RemoteProtocolError: it is cut off, or of a kind that is not read, which is named.
    """
    if not data:
        raise RemoteProtocolError("the frame ends before the transport layer")
    ci = data[0]
    if ci == CI_NONE:
        return Tpl(CI_NONE), data[1:]
    if ci in {CI_LONG, CI_ONLY_LONG}:
        address, at = _address(data), 9
    elif ci in {CI_SHORT, CI_ONLY_SHORT}:
        address, at = None, 1
    else:
        raise RemoteProtocolError(f"CI {ci:02X} ({ci_name(ci)}) is not read")
    if len(data) < at + 4:
        raise RemoteProtocolError("the frame ends within the transport layer")
    access, status = data[at], data[at + 1]
    cf = data[at + 2] | data[at + 3] << 8
    at += 4
    mode = (cf >> 8) & 0x1F
    if mode not in {MODE_B, MODE_D}:
        return Tpl(ci, address, access, status, cf), data[at:]
    size = 1 if mode == MODE_B else 2
    cfe = data[at : at + size]
    at += size
    version = data[at : at + 1] if cfe and cfe[0] & 0x40 else b""
    at += len(version)
    counter = data[at : at + 4] if cf & _Z else b""
    at += len(counter)
    if len(cfe) != size or (cf & _Z and len(counter) != 4) or at > len(data):
        raise RemoteProtocolError("the frame ends within the transport layer")
    return Tpl(ci, address, access, status, cf, cfe, version, counter), data[at:]


def _address(data: bytes) -> Address:
    """Read ID(4) M(2) VER TYP into the order of a link header."""
    return Address(data[5:7] + data[1:5] + data[7:9])
