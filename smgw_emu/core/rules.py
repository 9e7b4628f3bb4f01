"""The rule sets of all contracts: they get registrations, their state is in the store.

Several rule sets run in parallel (TR-03109-1 v1.0 4.3.1). A contract with several meters is offered
a target once all of them have settled it; a target that one of them never settles (it joined later,
or power failed in between) is passed over, which its rule set sees as a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.instants import SECOND, DeviceTime
from smgw_emu.core.obis import Obis
from smgw_emu.core.schedule import Schedule
from smgw_emu.core.series import terms_by_name, works_with_steps
from smgw_emu.core.status import Dialect
from smgw_emu.core.store import Store
from smgw_emu.core.tariff import RuleSet, use_case
from smgw_emu.core.tariff.base import Outcome
from smgw_emu.core.tariff.terms import Key, Step
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.values import Reading

LATE = 60 * SECOND  # own choice: windows are far shorter
_ENCODER = msgspec.json.Encoder()


class RuleBook:
    """Every contract's rule set.

    Args:
        store: holds their states.
        dialect: of the status words.
    """

    def __init__(self, store: Store, dialect: Dialect) -> None:
        self._store = store
        self._dialect = dialect
        self._rules: dict[str, RuleSet] = {}
        self._waiting: dict[str, dict[DeviceTime, dict[str, dict[Key, Reading]]]] = {}

    def load(self, config: GatewayConfig) -> None:
        """Set the rule sets up from the configuration and their stored states."""
        terms = terms_by_name(config)
        rows = self._store.execute("SELECT point, taf, state FROM rule_set")
        states: dict[str, tuple[int, str]] = {name: (taf, text) for name, taf, text in rows}
        self._rules, self._waiting = {}, {}
        for point in config.usage_point:
            cls = use_case(point)
            taf, text = states.get(point.name, (0, ""))
            state: Any = msgspec.json.decode(text, type=cls.STATE) if taf == point.taf else None
            self._rules[point.name] = cls(terms[point.name], self._dialect, state)
        for name in states.keys() - self._rules.keys():
            self._store.execute("DELETE FROM rule_set WHERE point = ?", (name,))

    def of(self, point: UsagePoint) -> RuleSet:
        """Return a contract's rule set."""
        return self._rules[point.name]

    def all(self) -> Iterable[RuleSet]:
        """Return every rule set."""
        return self._rules.values()

    def save(self, point: UsagePoint) -> None:
        """Store a rule set's state, durably with the caller's transaction."""
        rules = self._rules[point.name]
        self._store.execute(
            "INSERT OR REPLACE INTO rule_set VALUES (?, ?, ?)",
            (point.name, rules.TAF, _ENCODER.encode(rules.state).decode()),
        )

    def settled(
        self,
        point: UsagePoint,
        meter: str,
        target: DeviceTime,
        values: Mapping[Obis, Reading],
        schedule: Schedule,
        now: DeviceTime,
    ) -> Outcome | None:
        """Take a meter's settled target; None until every meter of the contract has it."""
        if not works_with_steps(point):
            return None
        mine = {(meter, obis): reading for obis, reading in values.items()}
        rules = self._rules[point.name]
        count = len(rules.terms.meters)
        if count > 1:
            waiting = self._waiting.setdefault(point.name, {})
            parts = waiting.setdefault(target, {})
            parts[meter] = mine
            if len(parts) < count:
                return None
            mine = {key: reading for part in parts.values() for key, reading in part.items()}
            self._waiting[point.name] = {t: p for t, p in waiting.items() if t > target}
        last = rules.state.at
        follows = bool(last) and schedule.after(DeviceTime.from_seconds(last)) == target
        late = now if now - target > LATE else None
        outcome = rules.step(Step(target, mine, follows, late))
        self.save(point)
        return outcome
