"""When the gateway opens a channel by itself (HKS5, T18 Proxy-Start-Ereignis).

A cyclic start lies on multiples of its period since 1970 (UTC), a daily one at its time of day
(UTC); what an event of the catalogue starts, starts when that event is logged. Starts that were
missed while the device was off are not made up for.
"""

from __future__ import annotations

from smgw_emu.core.cls_profiles import parse_start
from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.instants import DAY, SECOND, DeviceTime


def next_start(text: str, after: DeviceTime) -> DeviceTime | None:
    """Return the first start later than ``after``, None for one that waits for an event."""
    start = parse_start(text)
    if start.every_s:
        period = start.every_s * SECOND
        return DeviceTime((after.ns // period + 1) * period)
    if start.daily_s < 0:
        return None
    midnight = after.ns // DAY * DAY
    due = midnight + start.daily_s * SECOND
    return DeviceTime(due if due > after.ns else due + DAY)


class Starts:
    """The starts of one running gateway: next moment per proxy profile."""

    def __init__(self) -> None:
        self._due: dict[str, tuple[str, DeviceTime]] = {}

    def plan(self, config: GatewayConfig, now: DeviceTime) -> None:
        """Follow a configuration; what is planned already stays."""
        wanted = {p.name: p.start for p in config.proxy if p.initiator == "HKS5"}
        for name, (text, _) in list(self._due.items()):
            if wanted.get(name) != text:
                del self._due[name]
        for name, text in wanted.items():
            due = next_start(text, now)
            if name not in self._due and due is not None:
                self._due[name] = (text, due)

    def clock_moved(self, config: GatewayConfig, now: DeviceTime) -> None:
        """Plan anew: the device clock was set."""
        self._due.clear()
        self.plan(config, now)

    def next_deadline(self) -> DeviceTime | None:
        """Return when the next start is due."""
        return min((due for _, due in self._due.values()), default=None)

    def take(self, now: DeviceTime) -> list[str]:
        """Return the proxy profiles whose start is due, and plan their next one."""
        due = [name for name, (_, at) in self._due.items() if at <= now]
        for name in due:
            text = self._due[name][0]
            following = next_start(text, now)
            assert following is not None
            self._due[name] = (text, following)
        return due


def started_by(config: GatewayConfig, event: str) -> list[str]:
    """Return the proxy profiles an event of the catalogue starts."""
    return [
        proxy.name
        for proxy in config.proxy
        if proxy.initiator == "HKS5" and parse_start(proxy.start).event == event
    ]
