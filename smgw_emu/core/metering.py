"""Metering: reports of meters become registered, signed, stored readings and derived lists.

Theory of operation (TR-03109-1 v1.0 4.3; architecture section 4): a report is stamped on arrival
and offered to the registrars of its meter. What a target settles is signed and stored in one
transaction together with the derived lines and log entries it causes; nothing sees a value before
that transaction is durable. A value of which the status says it must not be used (PTB status 3
or worse) stays in the origin list but does not enter a derived register: there the last derived
line is repeated (4.3.4, GW-N09).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from smgw_emu.core.config import GatewayConfig, UsagePoint
from smgw_emu.core.instants import DAY, DeviceTime
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.obis import Obis
from smgw_emu.core.registration import Registered, Registrar, Settled
from smgw_emu.core.signature import ReadingSigner, signature_input
from smgw_emu.core.status import (
    METER_FATAL,
    METER_MAGNETIC,
    METER_MECHANICAL,
    Condition,
    Dialect,
    PtbStatus,
    meter_word_from_sml,
    ptb_status,
    smgw_word,
    word_hex,
)
from smgw_emu.core.store import Store
from smgw_emu.core.tariff import DATABASES, taf1
from smgw_emu.core.tariff.daily import is_daily_target
from smgw_emu.core.tariff.summing import sum_readings
from smgw_emu.core.values import MeterReport, Reading
from smgw_emu.profiles import Profile

MAX_CURRENT = 1000  # own choice: registers remembered for display, whatever a meter sends
_METER_FAULTS = METER_FATAL | METER_MAGNETIC | METER_MECHANICAL


class Metering:
    """The metrological part of one gateway.

    Args:
        config, profile: the gateway.
        store, logbooks: where results go.
        signer: the gateway's signature key.
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
        self._registrars: dict[tuple[str, int], Registrar] = {}
        self._missing: set[str] = set()
        self._faults: dict[str, int] = {}
        self._unknown: set[str] = set()
        self._words: dict[str, int] = {}
        self.conditions: set[Condition] = set()
        self.current: dict[tuple[str, Obis], tuple[DeviceTime, int, int, int]] = {}

    def start(self, now: DeviceTime) -> None:
        """Set up a registrar per meter and registration period in use."""
        rules = self._profile.registration
        wanted: set[tuple[str, int]] = set()
        for meter in self._config.meter:
            periods = {
                point.period_s
                for point in self._config.usage_point
                if meter.key in _keys(point.meters)
            } or {rules.period_s}
            for period in sorted(periods):
                wanted.add((meter.key, period))
                if (meter.key, period) in self._registrars:
                    continue
                last = self._store.last_readings("origin", meter.key, period)
                self._registrars[meter.key, period] = Registrar(
                    meter.channels, period, rules.tolerance_permille, now, last,
                    rules.max_catch_up,
                )  # fmt: skip
        for key in self._registrars.keys() - wanted:
            del self._registrars[key]

    def reconfigure(self, config: GatewayConfig, now: DeviceTime) -> None:
        """Follow a change of profiles: meters that stay keep what they have registered so far."""
        changed = {m.key for m in self._config.meter} ^ {m.key for m in config.meter}
        changed |= {
            old.key
            for old in self._config.meter
            for new in config.meter
            if old.key == new.key and old.obis != new.obis
        }
        self._config = config
        for key in [key for key in self._registrars if key[0] in changed]:
            del self._registrars[key]
        self._unknown -= {meter.key for meter in config.meter}
        self._missing &= {meter.key for meter in config.meter}
        self.start(now)

    def read_current(self, meter: str) -> list[Reading]:
        """Return a meter's present register readings, signed, without registering them (GW-45).

        Their target is the moment they were taken.
        """
        channels = {obis for m in self._config.meter if m.key == meter for obis in m.channels}
        readings = []
        for (owner, obis), (capture, value, scaler, unit) in self.current.items():
            if owner != meter or obis not in channels:
                continue
            reading = Reading(
                meter=meter,
                obis=obis,
                target=capture,
                capture=capture,
                value=value,
                scaler=scaler,
                unit=unit,
                smgw_word=smgw_word(self.conditions, self._dialect),
                meter_word=self._words.get(meter, meter_word_from_sml(None)),
                repeated=False,
            )
            readings.append(self._signed(reading, meter))
        return readings

    @property
    def heard(self) -> frozenset[str]:
        """Ids of configured meters that have reported since power-up."""
        return frozenset(meter for meter, _ in self.current)

    @property
    def unknown_meters(self) -> frozenset[str]:
        """Ids heard that no meter profile names."""
        return frozenset(self._unknown)

    def next_deadline(self) -> DeviceTime | None:
        """Return when a registration window ends next."""
        return min((r.next_deadline() for r in self._registrars.values()), default=None)

    def on_report(self, report: MeterReport, capture: DeviceTime) -> None:
        """Take a report that arrived at ``capture``."""
        registrars = [
            (key, registrar)
            for key, registrar in self._registrars.items()
            if key[0] == report.meter
        ]
        if not registrars:
            self._note_unknown(report.meter, capture)
            return
        self._remember(report, capture)
        self._watch_status(report, capture)
        for (meter, period), registrar in registrars:
            self._store_settled(meter, period, registrar.on_report(report, capture), capture)

    def on_deadline(self, now: DeviceTime) -> None:
        """Settle targets whose window has passed."""
        for (meter, period), registrar in self._registrars.items():
            self._store_settled(meter, period, registrar.on_time(now), now)

    def clock_set_back(self, now: DeviceTime) -> None:
        """Look for the next target again after a step back of the device clock."""
        for registrar in self._registrars.values():
            registrar.resync(now)

    def prune(self, now: DeviceTime) -> None:
        """Drop what its retention no longer covers."""
        keep = self._profile.retention
        self._store.drop_readings("daily", now + -keep.daily_days * DAY)
        limit = now + -keep.values_months * 31 * DAY
        for database in ("origin", "derived"):
            self._store.drop_readings(database, limit)

    def _remember(self, report: MeterReport, capture: DeviceTime) -> None:
        """Keep the current readings for display."""
        self._words[report.meter] = meter_word_from_sml(report.status)
        for value in report.values:
            key = (report.meter, value.obis)
            if key in self.current or len(self.current) < MAX_CURRENT:
                self.current[key] = (capture, value.value, value.scaler, value.unit)

    # -- logging of what a report shows ----------------------------------------------------

    def _note_unknown(self, meter: str, now: DeviceTime) -> None:
        if meter not in self._unknown and len(self._unknown) < 1000:
            self._unknown.add(meter)
            self._logbooks.write("meter-unknown", now, subject=meter, outcome="F", meter=meter)

    def _watch_status(self, report: MeterReport, now: DeviceTime) -> None:
        """Log a change of the meter's fault bits (T43: all error messages of connected meters)."""
        if report.status is None and report.meter not in self._faults:
            return
        word = meter_word_from_sml(report.status)
        faults = word & _METER_FAULTS
        if faults != self._faults.get(report.meter, 0):
            self._faults[report.meter] = faults
            self._logbooks.write(
                "meter-status" if faults else "meter-status-cleared",
                now,
                consumers=self._config.consumers_of(report.meter),
                subject=f"{report.meter}.sm",
                outcome="F" if faults else "S",
                meter=report.meter,
                status=word_hex(word),
            )

    # -- storing ---------------------------------------------------------------------------

    def _store_settled(
        self, meter: str, period: int, targets: Iterable[Settled], now: DeviceTime
    ) -> None:
        for settled in targets:
            with self._store.transaction():
                for registered in settled.values:
                    self._store_origin(meter, period, registered, now)
                self._watch_missing(meter, settled, now)
                for point in self._config.usage_point:
                    if point.period_s == period and meter in _keys(point.meters):
                        self._derive(point, settled.target)

    def _store_origin(
        self, meter: str, period: int, registered: Registered, now: DeviceTime
    ) -> None:
        conditions = set(self.conditions)
        if registered.repeated:
            conditions |= {Condition.NOT_FOR_BILLING, Condition.NO_VALUE}
        elif self._runs_backwards(meter, period, registered, now):
            conditions.add(Condition.UNUSABLE)
        reading = Reading(
            meter=meter,
            obis=registered.obis,
            target=registered.target,
            capture=registered.capture,
            value=registered.value,
            scaler=registered.scaler,
            unit=registered.unit,
            smgw_word=smgw_word(conditions, self._dialect),
            # the sample of a repeated value has an empty meter word (GW-N09)
            meter_word=0 if registered.repeated else meter_word_from_sml(registered.status),
            repeated=registered.repeated,
        )
        self._store.add_reading("origin", meter, period, self._signed(reading, meter))

    def _runs_backwards(
        self, meter: str, period: int, registered: Registered, now: DeviceTime
    ) -> bool:
        last = self._store.last_readings("origin", meter, period).get(registered.obis)
        if last is None or last.scaler != registered.scaler or registered.value >= last.value:
            return False
        self._logbooks.write(
            "counter-decreased",
            now,
            consumers=self._config.consumers_of(meter),
            subject=f"{meter}.sm",
            outcome="F",
            meter=meter,
            obis=registered.obis,
        )
        return True

    def _watch_missing(self, meter: str, settled: Settled, now: DeviceTime) -> None:
        absent = bool(settled.missing) or any(value.repeated for value in settled.values)
        if absent == (meter in self._missing):
            return
        self._missing ^= {meter}
        word = smgw_word(
            {*self.conditions, Condition.NOT_FOR_BILLING, Condition.NO_VALUE}, self._dialect
        )
        self._logbooks.write(
            "value-missing" if absent else "value-available",
            now,
            consumers=self._config.consumers_of(meter),
            subject=f"{meter}.sm",
            outcome="F" if absent else "S",
            meter=meter,
            status=word_hex(word),
        )

    def _signed(self, reading: Reading, owner: str) -> Reading:
        if reading.repeated:
            return reading  # GW-N09: signature null
        signature = self._signer.sign(signature_input(reading, owner))
        return dataclasses.replace(reading, signature=signature)

    # -- derived lists ---------------------------------------------------------------------

    def _derive(self, point: UsagePoint, target: DeviceTime) -> None:
        finish = point.finish
        if target < point.begin or (finish is not None and target > finish):
            return
        databases = DATABASES[point.taf]
        due = []
        if "derived" in databases and taf1.is_period_end(target):
            due.append("derived")
        if "daily" in databases and is_daily_target(target, point.daily_at):
            due.append("daily")
        for database in due:
            for line in self._lines(point, database, target):
                self._store.add_reading(
                    database, point.name, point.period_s, self._signed(line, point.name)
                )

    def _lines(self, point: UsagePoint, database: str, target: DeviceTime) -> list[Reading]:
        """Form the lines of a derived list at ``target``; empty until every meter has settled."""
        parts = [
            self._store.readings("origin", meter, point.period_s, target + -1_000_000_000, target)
            for meter in _keys(point.meters)
        ]
        if not all(parts):
            return []
        by_obis: dict[Obis, list[Reading]] = {}
        for part in parts:
            for reading in part:
                by_obis.setdefault(reading.obis, []).append(reading)
        previous = self._store.last_readings(database, point.name, point.period_s)
        lines = []
        for readings in by_obis.values():
            if len(readings) != len(parts):
                continue  # a register only some of the meters have is not a sum
            total = sum_readings(point.name, readings)
            last = previous.get(readings[0].obis)
            if total is not None and _usable(total):
                lines.append(total)
            elif last is not None:
                lines.append(self._repeat(last, target))
        return lines

    def _repeat(self, previous: Reading, target: DeviceTime) -> Reading:
        conditions = {Condition.NOT_FOR_BILLING, Condition.NO_VALUE, *self.conditions}
        return dataclasses.replace(
            previous,
            target=target,
            smgw_word=smgw_word(conditions, self._dialect),
            meter_word=0,
            repeated=True,
            signature=None,
        )


def _usable(reading: Reading) -> bool:
    """Whether a value may enter a derived register (TR-03109-1 v1.0 4.3.4)."""
    status = ptb_status(reading.smgw_word, reading.meter_word)
    return status < PtbStatus.CRITICAL_TEMPORARY_ERROR


def _keys(meters: Iterable[str]) -> list[str]:
    return [meter.lower() for meter in meters]
