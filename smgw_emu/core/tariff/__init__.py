"""Tariff use cases: each with its definition, parameters and source at the top of its module.

``base`` says how all of them work, ``totals`` how readings become amounts, ``stages`` how amounts
are distributed, ``calendar`` which stage the clock says, ``check`` what a profile must fulfil.
"""

from __future__ import annotations

from types import MappingProxyType

from smgw_emu.core.tariff import taf1, taf2, taf3, taf4, taf5, taf6, taf7, taf8, taf12, taf13
from smgw_emu.core.tariff.base import RuleSet
from smgw_emu.core.tariff.events import ControlEvents, EventReadings
from smgw_emu.core.tariff.volatile import CurrentFeedIn, GridState, HighFrequency
from smgw_emu.core.usage_point import UsagePoint

__all__ = ["USE_CASES", "RuleSet", "use_case"]

_CLASSES: tuple[type[RuleSet], ...] = (
    taf1.RuleSet, taf2.RuleSet, taf3.RuleSet, taf4.RuleSet, taf5.RuleSet, taf6.RuleSet,
    taf7.RuleSet, taf8.RuleSet, CurrentFeedIn, GridState, ControlEvents, taf12.RuleSet,
    taf13.RuleSet, HighFrequency, EventReadings,
)  # fmt: skip

USE_CASES = MappingProxyType({cls.TAF: cls for cls in _CLASSES})
"""Every use case by its number; there is no TAF15."""


def use_case(point: UsagePoint) -> type[RuleSet]:
    """Return the use case of a contract."""
    return USE_CASES[point.taf]
