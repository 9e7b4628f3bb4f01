"""What the administrator asks of one wired meter (TR-03109-1 v1.0 LAF1; DS v2.0 table 9.1)."""

from __future__ import annotations

from collections.abc import Callable

from smgw_emu.core.meter_profile import Meter
from wan.admin.base import Done, Ordered
from wan.admin.facilities import Facilities
from wan.cosem.data import Data, text

METER = "0000608004ff"
ORDERS = {
    1: "crypto-reset",
    2: "renew",
    3: "reset-tamper",
    4: "information",
    5: "set-time",
    6: "clock",
    7: "log",
}


class MeterObject(Ordered):
    """State of a wired meter and orders to it; the answers come later."""

    class_id, name = 65005, METER

    def __init__(self, facilities: Facilities, meter: Meter) -> None:
        super().__init__(facilities, f"meter {meter.key}", ORDERS)
        self._meter = meter

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        state, address = self.facilities.meter_state(self._meter.key)
        return {2: lambda: text(state), 3: lambda: Data("unsigned", address)}

    def give(self, order: str, done: Done) -> None:
        """Hand it to the meter's line."""
        self.facilities.meter_order(self._meter.key, order, done)
