"""Emptying the outbox of one receiver over its channel, in order (WAF3 to WAF5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog

from smgw_emu.core.device import Device
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.core.outbox import Message, Outbox
from smgw_emu.profiles import Wan as Rules
from smgw_emu.transport.clock import Clock, Timer
from smgw_emu.transport.http import Answer
from smgw_emu.transport.stream import StreamHandler
from smgw_emu.transport.tls import TlsEnd
from smgw_emu.transport.web import WebCaller
from smgw_emu.wan_line.channel import ChannelLine
from wan.cosem.media import SEALED, Protection

_log = structlog.get_logger("wan")
_GOOD = (200, 201, 204)


@dataclass(frozen=True, slots=True)
class SenderParts:
    """What a sender works with.

    Attributes:
        device, outbox: the core.
        rules: of the device profile.
        clock: world time.
        protection: content protection of a message.
        guard: runs a step that writes.
        may: whether anything may be sent: not while certificates change, because parallel
            connections use the same (TR-03109-1 v1.0 3.2.4.5).
    """

    device: Device
    outbox: Outbox
    rules: Rules
    clock: Clock
    protection: Callable[[Message], Protection]
    guard: Callable[[Callable[[], None]], None]
    may: Callable[[], bool]


class Sender:
    """Messages for one receiver.

    Args:
        parts: what it works with.
        receiver: "" for the administrator, else an EMT's profile name.

    Attributes:
        line: the channel.
        caller: the client half of its connection, None without one.
        first: sent before messages on the next connection (a time request of WKS4).
    """

    def __init__(self, parts: SenderParts, receiver: str) -> None:
        self._p = parts
        self._receiver = receiver
        self.line: ChannelLine | None = None
        self.caller: WebCaller | None = None
        self._sent: Message | None = None
        self._wait_until: WorldTime | None = None
        self._timer: Timer | None = None
        self.first: Callable[[], object] | None = None

    def stop(self) -> None:
        """Forget timers."""
        if self._timer is not None:
            self._timer.cancel()

    def handler(self, line: ChannelLine) -> StreamHandler:
        """Make the client half of a new connection."""
        address = line.machine.address
        assert address is not None
        host = f"{address.host}:{address.port}"
        self.caller = WebCaller(
            self._p.clock, host, self._p.rules.answer_s, self._ready, self._ended
        )
        return self.caller

    def wake(self) -> None:
        """There may be something to send."""
        if self.line is None or not self._p.may():
            return
        if self._p.outbox.first(self._receiver) is None:
            return
        if self._wait_until is not None and self._p.clock.now() < self._wait_until:
            return
        if self.caller is not None and self.caller.open:
            self._ready(self.caller)
        else:
            self.line.want()

    def _ready(self, caller: WebCaller) -> None:
        """Send the next message, or let the channel go."""
        if caller is not self.caller or not caller.open or caller.busy or self._sent is not None:
            return
        first, self.first = self.first, None
        if first is not None and first():
            return  # its answer comes first; the outbox goes on with the next wake
        if self._wait_until is not None and self._p.clock.now() < self._wait_until:
            self._rest()
            return
        message = self._p.outbox.first(self._receiver)
        if message is None or not self._p.may():
            self._rest()
            return
        assert self.line is not None
        assert self.line.machine.address is not None
        poc = self.line.machine.address.path
        try:
            body = self._p.protection(message).seal(message.body)
        except (SmgwError, ValueError) as error:
            self._refused(message, f"cannot be protected: {error}")
            return
        self._sent = message
        self._p.guard(lambda: self._p.outbox.attempted(message, message.refusal))
        headers = [
            ("Content-Type", SEALED),
            ("Content-Encoding", "deflate"),
            ("x-CID", message.id),
        ]
        caller.send("POST", _target(poc, message.target), headers, body, self._answered)

    def resume(self) -> None:
        """Go on after something else was sent on the connection."""
        if self.caller is not None:
            self._ready(self.caller)

    def _rest(self) -> None:
        if self.line is not None:
            self.line.release()

    def _answered(self, answer: Answer | None) -> None:
        message, self._sent = self._sent, None
        if message is None or answer is None:
            return  # the connection ended: the message stays and goes again under its id
        if answer.status in _GOOD:
            self._p.guard(lambda: self._acknowledge(message))
        else:
            self._refused(message, f"HTTP {answer.status}")
        if self.caller is not None:
            self._ready(self.caller)

    def _acknowledge(self, message: Message) -> None:
        """Drop the message and log it, in one transaction."""
        device, about = self._p.device, message.about
        now = device.now(self._p.clock.now())
        with device.store.transaction():
            self._p.outbox.acknowledged(message)
            if message.kind in {"delivery", "forward"}:
                shown = {key: about[key] for key in ("count", "begin", "first", "end", "last")}
                assert self.line is not None
                device.logbooks.write(
                    "values-delivered",
                    now,
                    consumers=[about["consumer"]],
                    subject=about["subject"],
                    destination=str(self.line.machine.address or ""),
                    **shown,
                )

    def _refused(self, message: Message, reason: str) -> None:
        """Keep the message, tell the administrator once, try again later."""
        self._wait_until = self._p.clock.now() + self._p.rules.resend_s * SECOND
        self.stop()
        self._timer = self._p.clock.call_at(self._wait_until, self._again)
        device = self._p.device

        def note() -> None:
            now = device.now(self._p.clock.now())
            with device.store.transaction():
                self._p.outbox.attempted(message, reason)
                if message.refusal == reason:
                    return  # said before
                device.logbooks.write(
                    "service-refused",
                    now,
                    outcome="F",
                    path=message.target,
                    receiver=message.receiver or "GWA",
                    status=reason,
                )
                if message.kind in {"delivery", "forward"}:
                    device.logbooks.write(
                        "delivery-refused",
                        now,
                        outcome="F",
                        id=message.id,
                        receiver=message.about.get("emt", message.receiver),
                        reason=reason,
                    )

        self._p.guard(note)
        self._rest()

    def _again(self) -> None:
        self._wait_until = None
        self.wake()

    def _ended(self, reason: TlsEnd, detail: str) -> None:
        _log.debug("report channel ended", reason=reason, detail=detail)
        self.caller = None
        self._sent = None
        if self._wait_until is not None:
            return  # the pause of a refused message goes on
        if self._p.outbox.first(self._receiver) is not None and self.line is not None:
            due = self._p.clock.now() + max(1, self.line.profile.wait_s) * SECOND
            self.stop()
            self._timer = self._p.clock.call_at(due, self._again)


def _target(poc: str, target: str) -> str:
    """Return the path of a request: below the point of contact, or a contact URI's own path."""
    if target.startswith("https://"):
        parts = urlsplit(target)
        return parts.path or "/"
    return poc + (target or "/")
