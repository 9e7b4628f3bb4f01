"""What one virtual meter measures: counters, power, grid values, status, a log."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

from lmn.sml.bodies import PackHeader, PackPeriod, PackValue, Time
from smgw_emu.bench.meters.electricity import ElectricityMeter
from smgw_emu.bench.meters.wired.catalog import Model
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.core.obis import ACTIVE_ENERGY_EXPORT, ACTIVE_ENERGY_IMPORT, ACTIVE_POWER, Obis
from smgw_emu.core.values import UNIT_WATT, UNIT_WATT_HOUR

UNIT_VOLT, UNIT_AMPERE, UNIT_HERTZ, UNIT_DEGREE = 35, 33, 44, 8  # IEC 62056-62 table 4
MAGNETIC, MECHANICAL, FATAL = 1 << 9, 1 << 10, 1 << 17  # DS v2.0 table 15.1
_SLOT = 900  # seconds between stored values of a registering meter, own choice
_MAX_STORED = 4000
_MAX_LOG = 500
EVENT_CODE = Obis.parse("0000600b00ff")  # COSEM: 0-0:96.11.0 event code


@dataclass(frozen=True, slots=True)
class RegisterValue:
    """A number with DLMS scaler and unit."""

    value: int
    scaler: int
    unit: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored load profile entry: seconds since 1970, status, readings in 0.1 Wh."""

    seconds: int
    status: int
    imported: int
    exported: int


class MeterRegisters:
    """Values of one meter.

    Args:
        model: its type.
        meter: counters and load.
        seed: of the grid values.
        registering: it stores a value every quarter of an hour.
    """

    def __init__(
        self, model: Model, meter: ElectricityMeter, seed: int = 1, *, registering: bool = False
    ) -> None:
        self.model = model
        self.meter = meter
        self._seed = seed
        self.registering = registering
        self.stored: deque[Stored] = deque(maxlen=_MAX_STORED)
        self.events: deque[tuple[int, int]] = deque(maxlen=_MAX_LOG)
        self._last_slot: int | None = None
        self.offset = 0  # a fault: added to the counter of imported energy, 0.1 Wh
        self.clock_offset = 0  # a fault: added to the seconds index
        # seconds between measuring and sending that the meter tells, None: it tells no capture time
        self.delay_s: int | None = None

    def advance(self, now: WorldTime) -> None:
        """Let the counters run, and store what is to be stored."""
        if self.registering:
            slot = now.seconds // _SLOT
            first = slot if self._last_slot is None else max(self._last_slot, slot - _MAX_STORED)
            for number in range(first + 1, slot + 1):
                at = WorldTime(number * _SLOT * SECOND)
                self.meter.advance(at)
                self.stored.append(
                    Stored(
                        at.seconds,
                        self.meter.status(at),
                        self.meter.import_reading,
                        self.meter.export_reading,
                    )
                )
            self._last_slot = slot
        self.meter.advance(now)

    def values(self, now: WorldTime) -> dict[Obis, RegisterValue]:
        """Return all registers at ``now``."""
        self.advance(now)
        meter = self.meter
        found = {
            ACTIVE_ENERGY_IMPORT: RegisterValue(
                max(0, meter.import_reading + self.offset), -1, UNIT_WATT_HOUR
            ),
            ACTIVE_POWER: RegisterValue(meter.power(now), 0, UNIT_WATT),
        }
        if self.model.export:
            found[ACTIVE_ENERGY_EXPORT] = RegisterValue(meter.export_reading, -1, UNIT_WATT_HOUR)
        if self.model.grid:
            found |= self._grid(now)
        return found

    def status(self, now: WorldTime) -> int:
        """Return the status word."""
        return self.meter.status(now)

    def seconds(self, now: WorldTime) -> int:
        """Return the seconds index."""
        return max(0, self.meter.seconds(now) + self.clock_offset)

    def tamper(self, now: WorldTime, bits: int) -> None:
        """Set bits of the status word, and note it in the meter's log."""
        new = bits & ~self.meter.status_faults
        if new:
            self.meter.status_faults |= bits
            self.events.append((now.seconds, new.bit_length() - 1))

    def clear(self, bits: int) -> None:
        """Take bits back."""
        self.meter.status_faults &= ~bits

    def log(self, begin: int, end: int) -> tuple[tuple[PackHeader, ...], tuple[PackPeriod, ...]]:
        """Return the event log as columns and rows of a profile pack."""
        headers = (PackHeader(EVENT_CODE.octets, 255, 0),)
        rows = tuple(
            PackPeriod(Time(3, at, 0, 0), 0, (PackValue(code),))
            for at, code in self.events
            if begin <= at <= end
        )
        return headers, rows

    def profile(
        self, begin: int, end: int, wanted: tuple[Obis, ...]
    ) -> tuple[tuple[PackHeader, ...], tuple[PackPeriod, ...]]:
        """Return stored values as columns and rows of a profile pack."""
        both = {ACTIVE_ENERGY_IMPORT: "imported", ACTIVE_ENERGY_EXPORT: "exported"}
        columns = [obis for obis in (wanted or tuple(both)) if obis in both]
        headers = tuple(PackHeader(obis.octets, UNIT_WATT_HOUR, -1) for obis in columns)
        rows = tuple(
            PackPeriod(
                Time(3, one.seconds, 0, 0),
                one.status,
                tuple(PackValue(getattr(one, both[obis])) for obis in columns),
            )
            for one in self.stored
            if begin <= one.seconds <= end
        )
        return headers, rows

    def _grid(self, now: WorldTime) -> dict[Obis, RegisterValue]:
        """Voltages, currents, angles and frequency: seeded, steady within a second."""
        chance = random.Random(f"{self._seed}:{now.seconds}")  # noqa: S311  # a grid, no secret
        power = self.meter.power(now)
        found: dict[Obis, RegisterValue] = {}
        for phase, code in enumerate((32, 52, 72)):
            volts = 2300 + chance.randint(-60, 60)
            share = power // 3
            milliampere = abs(share) * 10_000 // volts
            found[_code(code)] = RegisterValue(volts, -1, UNIT_VOLT)
            found[_code(code - 1)] = RegisterValue(milliampere, -3, UNIT_AMPERE)
            found[_code(code + 4)] = RegisterValue(share, 0, UNIT_WATT)
            angle = 120 * phase
            if phase:
                found[Obis(bytes((1, 0, 81, 7, phase, 255)))] = RegisterValue(
                    angle + chance.randint(-1, 1), 0, UNIT_DEGREE
                )
        found[_code(14)] = RegisterValue(500 + chance.randint(-1, 1), -1, UNIT_HERTZ)
        return found


def _code(group: int) -> Obis:
    return Obis(bytes((1, 0, group, 7, 0, 255)))
