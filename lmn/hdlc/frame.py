"""One HDLC frame, format type 3 (ISO 13239 H.4; ``lmn-wired.md`` 1.2).

::

    0     1  7E   opening flag
    1     2  format: 1010 S LLLLLLLLLLL, most significant octet first; S = 0, L = octets between
    flags 3     2  destination: aaaaaaa0 (address), sssssss1 (SAP)
    5     2  source
    7     1  control
    8     2  HCS: CRC-16/X.25 over octets 1..7, low octet first
    10    n  information                                          } only when n > 0
    10+n  2  FCS: CRC-16/X.25 over octets 1..9+n, low octet first }
    end   1  7E   closing flag

L is 9 without information (the HCS is the only check), 11 + n with it. There is no stuffing: the
length delimits, and 7E may occur inside.

Control octet (modulo 8, P/F = 10): ``I = NR<<5 | P<<4 | NS<<1``, ``RR = NR<<5|P|01``, ``RNR ..05``,
``REJ ..09``, SNRM 93, DISC 53, UA 73, DM 1F, FRMR 97, UI 13.
"""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import NamedTuple

from fastcrc.crc16 import ibm_sdlc as _crc

from smgw_emu.core.errors import LocalProtocolError, RemoteProtocolError

FLAG = 0x7E
TYPE_3 = 0b10100  # format type 1010 and segmentation bit 0
LENGTH_MASK = 0x7FF
HEAD_LENGTH = 9  # L of a frame without information
MIN_FRAME = HEAD_LENGTH + 2  # with both flags
_EMPTY = TYPE_3 << 11 | HEAD_LENGTH  # format field without information
MAX_FRAME = LENGTH_MASK + 2
MAX_INFORMATION = LENGTH_MASK - HEAD_LENGTH - 2
POLL_FINAL = 0x10

_HEAD = struct.Struct(">xHBBBBB")
_RESIDUE = 0x0F47  # CRC-16/X.25 over octets and their own checksum
_new = tuple.__new__


class Kind(StrEnum):
    """What a control octet says."""

    I = "I"  # noqa: E741  # the standard's name
    RR = "RR"
    RNR = "RNR"
    REJ = "REJ"
    SNRM = "SNRM"
    DISC = "DISC"
    UA = "UA"
    DM = "DM"
    FRMR = "FRMR"
    UI = "UI"
    UNKNOWN = "?"


_UNNUMBERED = {
    Kind.SNRM: 0x83,
    Kind.DISC: 0x43,
    Kind.UA: 0x63,
    Kind.DM: 0x0F,
    Kind.FRMR: 0x87,
    Kind.UI: 0x03,
}
_SUPERVISORY = {Kind.RR: 0x01, Kind.RNR: 0x05, Kind.REJ: 0x09}


def control(kind: Kind, *, nr: int = 0, ns: int = 0) -> int:
    """Return a control octet with P/F set, as every known implementation sends it.

    Raises:
        LocalProtocolError: the kind has no octet.
    """
    if kind is Kind.I:
        return nr << 5 | POLL_FINAL | ns << 1
    if kind in _SUPERVISORY:
        return nr << 5 | POLL_FINAL | _SUPERVISORY[kind]
    if kind in _UNNUMBERED:
        return _UNNUMBERED[kind] | POLL_FINAL
    raise LocalProtocolError(f"no control octet for {kind}")


def _kind(octet: int) -> Kind:
    if not octet & 1:
        return Kind.I
    table = _UNNUMBERED if octet & 3 == 3 else _SUPERVISORY
    mask = ~POLL_FINAL if octet & 3 == 3 else 0x0F
    return next((kind for kind, value in table.items() if octet & mask == value), Kind.UNKNOWN)


KINDS = tuple(_kind(octet) for octet in range(256))


class Frame(NamedTuple):
    """A frame.

    Attributes:
        destination, source: HDLC addresses, 0..127.
        destination_sap, source_sap: protocol selectors, 0..127.
        control: the control octet.
        information: the information field, empty if there is none.
    """

    destination: int
    destination_sap: int
    source: int
    source_sap: int
    control: int
    information: bytes = b""

    @property
    def kind(self) -> Kind:
        """What the control octet says."""
        return KINDS[self.control]

    @property
    def poll_final(self) -> bool:
        """The P/F bit."""
        return bool(self.control & POLL_FINAL)

    @property
    def nr(self) -> int:
        """N(R) of an I or supervisory frame."""
        return self.control >> 5

    @property
    def ns(self) -> int:
        """N(S) of an I frame."""
        return self.control >> 1 & 7


def encode_frame(frame: Frame, *, sap_first: bool = False) -> bytes:
    """Encode a frame with both flags.

    Raises:
        LocalProtocolError: an address, the control octet or the information does not fit.
    """
    destination, destination_sap, source, source_sap, octet, information = frame
    for value in (destination, destination_sap, source, source_sap):
        if not 0 <= value <= 0x7F:
            raise LocalProtocolError(f"HDLC address or SAP {value} is not 0..127")
    if len(information) > MAX_INFORMATION or not 0 <= octet <= 0xFF:
        raise LocalProtocolError(f"{len(information)} octets do not fit an HDLC frame")
    length = HEAD_LENGTH + (len(information) + 2 if information else 0)
    if sap_first:
        destination, destination_sap = destination_sap, destination
        source, source_sap = source_sap, source
    head = struct.pack(
        ">HBBBBB",
        TYPE_3 << 11 | length,
        destination << 1,
        destination_sap << 1 | 1,
        source << 1,
        source_sap << 1 | 1,
        octet,
    )
    body = head + _crc(head).to_bytes(2, "little")
    if information:
        body += information
        body += _crc(body).to_bytes(2, "little")
    return b"~" + body + b"~"


def decode_frame(data: bytes, *, sap_first: bool = False) -> Frame:
    """Decode one frame with both flags.

    Raises:
        RemoteProtocolError: names the field that is wrong.
    """
    size = len(data)
    if size < MIN_FRAME or data[0] != FLAG or data[-1] != FLAG:
        raise RemoteProtocolError("no HDLC frame between two flags")
    form, first, second, third, fourth, octet = _HEAD.unpack_from(data)
    if form != _EMPTY + size - MIN_FRAME or MIN_FRAME < size < MIN_FRAME + 3:
        if form >> 11 != TYPE_3:
            raise RemoteProtocolError(f"format field {form:04x} is not type 3 without segmentation")
        raise RemoteProtocolError(f"length {form & LENGTH_MASK} of {size - 2} octets")
    if _crc(data[1:10]) != _RESIDUE:
        raise RemoteProtocolError("wrong HCS")
    if size > MIN_FRAME and _crc(data[1:-1]) != _RESIDUE:
        raise RemoteProtocolError("wrong FCS")
    if (first | third) & 1 or not second & fourth & 1:
        raise RemoteProtocolError("wrong extension bits in an address")
    if sap_first:
        first, second, third, fourth = second, first, fourth, third
    # past the constructor, which costs a third of the whole
    fields = (first >> 1, second >> 1, third >> 1, fourth >> 1, octet, data[10:-3])
    return _new(Frame, fields)
