"""TAF2, time-variable tariffs (TR-03109-1 v1.0 4.2.2.2, T21).

Stages are switched by the clock, exact to the second. At a switching time the readings are taken, a
value list entry is written (list ``calculated``), and the energy since the last switching belongs
to the stage valid until then. Total and error register (63) are of later material (``wan.md`` 5.1).

Parameters: ``stages``, ``day_profiles``, ``week``, ``special_days``, ``billing_period``.
"""

from __future__ import annotations

from typing import ClassVar

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.tariff import base
from smgw_emu.core.tariff.calendar import TariffCalendar, calendar_faults
from smgw_emu.core.tariff.stages import StageRules
from smgw_emu.core.tariff.terms import Step, Terms
from smgw_emu.core.tariff.totals import Advance
from smgw_emu.core.usage_point import UsagePoint

_HOUR_S = 3600


class RuleSet(StageRules):
    """Stages by the clock."""

    TAF: ClassVar = 2
    NAME: ClassVar = "Zeitvariable Tarife"

    def __init__(self, terms: Terms, *rest: object, **named: object) -> None:
        super().__init__(terms, *rest, **named)  # type: ignore[arg-type]
        self._calendar = TariffCalendar(terms.point)
        self._stage, self._from, self._to = 0, DeviceTime(0), DeviceTime(0)

    def _stage_at(self, moment: DeviceTime) -> int:
        """Return the stage from a moment on; the calendar is asked once per stage."""
        if not self._from <= moment < self._to:
            self._stage, self._from = self._calendar.stage_at(moment), moment
            self._to = self._calendar.next_change(moment) or DeviceTime(1 << 62)
        return self._stage

    @classmethod
    def faults(cls, terms: Terms) -> base.Faults:
        """Check stages and calendar."""
        return super().faults(terms) + calendar_faults(terms.point)

    @classmethod
    def series(cls, point: UsagePoint) -> str:
        """Share the raster if every switching time lies on it, summer and winter."""
        seconds = [
            switch.clock.hour * 3600 + switch.clock.minute * 60 + switch.clock.second
            for day in point.day_profiles
            for switch in day.switches
        ]
        shared = _HOUR_S % point.period_s == 0 and not any(s % point.period_s for s in seconds)
        return str(point.period_s) if shared else f"@{point.name}"

    @classmethod
    def planned(cls, point: UsagePoint) -> base.Planned:
        """Register at each switching time."""
        return TariffCalendar(point).next_change

    def account(self, advance: Advance, step: Step, outcome: base.Outcome) -> None:
        """Add to the stage valid until now, then switch."""
        self.add(advance, self.state.stage)
        stage = self._stage_at(step.target)
        self.change(stage, step, outcome, "" if self.state.stage else "begin")

    def barred(self, step: Step, outcome: base.Outcome) -> None:
        """Switch without a value: the entry repeats the registers, marked."""
        stage = self._stage_at(step.target)
        if self.state.stage and stage != self.state.stage:
            self.state.stage = stage
            self.entry(step.target, outcome, f"stage {stage}", good=False)
