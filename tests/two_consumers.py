"""A core with two meters and two consumers, and a way to feed it."""

from __future__ import annotations

from support import world

from smgw_emu.core.device import Device
from smgw_emu.core.instants import MINUTE, WorldTime
from smgw_emu.core.obis import ACTIVE_ENERGY_IMPORT
from smgw_emu.core.values import MeterReport, MeterValue

CONFIG = """
[gateway]
id = "ETHE0300004261"
[[meter]]
id = "1EMU0000000001"
[[meter]]
id = "1EMU0000000002"
[[consumer]]
login = "anna"
user_id = "anna.sm"
[[consumer]]
login = "bert"
user_id = "bert.sm"
[[usage_point]]
name = "taf1-1"
taf = 1
consumer = "anna"
meters = ["1EMU0000000001", "1EMU0000000002"]
start = "2026-03-31T10:00:00Z"
[[usage_point]]
name = "taf7-1"
taf = 7
consumer = "anna"
meters = ["1EMU0000000001"]
start = "2026-03-31T10:00:00Z"
[[usage_point]]
name = "taf7-2"
taf = 7
consumer = "bert"
meters = ["1EMU0000000002"]
start = "2026-03-31T10:00:00Z"
"""
START = world("2026-03-31T10:00:00Z")


def feed(device: Device, at: WorldTime, values: dict[str, int], status: int | None = 4, scaler=-1):
    for meter, value in values.items():
        entry = MeterValue(ACTIVE_ENERGY_IMPORT, value, scaler, 30)
        device.on_report(at, MeterReport(meter, (entry,), status))


def run(device: Device, hours: int, *, skip: range = range(0)) -> WorldTime:
    """Feed both meters each quarter hour; steps in ``skip`` are left out."""
    for step in range(1, hours * 4 + 1):
        at = START + step * 15 * MINUTE
        while (due := device.next_deadline()) is not None and due < at:
            device.on_deadline(due)
        if step not in skip:
            feed(device, at, {"1emu0000000001": 1000 + step, "1emu0000000002": 50_000 + 2 * step})
    return START + hours * 60 * MINUTE
