"""What kinds of wireless meters there are and which records they send.

The record lists follow the examples of OMS Annex N (gas, heat cost) and what meters of these kinds
usually send; they are our own choice [I]. ``TST`` is no assigned manufacturer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from smgw_emu.core.instants import HOUR, WorldTime

MAKER = "TST"
VERSION = 0x01
_SHAPE = (3, 2, 2, 2, 3, 6, 9, 9, 7, 5, 4, 4, 5, 4, 4, 4, 5, 7, 9, 9, 7, 5, 4, 3)
_DAY = 24 * HOUR
_TOTAL = sum(_SHAPE)


def bcd(value: int, octets: int) -> bytes:
    """Return a number as BCD, LSB first; it rolls over like a counter."""
    return bytes.fromhex(f"{value % 10 ** (2 * octets):0{2 * octets}d}")[::-1]


def type_f(moment: datetime) -> bytes:
    """Return date and time of type F."""
    year = moment.year - 2000
    return bytes(
        (
            moment.minute,
            moment.hour,
            moment.day | (year & 7) << 5,
            moment.month | (year >> 3) << 4,
        )
    )


def type_g(moment: datetime) -> bytes:
    """Return a date of type G."""
    return type_f(moment)[2:]


def counter(at: WorldTime, seed: int, daily: int) -> int:
    """Return a counter's state: it rises by ``daily`` a day, more by day than by night.

    Any moment is computable on its own, so a meter knows its past.
    """
    days, rest = divmod(at.ns, _DAY)
    hours, part = divmod(rest, HOUR)
    before = sum(_SHAPE[:hours])
    today = (before * HOUR + _SHAPE[hours] * part) * daily // (_TOTAL * HOUR)
    return (days - 20_000) * daily + today + seed * 1_000


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of meter.

    Attributes:
        name: on the command line.
        device_type: EN 13757-7.
        main: header of the record of its counter, without storage number.
        octets: of BCD of that record.
        daily: counts a day.
        obis: register the gateway makes of it.
        unit, scaler: DLMS, for the meter profile.
        extras: further records at a moment.
    """

    name: str
    device_type: int
    main: bytes
    octets: int
    daily: int
    obis: str
    unit: int
    scaler: int
    extras: Callable[[WorldTime, int], bytes] = lambda _at, _seed: b""

    def value(self, at: WorldTime, seed: int) -> int:
        """Return the counter at a moment, in units of its record."""
        return counter(at, seed, self.daily)


def _flow(at: WorldTime, seed: int, daily: int) -> int:
    return counter(at, seed, daily) - counter(at + -HOUR, seed, daily)


def _water(at: WorldTime, seed: int) -> bytes:
    return b"\x0a\x3b" + bcd(_flow(at, seed, 420), 2)  # l/h


def _heat(at: WorldTime, seed: int) -> bytes:
    volume = b"\x0c\x13" + bcd(counter(at, seed, 1500), 4)
    power = b"\x0b\x2d" + bcd(_flow(at, seed, 600), 3)  # 100 W
    flow = b"\x0b\x3b" + bcd(_flow(at, seed, 1500), 3)
    return volume + power + flow + b"\x0a\x5a\x45\x06" + b"\x0a\x5e\x30\x04"  # 64.5 C, 43.0 C


def _cold(at: WorldTime, seed: int) -> bytes:
    volume = b"\x0c\x13" + bcd(counter(at, seed, 900), 4)
    return volume + b"\x0a\x5a\x62\x00" + b"\x0a\x5e\x17\x01"  # 6.2 C, 11.7 C


def _heat_cost(at: WorldTime, seed: int) -> bytes:
    """Due date and its value: the end of last year."""
    due = at.datetime().replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    value = counter(WorldTime.from_datetime(due), seed, 3)
    return b"\x42\x6c" + type_g(due - timedelta(days=1)) + b"\x4b\x6e" + bcd(value, 3)


def _electricity(at: WorldTime, seed: int) -> bytes:
    back = counter(at, seed, 2_000)
    return b"\x0e\x83\x3c" + bcd(back, 6) + b"\x0b\x2b" + bcd(_flow(at, seed, 9_000), 3)


def _kinds(kinds: Iterable[Kind]) -> MappingProxyType[str, Kind]:
    return MappingProxyType({kind.name: kind for kind in kinds})


# VIFs: 13 0.001 m3, 06 kWh, 6E units, 03 Wh
KINDS = _kinds(
    (
        Kind("gas", 0x03, b"\x0c\x13", 4, 7_500, "7-0:3.0.0*255", 13, -3),
        Kind("water", 0x07, b"\x0c\x13", 4, 420, "8-0:1.0.0*255", 13, -3, _water),
        Kind("warm-water", 0x06, b"\x0c\x13", 4, 160, "9-0:1.0.0*255", 13, -3),
        Kind("heat", 0x04, b"\x0c\x06", 4, 60, "6-0:1.0.0*255", 30, 3, _heat),
        Kind("cooling", 0x0A, b"\x0c\x06", 4, 20, "5-0:1.0.0*255", 30, 3, _cold),
        Kind("heat-cost", 0x08, b"\x0b\x6e", 3, 3, "4-0:1.0.0*255", 255, 0, _heat_cost),
        Kind("electricity", 0x02, b"\x0e\x03", 6, 9_000, "1-0:1.8.0*255", 30, 0, _electricity),
    )
)
