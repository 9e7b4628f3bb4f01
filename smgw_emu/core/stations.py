"""Which wired meters are on the bus, and which are missing (LMN-04, LMN-13; L01).

Theory of operation. A wired meter is one that an LMN profile, or a master key, expects on the bus.
It is *there* while it has an HDLC address. It is *missing* as soon as it loses it, or when a
grace time after the start has passed without it. Missing and coming back are each told once; a
meter that comes and goes all the time is told of six times in a quarter of an hour at most, and
what holds then is told at its end.
"""

from __future__ import annotations

from collections.abc import Callable

from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.instants import SECOND, DeviceTime
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.sparing import Sparing


class StationBook:
    """The wired meters of one gateway, on all its lines.

    Args:
        logbooks: where changes are told.
        missing_s: grace time.
        changed: called when "a meter has an HDLC address" changes.
    """

    def __init__(
        self, logbooks: Logbooks, missing_s: int, changed: Callable[[], None] = lambda: None
    ) -> None:
        self._logbooks = logbooks
        self._grace = missing_s * SECOND
        self._expected: frozenset[str] = frozenset()
        self._due: dict[str, DeviceTime] = {}
        self._sparing = Sparing()
        self._told: set[str] = set()  # missing, as far as the logs know
        self.addresses: dict[str, int] = {}
        self.missing: set[str] = set()
        self.changed = changed

    @property
    def any(self) -> bool:
        """Whether a meter has an HDLC address (the LMC lamp's condition)."""
        return bool(self.addresses)

    def expect(self, meters: frozenset[str], now: DeviceTime) -> None:
        """Take the wired meters of the configuration."""
        for meter in meters - self._expected - self.addresses.keys():
            self._due[meter] = now + self._grace
        for meter in self._expected - meters:
            self._due.pop(meter, None)
            self.missing.discard(meter)
            self._told.discard(meter)
        self._expected = meters

    def found(self, meter: str, address: int, config: GatewayConfig, now: DeviceTime) -> None:
        """A meter has got an address."""
        had = self.any
        self.addresses[meter] = address
        self._due.pop(meter, None)
        if self._sparing.allow(("found", meter), now):
            self._logbooks.write("station-found", now, meter=meter, address=address)
        self.missing.discard(meter)
        self._tell(meter, config, now)
        if not had:
            self.changed()

    def lost(self, meter: str, reason: str, config: GatewayConfig, now: DeviceTime) -> None:
        """A meter has lost its address."""
        if self.addresses.pop(meter, None) is None:
            return
        if self._sparing.allow(("lost", meter), now):
            self._logbooks.write("station-lost", now, meter=meter, reason=reason, outcome="F")
        if meter in self._expected:
            self._miss(meter, config, now)
        if not self.any:
            self.changed()

    def next_deadline(self) -> DeviceTime | None:
        """Return when :meth:`on_deadline` must be called."""
        return min(self._due.values(), default=None)

    def on_deadline(self, config: GatewayConfig, now: DeviceTime) -> None:
        """Tell whom the grace time has passed for, and what was not told in time."""
        for meter in sorted(meter for meter, due in self._due.items() if now >= due):
            if meter in self.addresses:
                del self._due[meter]
                self._tell(meter, config, now)
            else:
                self._miss(meter, config, now)

    def _miss(self, meter: str, config: GatewayConfig, now: DeviceTime) -> None:
        self._due.pop(meter, None)
        self.missing.add(meter)
        self._tell(meter, config, now)

    def _tell(self, meter: str, config: GatewayConfig, now: DeviceTime) -> None:
        """Tell whether a meter is missing, if that has changed and may be told now."""
        missing = meter in self.missing
        if missing == (meter in self._told):
            return
        if not self._sparing.allow(("missing", meter), now):
            self._due[meter] = self._sparing.next(("missing", meter), now)
            return
        self._told ^= {meter}
        self._logbooks.write(
            "meter-missing" if missing else "meter-there",
            now,
            consumers=config.consumers_of(meter),
            subject=f"{meter}.sm",
            outcome="F" if missing else "S",
            meter=meter,
        )
