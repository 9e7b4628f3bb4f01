"""The administrator's part of a switching action: who may have a channel to which plant.

Requirements WAN-62 to WAN-64, WAN-71: an active EMT asks for a channel; without permission it is
refused and noted, and the gateway hears nothing of it. For a gateway of another administrator the
request goes to him, and only with his consent a channel comes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from hsm_sim.files import write_private
from smgw_emu.bench.gwa.server import Administrator
from smgw_emu.bench.gwa.session import GatewayError
from smgw_emu.core.errors import SmgwError


@dataclass(slots=True)
class ClsAccess:
    """Permissions of one administrator.

    Attributes:
        administrator: whose.
        others: administrators he passes requests on to.
        file: where permissions are kept, None for nowhere.
    """

    administrator: Administrator
    others: list[ClsAccess] = field(default_factory=list)
    file: Path | None = None
    _permitted: set[tuple[str, str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.file is not None and self.file.exists():
            rows = msgspec.json.decode(self.file.read_bytes(), type=list[tuple[str, str, str]])
            self._permitted = set(rows)

    def permit(self, aemt: str, gateway: str, proxy: str) -> None:
        """Let an active EMT ask for the channel of a proxy profile."""
        self._permitted.add((aemt, gateway.upper(), proxy))
        self._save()

    def withdraw(self, aemt: str, gateway: str, proxy: str) -> None:
        """Take a permission back."""
        self._permitted.discard((aemt, gateway.upper(), proxy))
        self._save()

    def permitted(self) -> list[tuple[str, str, str]]:
        """Return (EMT, gateway, proxy profile) of every permission."""
        return sorted(self._permitted)

    def _save(self) -> None:
        if self.file is not None:
            write_private(self.file, msgspec.json.encode(self.permitted()))

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
