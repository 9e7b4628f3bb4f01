"""What the administrator asks of one wired meter (TR-03109-1 v1.0 LAF1; DS v2.0 table 9.1)."""

from __future__ import annotations

from collections.abc import Callable

from smgw_emu.core.errors import SmgwError
from smgw_emu.core.meter_profile import Meter
from wan.admin.base import Plain
from wan.admin.facilities import Facilities
from wan.cosem.data import Data, text
from wan.cosem.documents import MethodResponse
from wan.cosem.errors import CosemError
from wan.cosem.service import Reply

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


class MeterObject(Plain):
    """State of a wired meter and orders to it; the answers come later."""

    class_id, name = 65005, METER

    def __init__(self, facilities: Facilities, meter: Meter) -> None:
        super().__init__(facilities)
        self._meter = meter

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        state, address = self.facilities.meter_state(self._meter.key)
        return {2: lambda: text(state), 3: lambda: Data("unsigned", address)}

    def call(self, index: int, data: Data | None, reply: Reply | None) -> MethodResponse | None:
        """Run a method of the class table."""
        order = ORDERS.get(index)
        if order is None:
            return super().call(index, data, reply)
        if reply is None:
            raise CosemError(408, "the result comes later: x-CID is needed (Anlage II 7.5)")
        facilities, what = self.facilities, f"meter {self._meter.key} {order} {reply.cid}"

        def done(result: str, failed: str) -> None:
            status = 3 if failed else 0  # read-write-denied of IEC 62056-5-3 stands for a refusal
            facilities.finished(what, MethodResponse(status, text(failed or result)))

        facilities.answer_later(what, reply)
        try:
            facilities.meter_order(self._meter.key, order, done)
        except SmgwError as error:
            facilities.forget(what)
            return MethodResponse(2, text(str(error)))  # temporary-failure
        return None
