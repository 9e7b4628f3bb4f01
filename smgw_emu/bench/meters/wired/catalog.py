"""The reference meters of LMN-11 and what each can measure.

Makers, types and firmware versions are those of requirement LMN-11. Which registers a type has, its
hardware name and its number within the device class (DS v2.0 table 9.3: 8181C78260FF to 6FFF) are
our own choice [I]: the makers' lists are not public in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from lmn.sml.places import DEVICE_CLASS


@dataclass(frozen=True, slots=True)
class Model:
    """A type of meter.

    Attributes:
        name: of the type.
        maker: FLAG letters.
        firmware: version of LMN-11.
        hardware: as the meter tells it.
        variant: last but one octet of the device type.
        grid: it measures voltages, currents, frequency and angles.
        export: it has a register for energy fed in.
        quirk: of the pairing, see :class:`lmn.sym.Quirk`.
    """

    name: str
    maker: str
    firmware: str
    hardware: str
    variant: int
    grid: bool = False
    export: bool = True
    quirk: str = ""

    @property
    def device_type(self) -> bytes:
        """Kennzahl of DS v2.0 table 9.3, six octets."""
        return DEVICE_CLASS[:4] + bytes((0x60 | self.variant, 0xFF))


CATALOG = MappingProxyType(
    {
        model.name: model
        for model in (
            Model("MT176", "ISK", "0.32", "MT176-D2A51", 0x0, export=False),
            Model("MT691", "ISK", "0.32", "MT691-D2A54 eHZ", 0x1),
            Model("MT631", "ISK", "0.32", "MT631-D1A51 3.HZ", 0x2, grid=True),
            Model("eBZD", "EMH", "1.06", "eBZD-G", 0x3, grid=True),
            Model("eHZ", "EMH", "1.04", "eHZ-PW8E", 0x4),
            Model("eHZ-early", "EMH", "1.04", "eHZ-PW8E", 0x4, quirk="emh-early"),
        )
    }
)
DEFAULT_MODELS = ("MT631", "eBZD", "MT691", "eHZ", "MT176")
