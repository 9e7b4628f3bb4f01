"""TAF4, consumption-variable tariffs (TR-03109-1 v1.0 4.2.2.4, T25).

Stages with quotas; thresholds count from the start of the billing period (example T24). The amount
of a registration is divided exactly at the quota it passes, so when it was used within a gap does
not matter, unless the gap holds the edge of a billing period: then it goes to the error register.
Value list entries: begin and end of the billing period, quota used up.

Parameters: ``stages`` with ``quota`` (the last one 0), ``period_s``, ``billing_period``.
TR minimum; the CONEXA does not name it (GW-N03).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.tariff import base
from smgw_emu.core.tariff.stages import ERROR_TARIFF, StageRules, StagesState
from smgw_emu.core.tariff.terms import Step, Terms
from smgw_emu.core.tariff.totals import Advance


class State(StagesState):
    """``used``: thousandths in this billing period; ``crossed``: its begin has no value."""

    used: int = 0
    crossed: bool = False


class RuleSet(StageRules):
    """Stages by quantity."""

    TAF: ClassVar = 4
    NAME: ClassVar = "Verbrauchsvariable Tarife"
    STATE: ClassVar = State

    @classmethod
    def faults(cls, terms: Terms) -> base.Faults:
        """Check stages and quotas; only meters of one direction (4.2.2.4.1)."""
        faults = super().faults(terms)
        if len(terms.counters) != 1:
            faults.append(("obis", "TAF4: one measurand"))
        if any(meter.balancing for meter in terms.meters) or terms.point.subtract:
            faults.append(("meters", "TAF4: only meters of one direction, none subtracted"))
        quotas = [stage.quota for stage in terms.point.stages]
        if quotas and (
            quotas[-1] != 0 or 0 in quotas[:-1] or quotas[:-1] != sorted(set(quotas[:-1]))
        ):
            faults.append(("stages/quota", "must rise; the last stage has none"))
        return faults

    def account(self, advance: Advance, step: Step, outcome: base.Outcome) -> None:
        """Distribute the amount over the quotas it passes."""
        if not self.state.stage:
            self.state.stage = self.point.stages[0].number
            self.entry(step.target, outcome, "begin")
        for obis, milli in advance.amounts.items():
            if self.state.crossed:
                parts = self.state.amounts.setdefault(obis.hex, {})
                parts[ERROR_TARIFF] = parts.get(ERROR_TARIFF, 0) + milli
            else:
                self._distribute(
                    dataclasses.replace(advance, continuous=True), milli, step, outcome
                )
        self.state.crossed = False

    def _distribute(self, advance: Advance, milli: int, step: Step, outcome: base.Outcome) -> None:
        (obis,) = advance.amounts
        for stage in self.point.stages:
            if stage.quota and self.state.used >= 1000 * stage.quota:
                continue
            room = 1000 * stage.quota - self.state.used if stage.quota else milli
            part = min(milli, room)
            self.add(dataclasses.replace(advance, amounts={obis: part}), stage.number)
            self.state.used += part
            milli -= part
            if stage.quota and self.state.used >= 1000 * stage.quota:
                following = self.point.stages[self.point.stages.index(stage) + 1]
                self.state.stage = following.number
                self.entry(step.target, outcome, f"quota {stage.number}")
            if not milli:
                return

    def barred(self, step: Step, outcome: base.Outcome) -> None:  # noqa: ARG002
        """A meter that does not keep the sampling rate is a calibration matter (4.2.2.4.1)."""
        if self.state.good:
            outcome.notes.append(("sampling-missed", {"usage_point": self.point.name}))

    def next_period(self, edge: DeviceTime, outcome: base.Outcome, *, good: bool) -> None:
        """End the period with an entry and begin the quotas anew."""
        begins = edge == self.point.begin
        if self.state.stage and not begins:
            self.entry(edge, outcome, "period", good=good)
        if self.state.stage:
            self.state.stage = self.point.stages[0].number
        self.state.used = 0
        self.state.crossed = not good
