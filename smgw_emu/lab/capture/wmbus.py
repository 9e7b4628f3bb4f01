"""wM-Bus as scapy layers: ``from smgw_emu.lab.capture.wmbus import WmbusLink``.

Written with scapy's own fields from ``lmn-wireless.md`` 1, so it is a second description beside
:mod:`lmn.wmbus`. A :class:`WmbusLink` is a bare frame (``L C M A CI ...``, without checksums, as
receivers give it); :class:`WmbusAir` one of format A with its checksums. The application layer is
:class:`MbusRecords` where it is in the clear, else raw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scapy.fields import (
    BitField,
    ByteEnumField,
    ByteField,
    ConditionalField,
    LEIntField,
    LEShortField,
    StrField,
    XByteField,
    XLEShortField,
    XStrLenField,
)
from scapy.packet import Packet, Raw, bind_layers

_BLOCK, _HEAD, _CRC = 16, 10, 2
_MORE, _MCL, _ML, _MCR, _MAC, _KI = 14, 13, 12, 11, 10, 9
_CONTROLS = {0x44: "SND-NR", 0x46: "SND-IR", 0x47: "ACC-NR", 0x48: "ACC-DMD", 0x08: "RSP-UD"}
_LAYERS = {
    0x8C: "ELL I", 0x8D: "ELL II", 0x8E: "ELL III", 0x8F: "ELL IV", 0x90: "AFL",
    0x72: "TPL long", 0x7A: "TPL short", 0x78: "no TPL",
}  # fmt: skip


class ManufacturerField(LEShortField):
    """Two octets that are three letters."""

    def i2h(self, _packet: Packet | None, value: int) -> str:
        """Return the letters."""
        return "".join(chr(64 + ((value >> shift) & 0x1F)) for shift in (10, 5, 0))

    def h2i(self, _packet: Packet | None, value: int | str) -> int:
        """Return the number of the letters."""
        if isinstance(value, int):
            return value
        first, second, third = (ord(letter) - 64 for letter in value)
        return first << 10 | second << 5 | third

    def i2repr(self, packet: Packet | None, value: int) -> str:
        """Show the letters."""
        return self.i2h(packet, value)


class NumberField(LEIntField):
    """Four octets of BCD, LSB first, shown as eight digits."""

    def i2repr(self, _packet: Packet | None, value: int) -> str:
        """Show the digits."""
        return f"{value:08X}"


def _sender(prefix: str = "") -> list[Any]:
    """An address in the order of a link header."""
    return [
        ManufacturerField(f"{prefix}manufacturer", 0),
        NumberField(f"{prefix}number", 0),
        XByteField(f"{prefix}version", 0),
        XByteField(f"{prefix}type", 0),
    ]


class WmbusLink(Packet):
    """A bare frame."""

    name = "wM-Bus"
    fields_desc = [  # noqa: RUF012  # scapy's way
        ByteField("length", None),
        ByteEnumField("control", 0x44, _CONTROLS),
        *_sender(),
        ByteEnumField("ci", 0x7A, _LAYERS),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """Fill in the length."""
        if self.length is None:
            pkt = bytes((len(pkt) + len(pay) - 1,)) + pkt[1:]
        return pkt + pay


class WmbusAir(WmbusLink):
    """A frame of format A with its checksums, which are taken out and not checked."""

    name = "wM-Bus, format A"

    def pre_dissect(self, s: bytes) -> bytes:
        """Take the checksums out."""
        bare = s[:_HEAD]
        at = _HEAD + _CRC
        while at < len(s):
            block = s[at : at + _BLOCK + _CRC]
            bare += block[:-_CRC]
            at += len(block)
        return bare


class EllI(Packet):
    """Extended link layer I."""

    name = "ELL I"
    fields_desc = [  # noqa: RUF012
        XByteField("cc", 0x20), ByteField("access", 0), ByteEnumField("ci", 0x7A, _LAYERS),
    ]  # fmt: skip


class EllII(Packet):
    """Extended link layer II: what follows may be encrypted, the CRC with it."""

    name = "ELL II"
    fields_desc = [  # noqa: RUF012
        XByteField("cc", 0x20),
        ByteField("access", 0),
        LEIntField("session", 0),
        XLEShortField("crc", 0),
    ]


class EllIII(Packet):
    """Extended link layer III: with the partner's address."""

    name = "ELL III"
    fields_desc = [  # noqa: RUF012
        XByteField("cc", 0x20),
        ByteField("access", 0),
        *_sender("partner_"),
        ByteEnumField("ci", 0x7A, _LAYERS),
    ]


