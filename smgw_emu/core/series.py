"""Which series of registrations a configuration needs: per meter, the rasters its contracts share.

TAF2 with switching times off the raster and TAF5 have a raster of their own with further moments,
TAF11 and TAF16 only moments. A meter without a contract is registered at the profile's period, so
its values are there when a contract comes.
"""

from __future__ import annotations

from dataclasses import dataclass

from smgw_emu.core.billing import billing_clock
from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.obis import Obis
from smgw_emu.core.schedule import Events, Raster, Schedule
from smgw_emu.core.status import WordKind
from smgw_emu.core.tariff import use_case
from smgw_emu.core.tariff.terms import Terms, terms_of
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.profiles import Registration

_KINDS = {kind.value: kind for kind in WordKind}
SeriesKey = tuple[str, str]  # meter id in lower case, name of the series


@dataclass(frozen=True, slots=True)
class SeriesPlan:
    """What one meter is registered for in one series.

    Attributes:
        meter: its profile.
        name: of the series.
        registers: all that is registered.
        stored: what of it goes to the origin list.
        signed: stored values get the inner signature.
        points: the contracts that work with it.
        period_s: of the raster.
    """

    meter: Meter
    name: str
    registers: tuple[Obis, ...]
    stored: frozenset[Obis]
    signed: bool
    points: tuple[UsagePoint, ...]
    period_s: int

    @property
    def kind(self) -> WordKind:
        """Which meter word it has."""
        return _KINDS[self.meter.word]

    def schedule(self) -> Schedule:
        """Return when values are registered."""
        owner = self.points[0] if self.name.startswith("@") else None
        kind = Events if owner is not None and use_case(owner).SERIES == "events" else Raster
        raster = kind(self.period_s, billing_clock(self.registers))
        return Schedule(raster, use_case(owner).planned(owner) if owner is not None else None)


def works_with_steps(point: UsagePoint) -> bool:
    """Tell whether registrations are offered to a contract's rule set."""
    cls = use_case(point)
    return cls.STORED or cls.DISPATCH == "request"


def terms_by_name(config: GatewayConfig) -> dict[str, Terms]:
    """Return the terms of every contract."""
    meters = {meter.key: meter for meter in config.meter}
    return {
        point.name: terms_of(point, meters, present=use_case(point).PRESENT)
        for point in config.usage_point
    }


def plan_series(config: GatewayConfig, rules: Registration) -> dict[SeriesKey, SeriesPlan]:
    """Return every series a configuration needs."""
    terms = terms_by_name(config)
    users: dict[SeriesKey, list[UsagePoint]] = {}
    for point in config.usage_point:
        cls = use_case(point)
        if not works_with_steps(point) and cls.DISPATCH != "cycle":
            continue  # nothing is registered for them
        for key in point.keys:
            users.setdefault((key, cls.series(point)), []).append(point)
    plans = {}
    for meter in config.meter:
        mine = [name for key, name in users if key == meter.key] or [str(rules.period_s)]
        for name in mine:
            points = users.get((meter.key, name), [])
            plans[meter.key, name] = _plan(meter, name, points, terms, rules.period_s)
    return plans


def _plan(
    meter: Meter, name: str, points: list[UsagePoint], terms: dict[str, Terms], period_s: int
) -> SeriesPlan:
    wanted = {obis for point in points for obis in terms[point.name].registers}
    keeping = [point for point in points if use_case(point).STORED]
    stored = {obis for point in keeping for obis in terms[point.name].registers}
    if not points:
        wanted = stored = {obis for obis in meter.channels if obis.is_counter}
    return SeriesPlan(
        meter,
        name,
        tuple(obis for obis in meter.channels if obis in wanted),
        frozenset(stored),
        not points or any(use_case(point).SIGNED for point in keeping),
        tuple(points),
        points[0].period_s if points else period_s,
    )
