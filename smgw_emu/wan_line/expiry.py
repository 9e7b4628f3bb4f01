"""Warning before a certificate ends, once per step, and when it has ended (WAN-40, WAN-41)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from hsm_sim import SecurityModuleError
from smgw_emu.core.device import Device
from smgw_emu.core.instants import DAY, DeviceTime
from smgw_emu.profiles import Wan as Rules
from smgw_emu.transport.clock import Clock, Timer
from wan.admin import KeyRing
from wan.certificates import CertificateError, load

_PAUSE = DAY // 4  # own choice: the finest step of a notice is a day
_NOT_YET = -1


class CertificateWatch:
    """Looks at the gateway's and the partners' certificates four times a day.

    Args:
        device, keys: whose certificates.
        rules: days of notice.
        clock: world time.
        guard: runs a step that writes.
    """

    def __init__(
        self,
        device: Device,
        keys: KeyRing,
        rules: Rules,
        clock: Clock,
        guard: Callable[[Callable[[], None]], None],
    ) -> None:
        self._device = device
        self._keys = keys
        self._rules = rules
        self._clock = clock
        self._guard = guard
        self._timer: Timer | None = None
        self._over = False

    def stop(self) -> None:
        """Look no more."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Look now, and again after a pause; without valid time nothing can be said."""
        if self._timer is not None:
            self._timer.cancel()
        now = self._device.now(self._clock.now())
        if self._device.clock.valid:
            self._guard(lambda: self._check(now))
        if self._over:
            return  # the look has found that the store is gone
        self._timer = self._clock.call_at(self._clock.now() + _PAUSE, self.look)

    def _check(self, now: DeviceTime) -> None:
        for name, end in self._ends().items():
            left = end - now.datetime()
            steps = [day for day in self._rules.expiry_notice_days if left <= timedelta(days=day)]
            step = 0 if left < timedelta(0) else min(steps, default=_NOT_YET)
            if step != _NOT_YET:
                self._note(name, end.isoformat(), step, left.days, now)

    def _ends(self) -> dict[str, datetime]:
        try:
            ends = self._keys.expiries()
        except SecurityModuleError:
            ends = {}
        for profile in self._device.config.wan:
            for name in ("tls", "sig", "enc"):
                try:
                    end = load(getattr(profile, name)).not_valid_after_utc
                except CertificateError:
                    continue  # NTP-TLS profiles have a TLS certificate only
                ends[f"{profile.name} {name.upper()}"] = end
        return ends

    def _note(self, name: str, until: str, step: int, days: int, now: DeviceTime) -> None:
        """Write each step once; the mark names the certificate's end, so a new one starts anew."""
        key, mark = f"expiry {name}", f"{until} {step}"
        store = self._device.store
        if store.get_meta(key) == mark:
            return
        with store.transaction():
            store.set_meta(key, mark)
            event = "certificate-expired" if step == 0 else "certificate-expiring"
            self._device.logbooks.write(
                event, now, outcome="F", certificate=name, until=until, days=days
            )
