"""What one consumer may see: his contracts, their value lists, his log (TR-03109-1 v1.0 11.1).

Every question of the HAN interface goes through a :class:`ConsumerView`, which holds one consumer
and never leaves his data (GW-11).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

from smgw_emu.core.config import Consumer, UsagePoint
from smgw_emu.core.device import Device
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.legal_time import month_starts
from smgw_emu.core.obis import Obis
from smgw_emu.core.status import bit
from smgw_emu.core.tariff import DATABASES
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

    def billing_periods(self, point: UsagePoint, now: DeviceTime) -> list[BillingPeriod]:
        """Return the billing periods since the contract began, the last one open if it runs.

        Calendar months of legal local time (TAF1: not shorter than a month; GW-N13 for TAF7).
        """
        if now < point.begin:
            return []
        finish = point.finish
        last = now if finish is None else min(now, finish)
        edges = [point.begin, *month_starts(point.begin, last)]
        periods = [BillingPeriod(begin, end) for begin, end in pairwise(edges)]
        if finish is None or now < finish:
            periods.append(BillingPeriod(edges[-1], None))
        elif edges[-1] < finish:
            periods.append(BillingPeriod(edges[-1], finish))
        return periods

    def databases(self, point: UsagePoint) -> tuple[str, ...]:
        """Return the names of the contract's value lists."""
        return DATABASES[point.taf]

    def channels(self, point: UsagePoint, database: str) -> list[Channel]:
        """Return the registers of a list; they are known before the first line is written."""
        counts: dict[Obis, int] = {}
        for owner in _owners(point, database):
            counts.update(dict(self.device.store.channels(database, owner, point.period_s)))
        newest = {reading.obis: reading for reading in self.last_readings(point, database)}
        meter = next(m for m in self.device.config.meter if m.key == point.meters[0].lower())
        channels = []
        for obis in meter.channels:
            line = newest.get(obis)
            scaler, unit = (line.scaler, line.unit) if line else (meter.scaler, meter.unit)
            channels.append(Channel(obis, scaler, unit, counts.get(obis, 0)))
        return channels

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
        for owner in _owners(point, database):
            lines += self.device.store.readings(database, owner, point.period_s, after, until)
        return self._shown(point, lines, only)

    def last_readings(
        self, point: UsagePoint, database: str, only: Collection[Obis] = ()
    ) -> list[Reading]:
        """Return the newest line of each register within the contract's validity."""
        lines: list[Reading] = []
        for owner in _owners(point, database):
            newest = self.device.store.last_readings(database, owner, point.period_s, point.finish)
            lines += newest.values()
        return self._shown(point, lines, only)

    def _shown(
        self, point: UsagePoint, lines: list[Reading], only: Collection[Obis]
    ) -> list[Reading]:
        begin, finish = point.begin, point.finish
        shown = [
            line
            for line in lines
            if line.target >= begin
            and (finish is None or line.target <= finish)
            and (not only or line.obis in only)
        ]
        if point.transparency:
            mark = bit(1)
            shown = [dataclasses.replace(x, smgw_word=x.smgw_word | mark) for x in shown]
        return sorted(shown, key=lambda line: (line.obis, line.target))


def _owners(point: UsagePoint, database: str) -> list[str]:
    """Origin lines belong to meters, all others to the usage point."""
    return [m.lower() for m in point.meters] if database == "origin" else [point.name]
