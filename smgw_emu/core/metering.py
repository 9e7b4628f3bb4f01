"""Metering: reports of meters become registered, signed, stored readings and derived lists.

Theory of operation (TR-03109-1 v1.0 4.3; architecture section 4): a report is stamped on arrival
and offered to the registrars of its meter. What a target settles is signed and stored in one
transaction together with the derived lines, rule set states and log entries it causes; nothing sees
a value before that transaction is durable. A value of which the status says it must not be used
(PTB status 3 or worse) stays in the origin list but does not enter a derived register (4.3.4).
Present values of TAF9, 10 and 14 pass through to who sends them and are not stored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.instants import SECOND, DeviceTime
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.meter_watch import MeterWatch
from smgw_emu.core.obis import Obis
from smgw_emu.core.registration import Registered, Registrar, Settled, tolerance_ns
from smgw_emu.core.rules import RuleBook
from smgw_emu.core.series import SeriesKey, SeriesPlan, plan_series
from smgw_emu.core.signature import ReadingSigner, signature_input
from smgw_emu.core.status import (
    Condition,
    Dialect,
    WordKind,
    meter_word,
    smgw_word,
    word_conditions,
)
from smgw_emu.core.store import Store
from smgw_emu.core.tariff import use_case
from smgw_emu.core.tariff.base import NOT_A_UNIT, Line, Outcome, RuleSet
from smgw_emu.core.tariff.totals import rollover_capacity, rolls_over, to_inner
from smgw_emu.core.tariff.triggers import TriggerWatch, describe
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.values import MeterReport, Reading
from smgw_emu.profiles import Profile

MAX_CURRENT = 1000  # own choice: registers remembered for display, whatever a meter sends
ERROR_REGISTER = Obis(bytes.fromhex("0000616100ff"))  # 0-0:97.97.0 error register
DERIVED_SERIES = ""  # lists of a usage point belong to no series

Owned = tuple[str, Reading]  # owner of the line (meter or contract), the line
Send = Callable[[UsagePoint, list[Owned], str, DeviceTime], None]


class Metering:
    """The metrological part of one gateway.

    Args:
        config, profile: the gateway.
        store, logbooks: where results go.
        signer: the gateway's signature key.

    Attributes:
        conditions: what the gateway says of all its values.
        current: newest value of each register: capture, value, scaler, unit.
        on_send: takes values that a contract sends at once, in the transaction of their cause.
    """

    def __init__(
        self,
        config: GatewayConfig,
        profile: Profile,
        store: Store,
        logbooks: Logbooks,
        signer: ReadingSigner,
    ) -> None:
        self._config = config
        self._profile = profile
        self._store = store
        self._logbooks = logbooks
        self._signer = signer
        self._dialect = Dialect(profile.registration.status_dialect)
        self._plans: dict[SeriesKey, SeriesPlan] = {}
        self._registrars: dict[SeriesKey, Registrar] = {}
        self._by_meter: dict[str, list[SeriesKey]] = {}
        self._watch = MeterWatch(logbooks, self._dialect)
        self._triggers = TriggerWatch()
        self._words: dict[str, int] = {}
        self._newest: dict[tuple[str, str, Obis], int] = {}
        self.rules = RuleBook(store, self._dialect)
        self.conditions: set[Condition] = set()
        self.current: dict[tuple[str, Obis], tuple[DeviceTime, int, int, int]] = {}
        self.on_send: Send | None = None

    # -- life ------------------------------------------------------------------------------

    def start(self, now: DeviceTime) -> None:
        """Set up a registrar per meter and series in use, and the rule sets."""
        with self._store.transaction():
            self.rules.load(self._config)
        rules = self._profile.registration
        self._plans = plan_series(self._config, rules)
        for key, plan in self._plans.items():
            old = self._registrars.get(key)
            if old is not None and not plan.name.startswith("@") and plan.registers == old.channels:
                continue
            last = self._store.last_readings("origin", plan.meter.key, plan.name)
            wait = plan.meter.wait_s * SECOND
            start = now if old is None else old.floor
            if old is None and wait and last:  # what came while it was off may still be told
                newest = max(reading.target for reading in last.values())
                start = min(now, max(newest, now + -wait))
            self._newest.update(
                {
                    (*key, obis): to_inner(reading.value, reading.scaler)
                    for obis, reading in last.items()
                }
            )
            self._registrars[key] = Registrar(
                plan.registers,
                plan.schedule(),
                tolerance_ns(plan.period_s, rules.tolerance_permille, rules.tolerance_floor_ms),
                start,
                last,
                rules.max_catch_up,
                wait,
            )
            if old is not None:
                self._registrars[key].adopt(old)
        for gone in self._registrars.keys() - self._plans.keys():
            del self._registrars[gone]
        self._by_meter = {}
        for key in self._plans:
            self._by_meter.setdefault(key[0], []).append(key)
        self._plan_events()

    def _plan_events(self) -> None:
        """Register at the moments rule sets wait for (instructions, control signals)."""
        for rules in self.rules.all():
            for moment in rules.moments():
                self.add_target(rules.point, moment)

    def reconfigure(self, config: GatewayConfig, now: DeviceTime) -> None:
        """Follow a change of profiles: meters that stay keep what they have registered so far."""
        self._config = config
        self._watch.configured({meter.key for meter in config.meter})
        self._triggers.clear()
        self.start(now)

    def restart(self, now: DeviceTime) -> None:
        """Begin again after a time without metering, as after a time without power."""
        self._registrars.clear()
        self.start(now)

    @property
    def heard(self) -> frozenset[str]:
        """Ids of configured meters that have reported since power-up."""
        return frozenset(meter for meter, _ in self.current)

    @property
    def unknown_meters(self) -> frozenset[str]:
        """Ids heard that no meter profile names."""
        return frozenset(self._watch.unknown)

    def note_unknown(self, meter: str, now: DeviceTime) -> None:
        """Take note of a meter that is there but that no profile names."""
        self._watch.unknown_meter(meter, now)

    def next_deadline(self) -> DeviceTime | None:
        """Return when a registration window ends next."""
        return min((r.next_deadline() for r in self._registrars.values()), default=None)

    # -- input -----------------------------------------------------------------------------

    def on_report(self, report: MeterReport, capture: DeviceTime) -> None:
        """Take a report that arrived at ``capture``."""
        keys = self._by_meter.get(report.meter)
        if keys is None:
            self._watch.unknown_meter(report.meter, capture)
            return
        meter = self._plans[keys[0]].meter
        word = meter_word(report.status, WordKind(meter.word), self._dialect)
        if report.use != "stored":
            self._remember(report, word, capture)
        event = self._watch.status(meter, report, word, self._config, capture)
        for key in keys if report.use != "present" else ():
            self._store_settled(key, self._registrars[key].on_report(report, capture), capture)
        self._look_for_events(report, word, capture)
        if event == "meter-fatal":
            self._tell_participants(meter, word, capture)

    def on_deadline(self, now: DeviceTime) -> None:
        """Settle targets whose window has passed."""
        for key, registrar in self._registrars.items():
            self._store_settled(key, registrar.on_time(now), now)

    def clock_set_back(self, now: DeviceTime) -> None:
        """Look for the next target again after a step back of the device clock."""
        for registrar in self._registrars.values():
            registrar.resync(now)

    def add_target(self, point: UsagePoint, moment: DeviceTime) -> DeviceTime:
        """Register a contract at a moment of its own, at the next whole second; returns it."""
        target = DeviceTime(-(-moment.ns // SECOND) * SECOND)
        name = use_case(point).series(point)
        registrars = [self._registrars[key, name] for key in point.keys]
        floor = max(registrar.floor for registrar in registrars)
        target = max(target, DeviceTime((floor.ns // SECOND + 1) * SECOND))
        for registrar in registrars:
            registrar.add_target(target)
        return target

    def _remember(self, report: MeterReport, word: int, capture: DeviceTime) -> None:
        """Keep the current readings for display."""
        self._words[report.meter] = word
        for value in report.values:
            key = (report.meter, value.obis)
            if key in self.current or len(self.current) < MAX_CURRENT:
                self.current[key] = (capture, value.value, value.scaler, value.unit)

    # -- present values --------------------------------------------------------------------

    def read_current(self, point: UsagePoint, *conditions: Condition) -> list[Owned]:
        """Return the present readings of a contract's meters, without registering them (GW-45).

        Their target is the moment they were taken. Signed as the use case asks.
        """
        rules = self.rules.of(point)
        found: list[Owned] = []
        for meter in rules.terms.meters:
            for obis in rules.terms.registers:
                if (meter.key, obis) in self.current:
                    reading = self._present(meter.key, obis, WordKind(meter.word), conditions)
                    signed = self._signed(reading, meter.key) if rules.SIGNED else reading
                    found.append((meter.key, signed))
        return found

    def _present(
        self, meter: str, obis: Obis, kind: WordKind, conditions: Iterable[Condition]
    ) -> Reading:
        capture, value, scaler, unit = self.current[meter, obis]
        word = self._words[meter]
        said = {*self.conditions, *conditions, *word_conditions(word, kind)}
        return Reading(
            meter=meter,
            obis=obis,
            target=capture,
            capture=capture,
            value=value,
            scaler=scaler,
            unit=unit,
            smgw_word=smgw_word(said, self._dialect),
            meter_word=word,
        )

    def current_registers(self, point: UsagePoint, database: str) -> list[Reading]:
        """Return a contract's derived registers as they stand now, signed (TR-03109-1 4.2.2.2)."""
        rules = self.rules.of(point)
        if not rules.state.at:
            return []
        target = DeviceTime.from_seconds(rules.state.at)
        codes = rules.codes(database)
        shown = [register for register in rules.registers() if register.obis in codes]
        lines = rules.lines(database, shown, target, good=rules.state.good, reason="")
        return [self._line(line, rules) for line in lines]

    def _look_for_events(self, report: MeterReport, word: int, now: DeviceTime) -> None:
        points = [
            point
            for point in self._config.usage_point
            if point.triggers and report.meter in point.keys and point.state(now) == "running"
        ]
        for point, trigger in self._triggers.fired(points, report, word):
            if use_case(point).STORED:
                self.add_target(point, now)
            else:
                self._send(
                    point,
                    self.read_current(point, Condition.TRIGGERED),
                    describe(trigger),
                    now,
                )

    def _tell_participants(self, meter: Meter, word: int, now: DeviceTime) -> None:
        """Tell participants of a meter's fatal error: its status, no reading (T36)."""
        said = {*self.conditions, *word_conditions(word, WordKind(meter.word))}
        for point in self._config.usage_point:
            if meter.key in point.keys and point.state(now) == "running":
                status = Reading(
                    meter=meter.key,
                    obis=ERROR_REGISTER,
                    target=now,
                    capture=now,
                    value=word,
                    scaler=0,
                    unit=NOT_A_UNIT,
                    smgw_word=smgw_word(said, self._dialect),
                    meter_word=word,
                )
                if use_case(point).SIGNED:
                    status = self._signed(status, meter.key)
                self._send(point, [(meter.key, status)], "meter-fatal", now)

    def _send(self, point: UsagePoint, values: list[Owned], reason: str, now: DeviceTime) -> None:
        if self.on_send is not None and values:
            with self._store.transaction():
                self.on_send(point, values, reason, now)

    # -- storing ---------------------------------------------------------------------------

    def _store_settled(self, key: SeriesKey, targets: Iterable[Settled], now: DeviceTime) -> None:
        for settled in targets:
            plan = self._plans[key]
            with self._store.transaction():
                values = {item.obis: self._register(plan, item, now) for item in settled.values}
                self._watch.missing(
                    plan.meter, plan.name, settled, self._config, self.conditions, now
                )
                for point in plan.points:
                    self._offer(point, key, settled.target, values, now)

    def _offer(
        self,
        point: UsagePoint,
        key: SeriesKey,
        target: DeviceTime,
        values: dict[Obis, Reading],
        now: DeviceTime,
    ) -> None:
        """Give a settled target to a contract: to its rule set, or to who sends it."""
        cls = use_case(point)
        if cls.DISPATCH == "cycle":
            registers = self.rules.of(point).terms.registers
            shown: list[Owned] = [
                (key[0], value)
                for obis, value in values.items()
                if obis in registers and not value.repeated
            ]
            if point.valid_at(target):
                self._send(point, shown, "cycle", now)
            return
        schedule = self._registrars[key].schedule
        outcome = self.rules.settled(point, key[0], target, values, schedule, now)
        if outcome is not None:
            self._write(point, outcome, now)

    def _write(self, point: UsagePoint, outcome: Outcome, now: DeviceTime) -> None:
        rules = self.rules.of(point)
        lines = []
        for line in outcome.lines:
            reading = self._line(line, rules)
            self._store.add_reading(line.database, point.name, DERIVED_SERIES, reading, line.reason)
            lines.append((line, reading))
        for name, parameters in outcome.notes:
            self._logbooks.write(
                name,
                now,
                consumers=[point.consumer],
                subject=f"{point.name}.sm",
                **parameters,  # type: ignore[arg-type]
            )
        if outcome.changed and rules.DISPATCH == "event":
            out = [item for item in lines if item[0].database in rules.DELIVERED and item[0].reason]
            told: list[Owned] = [(point.name, reading) for _, reading in out]
            if "origin" in rules.DELIVERED:
                told += [(meter, reading) for (meter, _), reading in outcome.readings.items()]
            reasons = dict.fromkeys(line.reason for line, _ in out)
            self._send(point, told, ", ".join(reasons) or "event", now)

    def _line(self, line: Line, rules: RuleSet) -> Reading:
        return self._signed(line.reading, rules.point.name) if rules.SIGNED else line.reading

    def _register(self, plan: SeriesPlan, item: Registered, now: DeviceTime) -> Reading:
        """Make a reading of a registered value and store it if the series is kept."""
        meter = plan.meter
        conditions = set(self.conditions)
        kind = plan.kind
        # the sample of a repeated value has an empty meter word (GW-N09)
        word = 0 if item.repeated else meter_word(item.status, kind, self._dialect)
        kept = item.obis in plan.stored
        if item.repeated:
            conditions |= {Condition.NOT_FOR_BILLING, Condition.NO_VALUE}
        else:
            conditions |= word_conditions(word, kind)
            if item.unverified:
                conditions.add(Condition.NOT_FOR_BILLING)
            if kept and self._runs_backwards(plan, item, now):
                conditions.add(Condition.UNUSABLE)
        reading = Reading(
            meter=meter.key,
            obis=item.obis,
            target=item.target,
            capture=item.capture,
            value=item.value,
            scaler=item.scaler,
            unit=item.unit,
            smgw_word=smgw_word(conditions, self._dialect),
            meter_word=word,
            repeated=item.repeated,
        )
        if kept:
            self._watch.used(reading, self._config, now)
        if plan.signed:
            reading = self._signed(reading, meter.key)
        if kept:
            self._store.add_reading("origin", meter.key, plan.name, reading)
        return reading

    def _runs_backwards(self, plan: SeriesPlan, item: Registered, now: DeviceTime) -> bool:
        """Tell whether a counter has fallen without a rollover; logs it (LMN-17, L10)."""
        meter = plan.meter
        if meter.balancing or not item.obis.is_counter:
            return False
        key = (meter.key, plan.name, item.obis)
        after = to_inner(item.value, item.scaler)
        before = self._newest.get(key)
        self._newest[key] = after
        if before is None or after >= before:
            return False
        if rolls_over(before, after, rollover_capacity(meter, item.scaler)):
            return False
        self._logbooks.write(
            "counter-decreased",
            now,
            consumers=self._config.consumers_of(meter.key),
            subject=f"{meter.key}.sm",
            outcome="F",
            meter=meter.key,
            obis=item.obis,
        )
        return True

    def _signed(self, reading: Reading, owner: str) -> Reading:
        if reading.repeated:
            return reading  # GW-N09: signature null
        signature = self._signer.sign(signature_input(reading, owner))
        return dataclasses.replace(reading, signature=signature)