class EllIV(EllII):
    """Extended link layer IV."""

    name = "ELL IV"
    fields_desc = [*EllIII.fields_desc[:-1], *EllII.fields_desc[2:]]  # noqa: RUF012


def _bit(number: int) -> Callable[[Packet], bool]:
    return lambda packet: bool(packet.fcl >> number & 1)


def _mac_length(packet: Packet) -> int:
    used = 2 + sum(
        size * (packet.fcl >> number & 1)
        for number, size in ((_MCL, 1), (_KI, 2), (_MCR, 4), (_ML, 2))
    )
    return max(0, int(packet.octets) - int(used))


class Afl(Packet):
    """Authentication and fragmentation layer."""

    name = "AFL"
    fields_desc = [  # noqa: RUF012
        ByteField("octets", 15),
        XLEShortField("fcl", 0x2C00),
        ConditionalField(XByteField("mcl", 0x25), _bit(_MCL)),
        ConditionalField(XLEShortField("ki", 0), _bit(_KI)),
        ConditionalField(LEIntField("counter", 0), _bit(_MCR)),
        ConditionalField(XStrLenField("mac", b"", length_from=_mac_length), _bit(_MAC)),
        ConditionalField(LEShortField("message_length", 0), _bit(_ML)),
        ByteEnumField("ci", 0x7A, _LAYERS),
    ]


def _mode(packet: Packet) -> int:
    return int(packet.mode)


_CONFIGURATION: list[Any] = [
    ByteField("access", 0),
    XByteField("status", 0),
    BitField("blocks", 0, 4),
    BitField("low", 0, 4),
    BitField("content", 0, 3),
    BitField("mode", 0, 5),
    ConditionalField(XByteField("cfe", 0x10), lambda p: _mode(p) == 7),
    ConditionalField(XLEShortField("cfe_10", 0x0110), lambda p: _mode(p) == 10),
    ConditionalField(
        LEIntField("counter", 0), lambda p: _mode(p) in {7, 10} and bool(p.content & 1)
    ),
]


class TplShort(Packet):
    """Transport layer with a short header."""

    name = "TPL"
    fields_desc = _CONFIGURATION

    def guess_payload_class(self, payload: bytes) -> type[Packet]:
        """Records in the clear, else raw octets."""
        return MbusRecords if self.mode == 0 else super().guess_payload_class(payload)


class TplLong(TplShort):
    """Transport layer with the meter's address."""

    name = "TPL, long"
    fields_desc = [  # noqa: RUF012
        NumberField("number", 0),
        ManufacturerField("manufacturer", 0),
        XByteField("version", 0),
        XByteField("type", 0),
        *_CONFIGURATION,
    ]


class MbusRecords(Packet):
    """An application layer in the clear, as octets: see ``smgw decode wmbus``."""

    name = "M-Bus records"
    fields_desc = [StrField("records", b"")]  # noqa: RUF012


for _lower in (WmbusLink, WmbusAir, EllI, EllIII, Afl):
    for _ci, _upper in {
        0x8C: EllI, 0x8D: EllII, 0x8E: EllIII, 0x8F: EllIV, 0x90: Afl, 0x7A: TplShort,
        0x72: TplLong, 0x78: MbusRecords,
    }.items():  # fmt: skip
        bind_layers(_lower, _upper, ci=_ci)

__all__ = [
    "Afl",
    "EllI",
    "EllII",
    "EllIII",
    "EllIV",
    "MbusRecords",
    "Raw",
    "TplLong",
    "TplShort",
    "WmbusAir",
    "WmbusLink",
]
