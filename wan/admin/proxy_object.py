"""The order "Connect Proxy-Kommunikationsprofil" (TR-03109-1 v1.0 3.4.3.4 c)."""

from __future__ import annotations

from collections.abc import Callable

from smgw_emu.core.cls_profiles import ProxyProfile
from smgw_emu.core.errors import SmgwError
from wan.admin.base import Plain
from wan.admin.facilities import Facilities
from wan.cosem.data import Data, text
from wan.cosem.documents import MethodResponse
from wan.cosem.errors import CosemError
from wan.cosem.service import Reply

PROXY = "0000608005ff"
ORDERS = {1: "connect", 2: "disconnect"}


class ProxyObject(Plain):
    """Channels of one proxy profile, and orders to open or close one."""

    class_id, name = 65006, PROXY

    def __init__(self, facilities: Facilities, proxy: ProxyProfile) -> None:
        super().__init__(facilities)
        self._proxy = proxy

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        channels = self.facilities.proxy_channels(self._proxy.name)
        state = "open" if "open" in channels else "closed" if not channels else "opening"
        return {
            2: lambda: text(state),
            3: lambda: Data("array", tuple(text(item) for item in channels)),
        }

    def call(self, index: int, data: Data | None, reply: Reply | None) -> MethodResponse | None:
        """Run a method of the class table."""
        order = ORDERS.get(index)
        if order is None:
            return super().call(index, data, reply)
        if reply is None:
            raise CosemError(408, "the result comes later: x-CID is needed (Anlage II 7.5)")
        facilities, what = self.facilities, f"proxy {self._proxy.name} {order} {reply.cid}"

        def done(result: str, failed: str) -> None:
            facilities.finished(what, MethodResponse(3 if failed else 0, text(failed or result)))

        facilities.answer_later(what, reply)
        try:
            facilities.proxy_order(self._proxy.name, order, done)
        except SmgwError as error:
            facilities.forget(what)
            return MethodResponse(2, text(str(error)))  # temporary-failure
        return None
