"""Where the lines of a contract's value lists lie, for who shows and who sends them.

Origin lines belong to meters and their series, all others to the contract. A contract keeps the
lines of a meter it had before an exchange (LMN-15); TAF13 has the lists of other contracts.
"""

from __future__ import annotations

from dataclasses import dataclass

from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.device import Device
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.metering import DERIVED_SERIES
from smgw_emu.core.tariff import use_case
from smgw_emu.core.usage_point import UsagePoint


@dataclass(frozen=True, slots=True)
class Source:
    """Where lines lie.

    Attributes:
        point: the contract they belong to.
        owner: meter or contract.
        series: of registrations.
        began, ended: when the meter was in the contract, ``began < target <= ended``.
    """

    point: UsagePoint
    owner: str
    series: str
    began: DeviceTime | None = None
    ended: DeviceTime | None = None

    def limits(self, after: DeviceTime, until: DeviceTime) -> tuple[DeviceTime, DeviceTime]:
        """Narrow a question to the time of the assignment."""
        begin = after if self.began is None else max(after, self.began)
        return begin, until if self.ended is None else min(until, self.ended)


def parts_of(config: GatewayConfig, point: UsagePoint) -> list[UsagePoint]:
    """Return the contracts whose lists a contract shows: itself, or the sources of TAF13."""
    if not point.sources:
        return [point]
    return [
        other
        for other in config.usage_point
        if other.name in point.sources and other.consumer == point.consumer
    ]


def sources_of(device: Device, point: UsagePoint, database: str) -> list[Source]:
    """Return where the lines of a list lie."""
    found: list[Source] = []
    for part in parts_of(device.config, point):
        cls = use_case(part)
        if database not in cls.DATABASES:
            continue
        if database != "origin":
            found.append(Source(part, part.name, DERIVED_SERIES))
        elif cls.STORED:
            found += [
                Source(part, item.meter, item.series, item.began, item.ended)
                for item in device.history.assignments(part)
            ]
    return found
