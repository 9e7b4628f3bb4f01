"""Tariff, load and event stages: one register per stage, a total, and an error register.

The energy of the whole period is distributed over the stages, exactly one of which is active
(TR-03109-1 v1.0 4.2.1). What a barred or missing registration leaves open goes to the error
register, tariff 63 (``wan.md`` 5.1, PTB transparency software: secondary), because nobody knows
when within the gap it was used: total = stages + error register, always. The registers count from
the beginning of the contract.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

import msgspec

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.obis import Obis
from smgw_emu.core.tariff.base import NOT_A_UNIT, Faults, Outcome, Register, RuleSet, State
from smgw_emu.core.tariff.terms import Step, Terms
from smgw_emu.core.tariff.totals import Advance

ERROR_TARIFF = 63  # wan.md 5.5: 1.8.63
MAX_STAGES = 20  # TRuDI takes 20 besides the error register (han-m2m.md 11)
ACTIVE_STAGE = Obis(bytes.fromhex("0000600e00ff"))  # 0-0:96.14.0 "currently active tariff"


class StagesState(State):
    """Stage registers by code and stage number; ``stage`` is active, 0 before the beginning."""

    stage: int = 0
    amounts: dict[str, dict[int, int]] = msgspec.field(default_factory=dict)


class StageRules(RuleSet):
    """A use case with stages."""

    DATABASES: ClassVar = ("origin", "derived", "calculated", "daily")
    STATE: ClassVar = StagesState
    state: Any

    @classmethod
    def faults(cls, terms: Terms) -> Faults:
        """Check the stages."""
        point = terms.point
        numbers = [stage.number for stage in point.stages]
        faults: Faults = []
        if not numbers:
            faults.append(("stages", "none given"))
        if len(numbers) > MAX_STAGES:
            faults.append(("stages", f"at most {MAX_STAGES}"))
        for number in numbers:
            where = f"stages/{number}"
            if not 1 <= number < ERROR_TARIFF:
                faults.append((where, f"a number from 1 to {ERROR_TARIFF - 1}"))
            if numbers.count(number) > 1:
                faults.append((where, "given twice"))
        named = [stage for stage in point.stages if stage.obis]
        codes = [Obis.parse(stage.obis) for stage in named]
        if named and len(terms.counters) != 1:
            faults.append(("stages/obis", "only with one measurand"))
        if len(set(codes)) != len(codes) or set(codes) & set(terms.counters):
            faults.append(("stages/obis", "a code is used twice"))
        if point.first_stage and point.first_stage not in numbers:
            faults.append(("first_stage", f"no stage {point.first_stage}"))
        return faults

    def stage_register(self, obis: Obis, number: int) -> Obis:
        """Return the code of a stage's register."""
        named = {stage.number: stage.obis for stage in self.point.stages}.get(number)
        return Obis.parse(named) if named else obis.tariff(number)

    def registers(self) -> list[Register]:
        """Return total, stages and error register of each measurand."""
        registers = []
        for obis, total in self._totals_of():
            parts = self.state.amounts.get(obis.hex, {})
            whole = sum(parts.values())
            registers.append(Register(obis, whole, total.scaler, total.unit))
            registers += [
                Register(
                    self.stage_register(obis, number),
                    parts.get(number, 0),
                    total.scaler,
                    total.unit,
                )
                for number in self._numbers(parts)
            ]
        return registers

    def _numbers(self, parts: Collection[int]) -> list[int]:
        """Stages of the profile, those an earlier version has left amounts in, and the error."""
        return sorted({stage.number for stage in self.point.stages} | {*parts, ERROR_TARIFF})

    def codes(self, database: str) -> list[Obis]:
        """Return the registers of a list: total, stages, error; which stage is active."""
        codes = []
        for obis in self.terms.counters:
            parts = self.state.amounts.get(obis.hex, {})
            codes += [obis, *(self.stage_register(obis, n) for n in self._numbers(parts))]
        return [*codes, ACTIVE_STAGE] if database == "calculated" else codes

    def add(self, advance: Advance, number: int) -> None:
        """Add what a registration has brought to a stage, or to the error register."""
        stage = number if advance.continuous and number else ERROR_TARIFF
        for obis, milli in advance.amounts.items():
            parts = self.state.amounts.setdefault(obis.hex, {})
            parts[stage] = parts.get(stage, 0) + milli

    def change(self, number: int, step: Step, outcome: Outcome, reason: str = "") -> None:
        """Make a stage the active one and write the value list entry."""
        if number != self.state.stage:
            self.state.stage = number
            self.entry(step.target, outcome, reason or f"stage {number}")

    def entry(
        self, target: DeviceTime, outcome: Outcome, reason: str, *, good: bool = True
    ) -> None:
        """Write a value list entry: the registers and the stage that is active from now on."""
        active = Register(ACTIVE_STAGE, 1000 * self.state.stage, 0, NOT_A_UNIT)
        registers = [*self.registers(), active]
        outcome.put(self.lines("calculated", registers, target, good=good, reason=reason))
        outcome.changed = True
