"""Limits of the stores: warnings on the way, consequences at the end (manual D-2.1, D-2.2; A7).

Two limits. *Logs*: ``log_capacity_kib`` of the profile; nothing younger than 15 months may go and
the calibration log never, so a log that is full cannot be helped: Secure State Boot (SEC-03).
*Values*: the limit the administrator has set (WAN-25), measured on the whole store: Secure State
Application (SEC-10). On the way to each the administrator is told at the profile's percentages,
once per way up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.store import Store
from smgw_emu.profiles import Retention as Limits

What = Literal["logs", "values"]
_SHOWN = {"logs": "Logbücher", "values": "Messwerte"}


@dataclass(frozen=True, slots=True)
class Level:
    """How full a store is; ``critical`` at its limit. A limit of 0 is none."""

    used_kib: int
    limit_kib: int

    @property
    def critical(self) -> bool:
        """Whether the limit is reached."""
        return bool(self.limit_kib) and self.used_kib >= self.limit_kib

    @property
    def percent(self) -> int:
        """Whole percent in use."""
        return self.used_kib * 100 // self.limit_kib if self.limit_kib else 0


class StorageWatch:
    """Watches both.

    Args:
        store, logbooks: of the gateway.
        limits: of the profile.
    """

    def __init__(self, store: Store, logbooks: Logbooks, limits: Limits) -> None:
        self._store = store
        self._logbooks = logbooks
        self._limits = limits

    def logs(self, now: DeviceTime) -> Level:
        """Look at the logs, warn; the next moment to look is when they have grown as far again."""
        capacity = self._limits.log_capacity_kib
        level = Level(self._logbooks.used // 1024, capacity)
        self._warn("logs", level, now)
        steps = [percent for percent in self._limits.warn_percent if percent > level.percent]
        self._logbooks.look_at = capacity * 1024 * min([*steps, 100]) // 100
        return level

    def values(self, now: DeviceTime, limit_kib: int) -> Level:
        """Look at the values, warn."""
        level = Level(self._store.used_kib(), limit_kib)
        self._warn("values", level, now)
        return level

    def _warn(self, what: What, level: Level, now: DeviceTime) -> None:
        key = f"storage-{what}"
        told = int(self._store.get_meta(key) or 0)
        reached = max([p for p in self._limits.warn_percent if p <= level.percent], default=0)
        if reached == told:
            return
        with self._store.transaction():
            self._store.set_meta(key, str(reached))
            if reached > told:
                self._logbooks.write(
                    "storage-warning",
                    now,
                    outcome="F",
                    what=_SHOWN[what],
                    percent=level.percent,
                    used=level.used_kib,
                    limit=level.limit_kib,
                )
