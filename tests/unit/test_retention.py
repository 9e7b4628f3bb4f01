"""Retention: what is dropped, when, and what never is."""

from __future__ import annotations

import pytest
from support import device_in_memory
from two_consumers import CONFIG, START, run

from smgw_emu.core.instants import DAY, WorldTime
from smgw_emu.core.metering import MAX_CURRENT
from smgw_emu.core.obis import Obis
from smgw_emu.core.values import MeterReport, MeterValue


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
