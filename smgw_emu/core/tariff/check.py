"""What an evaluation profile must fulfil before it is activated (TR-03109-1 v1.0 4.4.3).

Every element that is wrong is named with its reason; one wrong element keeps the profile out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.obis import Obis
from smgw_emu.core.schedule import valid_period
from smgw_emu.core.tariff import USE_CASES, taf13
from smgw_emu.core.tariff.base import Faults
from smgw_emu.core.tariff.terms import terms_of
from smgw_emu.core.usage_point import UsagePoint, parse_clock, parse_date
from smgw_emu.core.wan_profiles import NAME


def check_usage_point(
    point: UsagePoint,
    meters: Mapping[str, Meter],
    consumers: set[str],
    others: Mapping[str, UsagePoint],
) -> Faults:
    """Return every wrong element of a profile with its reason.

    Args:
        point: the profile.
        meters: meter profiles by id in lower case.
        consumers: logins.
        others: all contracts by name.
    """
    faults: Faults = []
    if not NAME.fullmatch(point.name):
        faults.append(("name", f"must match {NAME.pattern}"))
    cls = USE_CASES.get(point.taf)
    if cls is None:
        known = ", ".join(str(number) for number in sorted(USE_CASES))
        faults.append(("taf", f"TAF {point.taf} is not available, choose one of {known}"))
    if point.consumer not in consumers:
        faults.append(("consumer", f"consumer {point.consumer!r} is not configured"))
    faults += _meter_faults(point, meters)
    for element, look in _FORMS:
        faults += _form(element, point, look)
    faults += _validity_faults(point)
    if cls is taf13.RuleSet:
        faults += _source_faults(point, others)
    elif point.sources:
        faults.append(("sources", "only TAF13 shows the lists of other contracts"))
    if cls is not None and not faults:
        terms = terms_of(point, meters, present=cls.PRESENT)
        if not terms.registers:
            faults.append(("obis", "no register that all meters have"))
        elif cls.COUNTS and not terms.counters:
            faults.append(("obis", "no register that counts"))
        else:
            faults += cls.faults(terms)
    return faults


def _form(element: str, point: UsagePoint, look: Callable[[UsagePoint], object]) -> Faults:
    """Return the fault of an element that cannot be read."""
    try:
        look(point)
    except (ConfigError, RemoteProtocolError) as error:
        return [(element, str(error))]
    return []


_FORMS: tuple[tuple[str, Callable[[UsagePoint], object]], ...] = (
    ("start", lambda point: point.begin),
    ("end", lambda point: point.finish),
    ("obis", lambda point: point.registers),
    ("power", lambda point: Obis.parse(point.power) if point.power else None),
    ("billing_period", lambda point: point.billing),
    ("capture_time", lambda point: parse_clock(point.capture_time) if point.capture_time else 0),
    ("stages", lambda point: [Obis.parse(stage.obis) for stage in point.stages if stage.obis]),
    ("day_profiles", lambda p: [s.clock for day in p.day_profiles for s in day.switches]),
    ("special_days", lambda point: [parse_date(day.date) for day in point.special_days]),
)


def _meter_faults(point: UsagePoint, meters: Mapping[str, Meter]) -> Faults:
    faults: Faults = []
    if not point.meters:
        faults.append(("meters", "no meter"))
    for name in point.meters:
        if name.lower() not in meters:
            faults.append(("meters", f"meter {name} is not configured"))
        if point.keys.count(name.lower()) > 1:
            faults.append(("meters", f"meter {name} is given twice"))
    for name in point.subtract:
        if name.lower() not in point.keys:
            faults.append(("subtract", f"meter {name} is none of the contract's"))
    if not valid_period(point.period_s):
        faults.append(("period_s", "period_s must divide a day, or be 2678400 for a month"))
    return faults or _capability_faults(point, meters)


def _capability_faults(point: UsagePoint, meters: Mapping[str, Meter]) -> Faults:
    """Meters deliver often enough, and have the registers (4.4.3 no. 2 and 3)."""
    faults: Faults = []
    codes = [c for c in (*point.obis, point.power) if c and not _form("obis", point, _parsed(c))]
    for meter in (meters[key] for key in point.keys):
        if meter.interval_s > point.period_s:
            reason = f"meter {meter.id} gives values every {meter.interval_s} s only (4.3.2 no. 6)"
            faults.append(("period_s", reason))
        faults += [
            ("obis", f"{code} is no register of meter {meter.id}")
            for code in codes
            if Obis.parse(code) not in meter.channels
        ]
    return faults


def _parsed(code: str) -> Callable[[UsagePoint], object]:
    return lambda _: Obis.parse(code)


def _validity_faults(point: UsagePoint) -> Faults:
    try:
        begin, finish = point.begin, point.finish
    except RemoteProtocolError:
        return []  # told already
    return [("end", "end is not after start")] if finish is not None and finish <= begin else []


def _source_faults(point: UsagePoint, others: Mapping[str, UsagePoint]) -> Faults:
    faults: Faults = [] if point.sources else [("sources", "TAF13: none given")]
    for name in point.sources:
        source = others.get(name)
        if source is None:
            faults.append(("sources", f"contract {name!r} is not configured"))
        elif source.consumer != point.consumer:
            faults.append(("sources", f"contract {name!r} is another consumer's"))
        elif source.taf == point.taf:
            faults.append(("sources", f"contract {name!r} has no lists of its own"))
    return faults
