"""A process to be killed: writes readings and log entries, names each one that is durable."""

from __future__ import annotations

import sys

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.obis import ACTIVE_ENERGY_IMPORT
from smgw_emu.core.store import Store
from smgw_emu.core.values import Reading

store = Store(sys.argv[1])
logs = Logbooks(store, {"anna": "A"})
start = store.count_readings()
print("ready", flush=True)
for number in range(start, start + 100_000):
    moment = DeviceTime.from_seconds(900 * (number + 1))
    with store.transaction():
        store.add_reading(
            "origin",
            "m",
            "900",
            Reading(
                "m",
                ACTIVE_ENERGY_IMPORT,
                moment,
                moment,
                number,
                -1,
                30,
                1,
                2,
                signature=number.to_bytes(64, "big"),
            ),
        )
        logs.write("login", moment, consumers=["anna"], method=str(number))
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()
