"""The administrator's part of a switching action: who may have a channel to which plant.

Requirements WAN-62 to WAN-64, WAN-71: an active EMT asks for a channel; without permission it is
refused and noted, and the gateway hears nothing of it. For a gateway of another administrator the
request goes to him, and only with his consent a channel comes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from smgw_emu.bench.gwa.server import Administrator
from smgw_emu.bench.gwa.session import GatewayError
from smgw_emu.core.errors import SmgwError


@dataclass(slots=True)
class ClsAccess:
    """Permissions of one administrator.

    Attributes:
        administrator: whose.
        others: administrators he passes requests on to.
    """

    administrator: Administrator
    others: list[ClsAccess] = field(default_factory=list)
    _permitted: set[tuple[str, str, str]] = field(default_factory=set)

    def permit(self, aemt: str, gateway: str, proxy: str) -> None:
        """Let an active EMT ask for the channel of a proxy profile."""
        self._permitted.add((aemt, gateway.upper(), proxy))

    def withdraw(self, aemt: str, gateway: str, proxy: str) -> None:
        """Take a permission back."""
        self._permitted.discard((aemt, gateway.upper(), proxy))

    async def ask(self, aemt: str, gateway: str, proxy: str) -> str:
        """Order a channel; returns "" or why there is none."""
        gateway = gateway.upper()
        known = {device.id for device in self.administrator.registry.devices()}
        if gateway not in known:
            for other in self.others:
                if gateway in {device.id for device in other.administrator.registry.devices()}:
                    return await other.ask(aemt, gateway, proxy)
            return "no administrator knows this gateway"
        if (aemt, gateway, proxy) not in self._permitted:
            self.administrator.note(gateway, "cls", "refused", f"{aemt} has no access to {proxy}")
            return "not authorised"
        try:
            session = await self.administrator.session(gateway)
            answer = await session.proxy_order(proxy, "connect")
        except (GatewayError, SmgwError) as error:
            self.administrator.note(gateway, "cls", "failed", str(error))
            return str(error)
        result = str(answer.data.value) if answer.data is not None else ""
        self.administrator.note(gateway, "cls", "failed" if answer.status else "opened", result)
        return result or "refused by the gateway" if answer.status else ""
