"""What a rule set works with: the contract, its meters, its registers, and one registration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time

from smgw_emu.core.billing import billing_clock, daily_clock
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.obis import Obis
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.values import Reading

Key = tuple[str, Obis]  # meter id in lower case, register


@dataclass(frozen=True, slots=True)
class Terms:
    """A contract with what its meters' profiles say.

    Attributes:
        point: the contract.
        meters: profiles of its meters.
        registers: what is registered, tariffed and shown.
        clock: when the billing day begins.
        daily: when the daily value is taken.
        counters: registers that count energy or volume.
    """

    point: UsagePoint
    meters: tuple[Meter, ...]
    registers: tuple[Obis, ...]
    clock: time
    daily: time
    counters: tuple[Obis, ...]

    def sign(self, meter: Meter) -> int:
        """Return +1, or -1 for a meter whose readings are subtracted."""
        return -1 if meter.key in {name.lower() for name in self.point.subtract} else 1


def terms_of(point: UsagePoint, meters: Mapping[str, Meter], *, present: bool = False) -> Terms:
    """Return the terms of a contract whose meters are known.

    Registers the profile does not name are those that all its meters have; present values
    (D = 7) only if ``present``.
    """
    mine = tuple(meters[key] for key in point.keys)
    registers = point.registers
    if not registers:
        shared = set(mine[0].channels).intersection(*(meter.channels for meter in mine))
        registers = tuple(
            obis for obis in mine[0].channels if obis in shared and (present or obis.is_counter)
        )
    if point.power:
        registers = (*registers, Obis.parse(point.power))
    clock = billing_clock(registers)
    registers = tuple(dict.fromkeys(registers))
    counters = tuple(obis for obis in registers if obis.is_counter)
    return Terms(point, mine, registers, clock, daily_clock(point, registers), counters)


@dataclass(frozen=True, slots=True)
class Step:
    """One registration of all meters of a contract.

    Attributes:
        target: the moment.
        readings: what was registered, repeated values included, by meter and register.
        follows: no target was missed since the step before (power cut, clock step).
        late: when it was settled, if that was long after the moment (the clock was set forward).
    """

    target: DeviceTime
    readings: Mapping[Key, Reading]
    follows: bool = True
    late: DeviceTime | None = None
