"""Metering: a month of two meters with TAF 1, 2 and 7; a year in the store, a month out of it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hsm_sim import Curve, SecurityModule
from smgw_emu import profiles
from smgw_emu.core.config import Consumer, Gateway, GatewayConfig
from smgw_emu.core.contracts import ConsumerView
from smgw_emu.core.device import Device
from smgw_emu.core.device_clock import DeviceClock
from smgw_emu.core.instants import DAY, MINUTE, SECOND, DeviceTime, WorldTime, parse_device_time
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.obis import ACTIVE_ENERGY_IMPORT
from smgw_emu.core.store import Store
from smgw_emu.core.usage_point import DayProfile, Stage, Switch, UsagePoint
from smgw_emu.core.values import MeterReport, MeterValue, Reading

Row = Callable[[str, str, str, str], None]
METERS = ("1EMU0000000001", "1EMU0000000002")
BEGIN = WorldTime(parse_device_time("2026-09-30T22:00:00Z").ns)
QUARTER = 15 * MINUTE
MONTH, YEAR = 31 * 96 + 4, 365 * 96  # October has 25 hours on one day


class Watch:
    """Calls through and adds up the time they take."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.seconds = 0.0

    def sign(self, message: bytes) -> bytes:
        """Sign with the module."""
        begin = time.perf_counter()
        try:
            return bytes(self._inner.sign_plain("K", message))
        finally:
            self.seconds += time.perf_counter() - begin


class WatchedConnection:
    """A connection to SQLite whose time is added up."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.seconds = 0.0

    def execute(self, *arguments: Any) -> Any:
        """Run a statement."""
        begin = time.perf_counter()
        try:
            return self._inner.execute(*arguments)
        finally:
            self.seconds += time.perf_counter() - begin

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _config() -> GatewayConfig:
    start = "2026-09-30T22:00:00Z"
    day = DayProfile(1, (Switch("00:00", 2), Switch("06:00", 1), Switch("22:00", 2)))
    tariff = {"stages": (Stage(1), Stage(2)), "day_profiles": (day,), "week": (1,) * 7}
    points = [UsagePoint("taf1-1", 1, "anna", METERS, start)]
    for number, meter in enumerate(METERS, 1):
        points.append(UsagePoint(f"taf2-{number}", 2, "anna", (meter,), start, **tariff))
        points.append(UsagePoint(f"taf7-{number}", 7, "anna", (meter,), start))
    return GatewayConfig(
        Gateway("ETHE0300004261"),
        meter=tuple(Meter(meter) for meter in METERS),
        consumer=(Consumer("anna", "anna.sm"),),
        usage_point=tuple(points),
    )


def bench_month(row: Row) -> None:
    """Registration, tariffs, signatures and storing of a month, on a file."""
    with tempfile.TemporaryDirectory() as folder:
        module = SecurityModule(Path(folder) / "hsm")
        module.generate("K", Curve.BRAINPOOL_P256)
        signer = Watch(module)
        store = Store(Path(folder) / "state.db")
        database = WatchedConnection(store._db)
        store._db = database  # type: ignore[assignment]
        config = _config()
        device = Device(config, profiles.load(), store, signer, DeviceClock(BEGIN), "ab" * 32)
        device.power_on(BEGIN + -SECOND)
        signer.seconds = database.seconds = 0.0
        begin = time.perf_counter()
        for number in range(MONTH):
            at = BEGIN + number * QUARTER
            while (due := device.next_deadline()) < at:
                device.on_deadline(due)
            for place, meter in enumerate(METERS, 1):
                value = MeterValue(ACTIVE_ENERGY_IMPORT, 10_000 * place + number * place, -1, 30)
                device.on_report(at, MeterReport(meter.lower(), (value,), 4))
        taken = time.perf_counter() - begin
        share = (signer.seconds + database.seconds) / taken
        lines = store.count_readings()
        store.close()
    row("a month: two meters, TAF 1 + 2 + 7", f"{taken:.2f} s, {lines:,} lines",
        f"{share:.0%} signatures and SQLite", "6 s; 60 %")  # fmt: skip


def bench_year(row: Row) -> None:
    """A year of four meters at 15 minutes: size, and a question for 31 days."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        store = Store(path)
        signature = bytes(range(64))
        begin = parse_device_time("2026-01-01T00:00:00Z")
        with store.transaction():
            for place in range(4):
                for number in range(1, YEAR + 1):
                    target = begin + number * QUARTER
                    store.add_reading("origin", f"1emu000000000{place + 1}", "900", Reading(
                        f"1emu000000000{place + 1}", ACTIVE_ENERGY_IMPORT, target, target, number,
                        -1, 30, 0xA0000000, 0x20000000, signature=signature,
                    ))  # fmt: skip
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = path.stat().st_size / 2**20
        point = UsagePoint("taf7-1", 7, "anna", METERS[:1], "2026-01-01T00:00:00Z")
        config = GatewayConfig(
            Gateway("ETHE0300004261"), meter=(Meter(METERS[0]),),
            consumer=(Consumer("anna", "anna.sm"),), usage_point=(point,),
        )  # fmt: skip
        now = WorldTime((begin + 365 * DAY).ns)
        device = Device(config, profiles.load(), store, Watch(None), DeviceClock(now), "ab" * 32)
        device.power_on(now)
        view = ConsumerView(device, config.consumer[0])
        best, count = 1e9, 0
        for month in range(8):
            last = DeviceTime((begin + (60 + 30 * month) * DAY).ns)
            started = time.perf_counter()
            count = len(view.readings(point, "origin", last + -31 * DAY, last))
            best = min(best, time.perf_counter() - started)
        store.close()
    row("a year of four meters at 15 min", f"{size:.0f} MiB", f"{4 * YEAR:,} lines", "200 MiB")
    row("31 days out of it", f"{best * 1000:.0f} ms", f"{count:,} values", "150 ms")
