"""The LMN's HDLC frame as a scapy layer: ``from smgw_emu.lab.capture.hdlc import LmnHdlc``.

Written with scapy's own fields from ``lmn-wired.md`` 1.2, so it is a second description of the
frame beside :mod:`lmn.hdlc.frame`. :func:`bind` makes scapy dissect captures of link type 147.
"""

from __future__ import annotations

from scapy.config import conf
from scapy.fields import (
    BitField,
    ConditionalField,
    PacketListField,
    StrFixedLenField,
    StrLenField,
    XByteField,
    XLEShortField,
)
from scapy.packet import Packet

from smgw_emu.lab.capture.pcapng import LINKTYPE_USER0

_RECORD = 32
_UI = 0x13


class LmnRecord(Packet):
    """A participant in a broadcast or an answer."""

    name = "LMN participant"
    fields_desc = [  # noqa: RUF012  # scapy's way
        XByteField("address", 0),
        XByteField("slot", 0),
        StrFixedLenField("participant", b"", 14),
        StrFixedLenField("sensor", b"", 14),
        StrFixedLenField("state", b"\x00\x00", 2),
    ]

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        """Leave what follows to the next record."""
        return b"", s


def _information(packet: Packet) -> int:
    return max(0, int(packet.length) - 11)


def _has_records(packet: Packet) -> bool:
    octets = _information(packet)
    return packet.control == _UI and octets > 0 and octets % _RECORD == 0


class LmnHdlc(Packet):
    """An HDLC frame, format type 3, with both flags."""

    name = "LMN HDLC"
    fields_desc = [  # noqa: RUF012
        XByteField("opening", 0x7E),
        BitField("type", 0b1010, 4),
        BitField("segmentation", 0, 1),
        BitField("length", 9, 11),
        BitField("destination", 0, 7),
        BitField("more_destination", 0, 1),
        BitField("destination_sap", 0, 7),
        BitField("last_destination", 1, 1),
        BitField("source", 0, 7),
        BitField("more_source", 0, 1),
        BitField("source_sap", 0, 7),
        BitField("last_source", 1, 1),
        XByteField("control", 0x13),
        XLEShortField("hcs", 0),
        ConditionalField(
            PacketListField("records", [], LmnRecord, length_from=_information),
            _has_records,
        ),
        ConditionalField(
            StrLenField("information", b"", length_from=_information),
            lambda p: not _has_records(p),
        ),
        ConditionalField(XLEShortField("fcs", 0), lambda p: p.length > 9),
        XByteField("closing", 0x7E),
    ]


def bind() -> None:
    """Dissect captures of link type 147 as LMN frames."""
    conf.l2types.register(LINKTYPE_USER0, LmnHdlc)


__all__ = ["LmnHdlc", "LmnRecord", "bind"]
