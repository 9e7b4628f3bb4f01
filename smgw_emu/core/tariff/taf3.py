"""TAF3, load-variable tariffs (TR-03109-1 v1.0 4.2.2.3, T23).

A load stage is active when its threshold is exceeded and no higher one is (a negative threshold:
undercut, and no lower one). By the mean power of the registration period (method A, takes effect at
its end) or by the meter's present power (method B). The stage with the threshold nearest to zero
is the one that is active when none is exceeded.

Parameters: ``stages`` with ``threshold`` in W, ``method``, ``power`` (register, method B),
``period_s``, ``billing_period``. TR minimum; the CONEXA does not name it (GW-N03).
"""

from __future__ import annotations

from typing import ClassVar

from smgw_emu.core.obis import Obis
from smgw_emu.core.tariff import base
from smgw_emu.core.tariff.stages import StageRules
from smgw_emu.core.tariff.terms import Step, Terms
from smgw_emu.core.tariff.totals import DECIMALS, Advance, divide, may_be_used, to_inner
from smgw_emu.core.values import UNIT_WATT

_MAX_PERIOD_S = 900  # 4.2.2.3: 15-minute periods at least; longer ones fail calibration law [I]


class RuleSet(StageRules):
    """Stages by power."""

    TAF: ClassVar = 3
    NAME: ClassVar = "Lastvariable Tarife"

    @classmethod
    def faults(cls, terms: Terms) -> base.Faults:
        """Check stages, thresholds, measurand and power register."""
        point, faults = terms.point, super().faults(terms)
        if len(terms.counters) != 1:
            faults.append(("obis", "TAF3: one energy register"))
        if len(terms.meters) != 1:
            faults.append(("meters", "TAF3 reads one meter"))
        thresholds = [stage.threshold for stage in point.stages]
        if len(set(thresholds)) != len(thresholds):
            faults.append(("stages/threshold", "given twice"))
        if point.period_s > _MAX_PERIOD_S:
            faults.append(("period_s", f"TAF3: at most {_MAX_PERIOD_S}"))
        if point.method == "present" and not point.power:
            faults.append(("power", "method present needs a power register"))
        return faults

    def account(self, advance: Advance, step: Step, outcome: base.Outcome) -> None:
        """Add to the stage that was active, then see which one is."""
        self.add(advance, self.state.stage)
        power = self._power(advance, step)
        if power is None:
            if not self.state.stage:
                self.change(self.point.first_stage or self._base(), step, outcome, "begin")
            return
        stage = self._stage_for(power)
        if stage != self.state.stage:
            self.change(stage, step, outcome)
            shown = base.Register(self._power_code(), power, -DECIMALS, UNIT_WATT)
            reason = f"stage {stage}"
            outcome.put(self.lines("calculated", [shown], step.target, good=True, reason=reason))

    def codes(self, database: str) -> list[Obis]:
        """Add the power that made the stage change."""
        codes = super().codes(database)
        return [*codes, self._power_code()] if database == "calculated" else codes

    def _power_code(self) -> Obis:
        """Current average demand: group D = 4 of the energy's code."""
        octets = self.terms.counters[0].octets
        return Obis(octets[:3] + bytes([4, 0]) + octets[5:])

    def _power(self, advance: Advance, step: Step) -> int | None:
        """Return the power in mW that decides, None if there is none."""
        if self.point.method == "present":
            reading = step.readings.get((self.terms.meters[0].key, Obis.parse(self.point.power)))
            if reading is None or not may_be_used(reading, self.dialect):
                return None
            return divide(
                to_inner(reading.value, reading.scaler) * self.terms.meters[0].factor, 1000
            )
        amount = advance.amounts.get(self.terms.counters[0])
        if amount is None or not advance.continuous:
            return None
        return divide(amount * 3600, advance.seconds)

    def _base(self) -> int:
        return min(self.point.stages, key=lambda stage: abs(stage.threshold)).number

    def _stage_for(self, power: int) -> int:
        """Return the stage whose threshold is the last one passed."""
        passed = [
            stage
            for stage in self.point.stages
            if (power > 1000 * stage.threshold if stage.threshold >= 0 else
                power < 1000 * stage.threshold)
        ]  # fmt: skip
        if not passed:
            return self._base()
        return max(passed, key=lambda stage: abs(stage.threshold)).number
