"""The wake-up packet as a scapy layer: ``from smgw_emu.lab.capture.wakeup import WakeUp``.

Written from Annex A of TR-03109-1 v1.0 with scapy's own fields, so it is a second, independent
description of the packet beside :mod:`wan.wakeup.packet`. :func:`bind` attaches it to UDP ports.
"""

from __future__ import annotations

from scapy.fields import (
    ByteField,
    FieldLenField,
    LESignedLongField,
    StrField,
    StrFixedLenField,
    StrLenField,
    XStrFixedLenField,
)
from scapy.fields import IntField as UnsignedIntField
from scapy.layers.inet import UDP
from scapy.packet import Packet, bind_layers


class WakeUp(Packet):
    """Wake-up packet, version 1."""

    name = "SMGW wake-up"
    fields_desc = [  # noqa: RUF012  # scapy's way
        StrFixedLenField("header", b"WU", 2),
        ByteField("version", 1),
        ByteField("medium", 0x0E),
        StrFixedLenField("manufacturer", b"THE", 3),
        ByteField("block", 3),
        UnsignedIntField("number", 0),
        LESignedLongField("timestamp", 0),
        XStrFixedLenField("padding", b"\x0b" * 12, 12),
        ByteField("signature_format", 1),
        FieldLenField("oid_length", None, length_of="oid", fmt="B"),
        StrLenField("oid", b"", length_from=lambda packet: packet.oid_length),
        StrField("signature", b""),
    ]


def bind(port: int) -> None:
    """Dissect UDP datagrams from and to ``port`` as wake-up packets."""
    bind_layers(UDP, WakeUp, dport=port)
    bind_layers(UDP, WakeUp, sport=port)
