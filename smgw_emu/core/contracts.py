"""What one consumer may see: his contracts, their value lists, his log (TR-03109-1 v1.0 11.1).

Every question of the HAN interface goes through a :class:`ConsumerView`, which holds one consumer
and never leaves his data (GW-11).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

from smgw_emu.core.billing import edges
from smgw_emu.core.config import Consumer
from smgw_emu.core.device import Device
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.obis import Obis
from smgw_emu.core.status import bit
from smgw_emu.core.tariff import use_case
from smgw_emu.core.tariff.base import NOT_A_UNIT
from smgw_emu.core.tariff.terms import Terms
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.value_lists import parts_of, sources_of
from smgw_emu.core.values import Reading


@dataclass(frozen=True, slots=True)
class Channel:
    """One register of a value list, with the scaler and unit of its lines."""

    obis: Obis
    scaler: int
    unit: int
    records: int


@dataclass(frozen=True, slots=True)
class BillingPeriod:
    """A billing period; ``end`` is None for the open one."""

    begin: DeviceTime
    end: DeviceTime | None


class ConsumerView:
    """The gateway as one consumer may see it."""

    def __init__(self, device: Device, consumer: Consumer) -> None:
        self.device = device
        self.consumer = consumer

    def usage_points(self) -> list[UsagePoint]:
        """Return the consumer's contracts."""
        login = self.consumer.login
        return [point for point in self.device.config.usage_point if point.consumer == login]

    def usage_point(self, logical_name: str) -> UsagePoint | None:
        """Return one of the consumer's contracts by its logical name."""
        for point in self.usage_points():
            if point.logical_name == logical_name:
                return point
        return None

    def terms(self, point: UsagePoint) -> Terms:
        """Return the contract with its meters and registers."""
        return self.device.metering.rules.of(point).terms

    def billing_periods(self, point: UsagePoint, now: DeviceTime) -> list[BillingPeriod]:
        """Return the billing periods since the contract began, the last one open if it runs.

        In legal local time; for gas they begin at 06:00 (TAF1: not shorter than a month).
        """
        if now < point.begin:
            return []
        finish = point.finish
        last = now if finish is None else min(now, finish)
        clock = self.terms(point).clock
        inner = [t for t in edges(point, clock, point.begin, last) if t != finish]
        limits = [point.begin, *inner]
        periods = [BillingPeriod(begin, end) for begin, end in pairwise(limits)]
        if finish is None or now < finish:
            periods.append(BillingPeriod(limits[-1], None))
        elif limits[-1] < finish:
            periods.append(BillingPeriod(limits[-1], finish))
        return periods

    def daily_clock(self, point: UsagePoint) -> str:
        """Return the time of day of the daily values, ``hh:mm:ss``."""
        return self.terms(point).daily.isoformat()

    def databases(self, point: UsagePoint) -> tuple[str, ...]:
        """Return the names of the contract's value lists."""
        return use_case(point).DATABASES

    def channels(self, point: UsagePoint, database: str) -> list[Channel]:
        """Return the registers of a list; they are known before the first line is written."""
        counts: dict[Obis, int] = {}
        finest: dict[Obis, int] = {}
        for source in sources_of(self.device, point, database):
            owned = self.device.store.channels(database, source.owner, source.series)
            for obis, count, scaler in owned:
                counts[obis] = counts.get(obis, 0) + count
                finest[obis] = min(scaler, finest.get(obis, scaler))
        newest = {reading.obis: reading for reading in self.last_readings(point, database)}
        codes = dict.fromkeys(
            [
                code
                for part in parts_of(self.device.config, point)
                for code in self._codes(part, database)
            ]
        )
        channels = []
        for obis in codes:
            scaler, unit = self._shape(point, obis, newest.get(obis))
            # a meter exchange may have brought another resolution: one scaler fits all lines
            shown = min(scaler, finest.get(obis, scaler))
            channels.append(Channel(obis, shown, unit, counts.get(obis, 0)))
        return channels

    def _codes(self, point: UsagePoint, database: str) -> Sequence[Obis]:
        if database not in use_case(point).DATABASES:
            return []
        rules = self.device.metering.rules.of(point)
        return rules.terms.registers if database == "origin" else rules.codes(database)

    def _shape(self, point: UsagePoint, obis: Obis, newest: Reading | None) -> tuple[int, int]:
        """Return scaler and unit: of the newest line, of the present value, of the profile."""
        if newest is not None:
            return newest.scaler, newest.unit
        current = self.device.metering.current
        meters = [
            meter
            for part in parts_of(self.device.config, point)
            for meter in self.terms(part).meters
        ]
        for meter in meters:
            if (meter.key, obis) in current:
                return current[meter.key, obis][2:]
        if obis.medium == 0:
            return 0, NOT_A_UNIT
        return meters[0].scaler, meters[0].unit

    def readings(
        self,
        point: UsagePoint,
        database: str,
        after: DeviceTime,
        until: DeviceTime,
        only: Collection[Obis] = (),
    ) -> list[Reading]:
        """Return lines with ``after < target <= until`` within the contract's validity."""
        lines: list[Reading] = []
        for source in sources_of(self.device, point, database):
            begin, end = source.limits(after, until)
            lines += self.device.store.readings(database, source.owner, source.series, begin, end)
        return self._shown(point, lines, only)

    def last_readings(
        self, point: UsagePoint, database: str, only: Collection[Obis] = ()
    ) -> list[Reading]:
        """Return the newest line of each register within the contract's validity."""
        cls, metering = use_case(point), self.device.metering
        if not cls.STORED and database == "origin" and not point.sources:
            return self._shown(point, [line for _, line in metering.read_current(point)], only)
        if database == "calculated" and not point.sources:
            active = self._newest(point, database)
            now = metering.current_registers(point, database)
            lines = {line.obis: line for line in (*active, *now)}
            return self._shown(point, list(lines.values()), only)
        return self._shown(point, self._newest(point, database), only)

    def _newest(self, point: UsagePoint, database: str) -> list[Reading]:
        newest: dict[Obis, Reading] = {}
        for source in sources_of(self.device, point, database):
            limit = source.ended or point.finish
            owned = self.device.store.last_readings(database, source.owner, source.series, limit)
            for obis, line in owned.items():
                if obis not in newest or newest[obis].target <= line.target:
                    newest[obis] = line
        return list(newest.values())

    def _shown(
        self, point: UsagePoint, lines: list[Reading], only: Collection[Obis]
    ) -> list[Reading]:
        parts = parts_of(self.device.config, point)
        codes = {code for part in parts for code in self.terms(part).registers}
        names = {part.name for part in parts}
        shown = [
            line
            for line in lines
            if point.valid_at(line.target)
            # meters of other contracts share the series: their registers are not this one's
            and (line.obis in codes or line.meter in names)
            and (not only or line.obis in only)
        ]
        if point.transparency:
            mark = bit(1)
            shown = [dataclasses.replace(x, smgw_word=x.smgw_word | mark) for x in shown]
        return sorted(shown, key=lambda line: (line.obis, line.target))
