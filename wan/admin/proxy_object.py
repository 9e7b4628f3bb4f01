"""The order "Connect Proxy-Kommunikationsprofil" (TR-03109-1 v1.0 3.4.3.4 c)."""

from __future__ import annotations

from collections.abc import Callable

from smgw_emu.core.cls_profiles import ProxyProfile
from wan.admin.base import Done, Ordered
from wan.admin.facilities import Facilities
from wan.cosem.data import Data, text

PROXY = "0000608005ff"
ORDERS = {1: "connect", 2: "disconnect"}


class ProxyObject(Ordered):
    """Channels of one proxy profile, and orders to open or close one."""

    class_id, name = 65006, PROXY

    def __init__(self, facilities: Facilities, proxy: ProxyProfile) -> None:
        super().__init__(facilities, f"proxy {proxy.name}", ORDERS)
        self._proxy = proxy

    def attributes(self) -> dict[int, Callable[[], Data]]:
        """Return what the class table names."""
        channels = self.facilities.proxy_channels(self._proxy.name)
        state = "open" if "open" in channels else "closed" if not channels else "opening"
        return {
            2: lambda: text(state),
            3: lambda: Data("array", tuple(text(item) for item in channels)),
        }

    def give(self, order: str, done: Done) -> None:
        """Hand it to the CLS proxy."""
        self.facilities.proxy_order(self._proxy.name, order, done)
