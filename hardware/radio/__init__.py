"""Radio receivers (wM-Bus): what people plug into a Raspberry Pi, as parsers without I/O."""

from __future__ import annotations

from hardware.radio.amber import Amber
from hardware.radio.cul import Cul
from hardware.radio.im871a import Im871a
from hardware.radio.lines import HexLines, RtlWmbusLines
from hardware.radio.rc1180 import Rc1180
from hardware.radio.stick import Damage, Event, Heard, Lost, Ready, Stick

STICKS: dict[str, type[Stick]] = {
    "im871a": Im871a,
    "amb8465": Amber,
    "metis": Amber,
    "cul": Cul,
    "rc1180": Rc1180,
    "rtl_wmbus": RtlWmbusLines,
    "hex": HexLines,
}
DEFAULT_STICK = "im871a"

__all__ = [
    "DEFAULT_STICK",
    "STICKS",
    "Damage",
    "Event",
    "Heard",
    "Lost",
    "Ready",
    "Stick",
]
