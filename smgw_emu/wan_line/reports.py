"""What the WAN side tells: system log, TLS lamp, notifications to the administrator."""

from __future__ import annotations

from collections.abc import Callable

from smgw_emu.core.device import Device
from smgw_emu.core.events import Event
from smgw_emu.core.instants import SECOND, DeviceTime
from smgw_emu.core.leds import AdminChannel
from smgw_emu.core.outbox import ADMINISTRATOR, Outbox
from smgw_emu.transport.clock import Clock, Timer
from smgw_emu.transport.http import Request
from smgw_emu.transport.tls import TlsEnd
from smgw_emu.wan_line.channel import ChannelLine
from wan.admin import KeyRing
from wan.channel import ChannelState, GaveUp
from wan.delivery import event_document, event_target

MAX_EVENTS = 20_000  # own choice: notifications that may wait for an administrator
Guard = Callable[[Callable[[], None]], None]


class ChannelReports:
    """Channels in the system log (T42) and on the lamp (HW-15 to HW-18).

    Args:
        device, keys: whose.
        clock: world time.
        guard: runs a step that writes.
        lamp: told when the administrator channel has changed.
    """

    def __init__(
        self,
        device: Device,
        keys: KeyRing,
        clock: Clock,
        guard: Guard,
        lamp: Callable[[AdminChannel], None],
    ) -> None:
        self._device = device
        self._keys = keys
        self._clock = clock
        self._guard = guard
        self._lamp = lamp
        self._shown = AdminChannel.NONE

    def write(self, name: str, outcome: str = "S", **parameters: object) -> None:
        """Write an entry with the device's present time."""
        device = self._device
        now = device.now(self._clock.now())
        self._guard(
            lambda: device.logbooks.write(name, now, outcome=outcome, **parameters)  # type: ignore[arg-type]
        )

    def _channel(self, name: str, line: ChannelLine, outcome: str = "S", **more: object) -> None:
        self.write(
            name,
            outcome,
            destination=str(line.machine.address or ""),
            profile=line.profile.name,
            scenario=line.profile.scenario,
            address=line.machine.address,
            **more,
        )

    def opened(self, line: ChannelLine) -> None:
        """TLS stands."""
        wirk = self._keys.generation > 0
        self._channel("channel-open", line, certificates="Wirk" if wirk else "Gütesiegel")

    def closed(self, line: ChannelLine, reason: str) -> None:
        """An open channel is over."""
        self._channel("channel-closed", line, reason=reason)

    def refused(self, line: ChannelLine, reason: str) -> None:
        """A connection failed; only a failed handshake is worth an entry of its own."""
        if reason.startswith(TlsEnd.HANDSHAKE_FAILED):
            self._channel("channel-refused", line, "F", reason=reason)

    def gave_up(self, line: ChannelLine, effect: GaveUp) -> None:
        """A round of attempts has failed (T40)."""
        self._channel("channel-failed", line, "F", attempts=effect.attempts, reason=effect.reason)

    def request_refused(self, request: Request, status: int, reason: str) -> None:
        """Status code and detail go into the system log (3.2.4.2.2)."""
        self.write(
            "request-refused",
            "F",
            subject="GWA",
            method=request.method[:10],
            path=request.path[:200],
            status=status,
            reason=reason[:300],
        )

    def image_loaded(self, name: str, octets: int, digest: str) -> None:
        """The last block of an image has come."""
        self.write("firmware-loaded", image=name, octets=octets, hash=digest)

    def show(self, lines: list[ChannelLine]) -> None:
        """Tell the lamp what the administrator's channels are doing."""
        states = {
            line.state
            for line in lines
            if line.profile.role == "GWA" and line.profile.scenario != "NTP-TLS"
        }
        if ChannelState.OPEN in states:
            shown = AdminChannel.WIRK if self._keys.generation else AdminChannel.GUETESIEGEL
        elif ChannelState.CONNECTING in states:
            shown = AdminChannel.BUILDING
        else:
            shown = AdminChannel.NONE
        if shown is not self._shown:
            self._shown = shown
            self._lamp(shown)


class Notices:
    """Notifications to the administrator (WAF3), each queued in its log entry's transaction.

    Args:
        device, outbox: whose.
        clock: world time.
        alive_s: regular notification, 0: none.
        guard: runs a step that writes.
        wake: there is something to send.

    Attributes:
        limit: notifications that may wait; beyond it they are counted, and the number is told.
    """

    def __init__(
        self,
        device: Device,
        outbox: Outbox,
        clock: Clock,
        alive_s: int,
        guard: Guard,
        wake: Callable[[], None],
    ) -> None:
        self._device = device
        self._outbox = outbox
        self._clock = clock
        self._alive_s = alive_s
        self._guard = guard
        self._wake = wake
        self._lost = 0
        self._over = False
        self._timer: Timer | None = None
        self.limit = MAX_EVENTS
        device.logbooks.notify = self._notify

    def stop(self) -> None:
        """Tell nothing more."""
        self._over = True
        self._device.logbooks.notify = None
        if self._timer is not None:
            self._timer.cancel()

    def say_alive(self) -> None:
        """Tell regularly that the gateway lives, if the profile asks for it."""
        if not self._alive_s or self._over:
            return
        now = self._device.now(self._clock.now())
        waiting = self._outbox.count()
        self._guard(lambda: self._device.logbooks.write("alive", now, waiting=waiting))
        due = self._clock.now() + self._alive_s * SECOND
        self._timer = self._clock.call_at(due, self.say_alive)

    def _notify(
        self, event: Event, now: DeviceTime, outcome: str, subject: str, message: str
    ) -> None:
        if self._device.config.wan_profile("ADMIN-SERVICE") is None:
            return
        if self._outbox.count(ADMINISTRATOR) >= self.limit:
            self._lost += 1  # the log has it
            return
        lost, self._lost = self._lost, 0
        if lost:
            self._device.logbooks.write("events-lost", now, outcome="F", count=lost)
        self._outbox.add(
            "event",
            event_target(self._device.id.lower),
            event_document(event, now, outcome, subject, message),
            now,
            about={"event": event.name},
        )
        # sent after the transaction, when the loop is back
        self._clock.call_at(self._clock.now(), self._wake)
