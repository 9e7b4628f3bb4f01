"""Retention: what is dropped, when, and what never is."""

from __future__ import annotations

import msgspec
import pytest
from support import FakeKey, device_in_memory
from two_consumers import CONFIG, START, run

from smgw_emu import profiles
from smgw_emu.core.config import parse_config
from smgw_emu.core.device import Device
from smgw_emu.core.device_clock import DeviceClock
from smgw_emu.core.instants import DAY, MINUTE, DeviceTime, WorldTime
from smgw_emu.core.legal_time import day_start
from smgw_emu.core.metering import MAX_CURRENT
from smgw_emu.core.obis import ACTIVE_ENERGY_IMPORT, Obis
from smgw_emu.core.store import Store
from smgw_emu.core.values import MeterReport, MeterValue, Reading
from smgw_emu.core.wan_profiles import Settings


def pass_days(device, begin: WorldTime, days: int) -> None:
    """Do everything that becomes due."""
    end = begin + days * DAY
    while (due := device.next_deadline()) <= end:
        device.on_deadline(due)


@pytest.mark.req("TR-03109-1 v1.0 5.2")
def test_a_running_device_keeps_15_months_of_logs_and_the_calibration_log_for_ever():
    """Once a day the old goes: consumer and system log after 15 months, never the calibration log."""
    device = device_in_memory(CONFIG.replace("[[meter]]", "[[meter]]", 1))
    device.power_on(START)
    first = {
        log: device.logbooks.entries(log, reader)[0].number
        for log, reader in (("system", ""), ("calibration", ""), ("consumer", "anna"))
    }
    assert set(first.values()) == {1}
    device.logbooks.write("login", device.now(START + 400 * DAY), consumers=["anna"])
    pass_days(device, START, 460)
    assert device.logbooks.entries("consumer", "anna")[0].number == 1
    pass_days(device, START, 470)
    assert device.logbooks.entries("consumer", "anna")[0].number > 1
    assert device.logbooks.entries("calibration")[0].number == 1


def test_values_are_kept_for_15_months():
    """Origin lines go after 15 months (billing-relevant data of at least 15 months)."""
    device = device_in_memory(CONFIG)
    device.power_on(START)
    end = run(device, 24)
    assert device.store.channels("origin", "1emu0000000001", "900")[0][1] == 96
    device.metering._registrars.clear()  # no more windows: only the passing of time matters here
    pass_days(device, end, 460)
    assert device.store.channels("origin", "1emu0000000001", "900")[0][1] == 96
    pass_days(device, end, 470)
    assert device.store.channels("origin", "1emu0000000001", "900")[0][1] == 0


def test_a_meter_with_endless_register_names_cannot_fill_the_memory():
    """Current readings for display are bounded."""
    device = device_in_memory(CONFIG)
    device.power_on(START)
    for batch in range(30):
        values = tuple(
            MeterValue(Obis(bytes((1, 0, batch, number, 0, 255))), 1, 0, 30)
            for number in range(100)
        )
        device.on_report(START, MeterReport("1emu0000000001", values))
    assert len(device.metering.current) == MAX_CURRENT


def fill(device, days: int) -> DeviceTime:
    """Put a line per quarter hour of the last days into the store; returns the present."""
    begin = DeviceTime(START.ns)
    with device.store.transaction():
        for number in range(1, days * 96 + 1):
            target = begin + number * 15 * MINUTE
            line = Reading("m", ACTIVE_ENERGY_IMPORT, target, target, number, -1, 30, 0, 0)
            device.store.add_reading("origin", "m", "900", line)
    return begin + days * DAY


def with_capacity(kib: int, text: str = CONFIG) -> Device:
    """A device whose store is as small as that."""
    profile = profiles.load()
    retention = msgspec.structs.replace(profile.retention, capacity_kib=kib)
    clock, config = DeviceClock(START), parse_config(text)
    small = msgspec.structs.replace(profile, retention=retention)
    device = Device(config, small, Store(":memory:"), FakeKey(), clock, "ab" * 32)
    device.power_on(START)
    return device


@pytest.mark.req("TR-03109-1 v1.0 4.3.3 no. 12")
def test_a_full_store_drops_the_oldest_days_first_and_says_so():
    """Not more than needed, never the running and the last three months."""
    device = with_capacity(700)
    now = fill(device, 250)
    before = device.store.count_readings()
    assert device.store.used_kib() > 700
    device.check_storage(now)
    oldest = device.store.oldest_reading(["origin"])
    assert device.store.used_kib() <= 700
    assert 0 < device.store.count_readings() < before
    assert oldest == day_start(oldest)  # whole local days go
    assert device.store.used_kib() > 600  # and not many more than needed
    assert oldest < device.retention.protected_from(now)
    events = [e.event for e in device.logbooks.entries("calibration")]
    assert events.count("EMU.187.0") == 1
    device.check_storage(now)
    assert [e.event for e in device.logbooks.entries("calibration")] == events


@pytest.mark.req("TR-03109-1 v1.0 4.3.3 no. 12")
def test_a_year_that_is_billed_at_its_end_stays_whole():
    """A line of March belongs to a period that ends next March, and three months more."""
    yearly = CONFIG.replace('name = "taf1-1"', 'name = "taf1-1"\nbilling_period = "12M"')
    device = with_capacity(100, yearly)
    now = fill(device, 400)
    before = device.store.count_readings()
    device.check_storage(now)
    device.power_on(WorldTime(now.ns))  # at power-up too
    assert device.store.used_kib() > 100
    assert device.store.count_readings() == before
    monthly = with_capacity(100)
    fill(monthly, 400)
    monthly.check_storage(now)
    assert monthly.store.count_readings() < before


@pytest.mark.req("TR-03109-1 v1.0 4.3.3 no. 12")
def test_values_that_must_stay_stay_whatever_the_size():
    """The administrator's critical limit has raised its event; nothing young goes."""
    device = with_capacity(64)
    now = fill(device, 120)
    device.administration.set(Settings(value_limit_kib=100))
    device.check_storage(now)
    oldest = device.store.oldest_reading(["origin"])
    assert device.store.used_kib() > 64
    assert device.retention.protected_from(now) <= oldest
    assert device.retention.protected_from(now).iso() == "2026-03-31T22:00:00Z"
    events = [e.event for e in device.logbooks.entries("system")]
    assert "EMU.168.0" in events
