"""One virtual wireless meter: counters, faults, telegrams in profiles A, B, D.

The message counter rises by one for each telegram and never runs over (TR-03116-3 7.1): a meter
whose counter is used up falls silent.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import pairwise
from typing import Literal

import msgspec

from lmn.wmbus.encode import Outline, encode_telegram
from lmn.wmbus.link import Address, Control
from smgw_emu.bench.meters.keys import master_key
from smgw_emu.bench.meters.wireless.catalog import MAKER, VERSION, Kind, bcd, type_f
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import SECOND, WorldTime

Mode = Literal["S", "T", "C"]
Form = Literal["A", "B"]
MAX_COUNTER = 0xFFFFFFFF
_MAX_SPACING, _DAY_S = 250, 86_400


class Fault(IntEnum):
    """What a meter reports: mask of EF1, EF2 (<< 8) and the status octet STS (<< 24).

    EF bits as table 15.1 of the Detailspezifikation v2.0 names them, 7 the lowest.
    """

    MAGNETIC = 0x40
    LINK_LOST = 0x20
    HARDWARE = 0x10
    REMOVED = 0x08
    BATTERY = 0x02 | 0x04 << 24
    MECHANICAL = 0x01
    LEAK = 0x04 << 8
    TEMPORARY = 0x10 << 24
    PERMANENT = 0x08 << 24
    ABNORMAL = 0x03 << 24


class Options(msgspec.Struct, frozen=True):
    """How a meter sends.

    Attributes:
        mode: radio mode.
        form: frame format.
        security: security mode 0, 5, 7 or 10.
        tag: octets of the MAC or tag.
        adapter: a radio adapter sends for it: long header.
        compact: elements of an inverse compact profile, 0: none.
        spacing_s: of the profile.
        actuality: the telegram tells how old the value is (DP1!).
        fragment: octets of message per fragment, 0: not fragmented.
    """

    mode: Mode = "T"
    form: Form = "A"
    security: int = 7
    tag: int = 8
    adapter: bool = False
    compact: int = 0
    spacing_s: int = 3600
    actuality: bool = False
    fragment: int = 0


def _spacing(seconds: int) -> tuple[int, int]:
    """Return unit and value of a compact profile's spacing: up to a day, in hours to seconds.

    Raises:
        ConfigError: it cannot be told in one of them.
    """
    for unit, size in ((2, 3600), (1, 60), (0, 1)):
        fits = seconds % size == 0 and 1 <= seconds // size <= _MAX_SPACING
        if fits and seconds <= _DAY_S:
            return unit, seconds // size
    raise ConfigError(
        f"a spacing of {seconds} s: 1 to {_MAX_SPACING} seconds, minutes or hours, a day at most"
    )


class WirelessMeter:
    """A meter.

    Args:
        kind: what it measures.
        number: eight decimal digits.
        options: how it sends.
        seed: same seed, same key and consumption.
        key: master key; default: from the seed.
        first_counter: of the first telegram.

    Raises:
        ConfigError: a number or option that cannot be.
    """

    def __init__(
        self,
        kind: Kind,
        number: int,
        options: Options | None = None,
        *,
        seed: int = 1,
        key: bytes | None = None,
        first_counter: int = 1,
    ) -> None:
        if not 0 <= number <= 99_999_999:
            raise ConfigError(f"meter number {number}: eight digits")
        self.kind = kind
        self.options = options or Options()
        if self.options.form == "B" and self.options.mode != "C":
            raise ConfigError("frame format B is sent in mode C only")
        _spacing(self.options.spacing_s)
        self.seed = seed
        self.address = Address.of(MAKER, f"{number:08d}", VERSION, kind.device_type)
        self.id = self.address.device_id.upper()
        self.key = master_key(seed, self.id) if key is None else key
        self.counter = first_counter
        self.access = first_counter & 0xFF
        self.faults = 0
        self.installing = False
        self.last: list[bytes] = []

    def __repr__(self) -> str:
        return f"WirelessMeter({self.id})"

    # -- what it says ----------------------------------------------------------------------

    def tamper(self, fault: Fault) -> None:
        """Report a fault from now on."""
        self.faults |= fault

    def clear(self) -> None:
        """Report none."""
        self.faults = 0

    @property
    def status(self) -> int:
        """The status octet STS."""
        return self.faults >> 24

    def records(self, now: WorldTime) -> bytes:
        """Return the application layer at a moment."""
        kind = self.kind
        parts = [kind.main + bcd(kind.value(now, self.seed), kind.octets)]
        parts.append(b"\x04\x6d" + type_f(now.datetime()))
        parts.append(self._flags())
        parts.append(kind.extras(now, self.seed))
        if self.options.actuality:
            parts.append(b"\x02\x74\x00\x00")
        if self.options.compact:
            parts.append(self._profile(now))
        return b"".join(parts)

    def _flags(self) -> bytes:
        flags = bytes(
            octet | 0x80 if octet else 0 for octet in (self.faults & 0xFF, self.faults >> 8 & 0xFF)
        )
        return b"\x02\xfd\x17" + flags

    def _profile(self, now: WorldTime) -> bytes:
        """Base of storage 8, its age, and increments back in time (EN 13757-3 Annex F)."""
        kind, spacing = self.kind, self.options.spacing_s * SECOND
        base = WorldTime(now.ns // spacing * spacing)
        values = [
            kind.value(base + -step * spacing, self.seed)
            for step in range(self.options.compact + 1)
        ]
        dif, vif = kind.main[0], kind.main[1:]
        header = bytes((dif | 0x80, 0x04)) + vif
        steps = b"".join(
            (later - earlier).to_bytes(2, "little") for later, earlier in pairwise(values)
        )
        unit, value = _spacing(self.options.spacing_s)
        data = bytes((0x40 | unit << 4 | 0x02, value)) + steps
        age = ((now - base) // SECOND).to_bytes(4, "little")
        profile = bytes((0x8D, 0x04)) + vif[:-1] + bytes((vif[-1] | 0x80, 0x13, len(data))) + data
        return header + bcd(values[0], kind.octets) + b"\x84\x04\x74" + age + profile

    # -- what it sends ---------------------------------------------------------------------

    def frames(self, now: WorldTime) -> list[bytes]:
        """Return the bare frames of its next telegram; none when the counter is used up."""
        if self.counter > MAX_COUNTER:
            return []
        options = self.options
        link, meter = self.address, None
        if options.adapter:
            link = Address.of("RAD", self.address.number, 0x03, 0x37)
            meter = self.address
        control = Control.SND_IR if self.installing else Control.SND_NR
        outline = Outline(
            link, options.security, meter, control, tag=options.tag, fragment=options.fragment
        )
        self.last = encode_telegram(
            outline,
            self.key,
            self.records(now),
            counter=self.counter,
            access=self.access,
            status=self.status,
        )
        self.counter += 1
        self.access = (self.access + 1) & 0xFF
        return self.last
