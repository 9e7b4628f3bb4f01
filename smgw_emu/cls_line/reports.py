"""What the CLS proxy tells: system log, the consumer's log (T44), the administrator."""

from __future__ import annotations

from collections.abc import Callable

from cls_proxy.rules import Grant
from smgw_emu.cls_line.channel import Octets
from smgw_emu.core.device import Device
from smgw_emu.core.instants import MINUTE
from smgw_emu.core.sparing import Sparing
from smgw_emu.transport.clock import Clock


class Reports:
    """Writes log entries.

    Args:
        device: whose logs.
        clock: world time.
        guard: runs a step that writes.
        most: entries for refusals per quarter hour.
    """

    def __init__(
        self, device: Device, clock: Clock, guard: Callable[[Callable[[], None]], None], most: int
    ) -> None:
        self._device = device
        self._clock = clock
        self._guard = guard
        self._sparing = Sparing(most, 15 * MINUTE)

    def _write(self, name: str, grant: Grant | None, outcome: str = "S", **values: object) -> None:
        now = self._device.now(self._clock.now())
        consumers = [grant.cls.consumer] if grant is not None and grant.cls.consumer else []
        subject = {"subject": grant.proxy.name} if grant is not None else {}
        self._guard(
            lambda: self._device.logbooks.write(
                name, now, outcome=outcome, consumers=consumers, **subject, **values  # type: ignore[arg-type]
            )
        )  # fmt: skip

    def opened(self, grant: Grant) -> None:
        """A channel stands."""
        proxy = grant.proxy
        self._write(
            "cls-channel-opened", grant,
            profile=proxy.name, scenario=proxy.initiator, cls=grant.cls.name, emt=grant.emt.name,
        )  # fmt: skip

    def closed(self, grant: Grant, reason: str, passed: Octets) -> None:
        """A channel that stood has ended."""
        self._write(
            "cls-channel-closed", grant,
            profile=grant.proxy.name, reason=reason, up=passed.up, down=passed.down,
        )  # fmt: skip

    def response(self, grant: Grant, leg: str) -> None:
        """One leg stands: the connect response of HKS4."""
        self._write("cls-connect-response", grant, profile=grant.proxy.name, leg=leg)

    def failed(self, profile: str, reason: str) -> None:
        """A channel did not come to stand."""
        if self._sparing.allow(profile, self._device.now(self._clock.now())):
            self._write("cls-channel-failed", None, "F", profile=profile, reason=reason)

    def refused(self, reason: str) -> None:
        """Somebody was not let in; told a few times only, whoever it was."""
        if self._sparing.allow("", self._device.now(self._clock.now())):
            self._write("cls-refused", None, "F", reason=reason)
