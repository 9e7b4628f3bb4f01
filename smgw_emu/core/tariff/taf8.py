"""TAF8, extreme power values (TR-03109-1 v1.0 4.2.2.8, T29).

Mean power of each registration period from two consecutive readings, summed over the meters; after
each billing period its ``minima`` lowest and ``maxima`` highest values with their time stamps.
Lines of ``derived``: group D = 3 (minimum) or 6 (maximum), group E the rank from 1; capture-time is
the end of the registration period. Of equal values the earlier one ranks first [own choice].

Parameters: ``minima``, ``maxima``, ``period_s``, ``billing_period``.
TR minimum; the CONEXA does not name it (GW-N03).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from smgw_emu.core.instants import SECOND, DeviceTime
from smgw_emu.core.obis import Obis
from smgw_emu.core.tariff import base
from smgw_emu.core.tariff.terms import Step, Terms
from smgw_emu.core.tariff.totals import DECIMALS, Advance, divide
from smgw_emu.core.values import UNIT_WATT

MAX_EXTREMES = 100  # own choice
_MINIMUM, _MAXIMUM = 3, 6  # OBIS group D: minimum 1, maximum 1


class State(base.State):
    """Power in thousandths and time stamp in seconds, in the order of their rank."""

    low: list[tuple[int, int]] = msgspec.field(default_factory=list)
    high: list[tuple[int, int]] = msgspec.field(default_factory=list)


class RuleSet(base.RuleSet):
    """Extremes of mean power."""

    TAF: ClassVar = 8
    NAME: ClassVar = "Erfassung von Extremwerten für Leistung"
    STATE: ClassVar = State
    DATED: ClassVar = True
    GAPLESS: ClassVar = True

    @classmethod
    def faults(cls, terms: Terms) -> base.Faults:
        """Check the numbers and the measurand."""
        point = terms.point
        faults = [
            (name, f"0 to {MAX_EXTREMES}")
            for name in ("minima", "maxima")
            if not 0 <= getattr(point, name) <= MAX_EXTREMES
        ]
        if not point.minima and not point.maxima:
            faults.append(("minima", "TAF8: at least one minimum or maximum"))
        if len(terms.counters) != 1:
            faults.append(("obis", "TAF8: one energy register"))
        return faults

    def account(self, advance: Advance, step: Step, outcome: base.Outcome) -> None:  # noqa: ARG002
        """Rank the mean power of the period that ends now."""
        (obis,) = self.terms.counters
        milli = advance.amounts.get(obis)
        if milli is None or not advance.continuous:
            return
        power, stamp = divide(milli * 3600, advance.seconds), step.target.seconds
        low = sorted([*self.state.low, (power, stamp)])
        high = sorted([*self.state.high, (power, stamp)], key=lambda item: (-item[0], item[1]))
        self.state.low, self.state.high = low[: self.point.minima], high[: self.point.maxima]

    def period_lines(self, target: DeviceTime) -> list[base.Register]:  # noqa: ARG002
        """Return the extremes of the period that ends."""
        return [
            base.Register(
                self._code(kind, rank),
                power,
                -DECIMALS,
                UNIT_WATT,
                stamp * SECOND,
            )
            for kind, ranked in ((_MINIMUM, self.state.low), (_MAXIMUM, self.state.high))
            for rank, (power, stamp) in enumerate(ranked, 1)
        ]

    def _code(self, kind: int, rank: int) -> Obis:
        octets = self.terms.counters[0].octets
        return Obis(octets[:3] + bytes([kind, rank]) + octets[5:])

    def codes(self, database: str) -> list[Obis]:
        """Return the ranks, or the sum for the daily values."""
        if database != "derived":
            return super().codes(database)
        ranks = ((_MINIMUM, self.point.minima), (_MAXIMUM, self.point.maxima))
        return [self._code(kind, rank + 1) for kind, count in ranks for rank in range(count)]

    def next_period(self, edge: DeviceTime, outcome: base.Outcome, *, good: bool) -> None:  # noqa: ARG002
        """Begin anew."""
        self.state.low, self.state.high = [], []
