"""What is noticed about meters beside their values: faults, silence, strangers (T43, LMN-14)."""

from __future__ import annotations

from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.obis import Obis
from smgw_emu.core.registration import Settled
from smgw_emu.core.status import (
    FAULT_BITS,
    Condition,
    Dialect,
    Fault,
    PtbStatus,
    WordKind,
    faults_of,
    ptb_status,
    smgw_word,
    word_hex,
)
from smgw_emu.core.values import MeterReport, Reading, scaled

MAX_UNKNOWN = 1000  # own choice


class MeterWatch:
    """Writes a log entry when something about a meter changes, not each time it is seen."""

    def __init__(self, logbooks: Logbooks, dialect: Dialect) -> None:
        self._logbooks = logbooks
        self._dialect = dialect
        self._missing: set[tuple[str, str]] = set()
        self._faults: dict[str, int] = {}
        self._barred: dict[tuple[str, Obis], tuple[int, int]] = {}
        self.unknown: set[str] = set()

    def configured(self, meters: set[str]) -> None:
        """Take the meters anew after a change of the configuration."""
        self.unknown -= meters
        self._missing = {key for key in self._missing if key[0] in meters}

    def unknown_meter(self, meter: str, now: DeviceTime) -> None:
        """Note once a meter that no profile names."""
        if meter not in self.unknown and len(self.unknown) < MAX_UNKNOWN:
            self.unknown.add(meter)
            self._logbooks.write("meter-unknown", now, subject=meter, outcome="F", meter=meter)

    def status(
        self, meter: Meter, report: MeterReport, word: int, config: GatewayConfig, now: DeviceTime
    ) -> str:
        """Log a change of the meter's fault bits (T43: all error messages of meters).

        Returns the event that was logged, "" for none.
        """
        if report.status is None and meter.key not in self._faults:
            return ""
        kind = WordKind(meter.word)
        if kind is WordKind.WIRELESS and self._dialect is Dialect.FNN_PTB:
            kind = WordKind.ELECTRICITY  # the form its word is shown in
        mask = sum(FAULT_BITS[kind].get(f, 0) for f in (Fault.ERROR, Fault.TAMPER, Fault.FATAL))
        faults, before = word & mask, self._faults.get(meter.key, 0)
        if faults == before:
            return ""
        self._faults[meter.key] = faults
        event = "meter-status" if faults else "meter-status-cleared"
        new = faults_of(faults & ~before, kind)
        if new & Fault.FATAL:
            event = "meter-fatal"
        elif new & Fault.TAMPER:
            event = "meter-tamper"
        self._logbooks.write(
            event,
            now,
            consumers=config.consumers_of(meter.key),
            subject=f"{meter.key}.sm",
            outcome="F" if faults else "S",
            meter=meter.key,
            status=word_hex(word),
        )
        return event

    def used(self, reading: Reading, config: GatewayConfig, now: DeviceTime) -> None:
        """Tell the consumer of a value that no derived register may use, with the value (4.3.4).

        Only when the status changes: 96 equal entries a day would say no more.
        """
        if reading.repeated:
            return  # value-missing says so
        key = (reading.meter, reading.obis)
        words = reading.smgw_word, reading.meter_word
        status = ptb_status(*words, self._dialect)
        if status < PtbStatus.CRITICAL_TEMPORARY_ERROR:
            self._barred.pop(key, None)
        elif self._barred.get(key) != words:
            self._barred[key] = words
            self._logbooks.write(
                "value-barred",
                now,
                consumers=config.consumers_of(reading.meter),
                subject=f"{reading.meter}.sm",
                outcome="F",
                meter=reading.meter,
                obis=reading.obis,
                value=scaled(reading.value, reading.scaler),
                status=word_hex(reading.smgw_word) + word_hex(reading.meter_word),
                ptb=int(status),
            )

    def missing(
        self,
        meter: Meter,
        series: str,
        settled: Settled,
        config: GatewayConfig,
        conditions: set[Condition],
        now: DeviceTime,
    ) -> None:
        """Log when a meter's values begin to be missing, and when they are there again."""
        absent = bool(settled.missing) or any(value.repeated for value in settled.values)
        key = meter.key, series
        if absent == (key in self._missing):
            return
        self._missing ^= {key}
        said = {*conditions, Condition.NOT_FOR_BILLING, Condition.NO_VALUE}
        self._logbooks.write(
            "value-missing" if absent else "value-available",
            now,
            consumers=config.consumers_of(meter.key),
            subject=f"{meter.key}.sm",
            outcome="F" if absent else "S",
            meter=meter.key,
            status=word_hex(smgw_word(said, self._dialect)),
        )
