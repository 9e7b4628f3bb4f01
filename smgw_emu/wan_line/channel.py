"""The asyncio shell of one WAN channel: TCP, TLS, and the machine that decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import SECOND
from smgw_emu.core.wan_profiles import Address, WanProfile
from smgw_emu.profiles import Wan as Rules
from smgw_emu.transport.clock import Clock, Timer
from smgw_emu.transport.stream import StreamHandler, TlsStream
from smgw_emu.transport.tls import TlsEnd
from smgw_emu.wan_line.partners import Partners
from wan.channel import Channel, ChannelState, Connect, Effect, GaveUp, HangUp


@dataclass(slots=True)
class ChannelHooks:
    """What a channel tells.

    Attributes:
        device_time: the moment for certificate checks, None while time is not valid.
        opened: TLS stands.
        closed: an open channel is over, with the reason.
        gave_up: a round of attempts has failed.
        refused: one connection failed with a reason worth a log entry.
        changed: the state has changed.
        link: whether there is a way to the network.
    """

    device_time: Callable[[], object]
    opened: Callable[[ChannelLine], None]
    closed: Callable[[ChannelLine, str], None]
    gave_up: Callable[[ChannelLine, GaveUp], None]
    refused: Callable[[ChannelLine, str], None]
    changed: Callable[[], None]
    link: Callable[[], bool]


class ChannelLine:
    """One channel and its connection.

    Args:
        profile: communication profile.
        rules: of the device profile.
        clock: world time.
        partners: TLS contexts.
        hooks: who is told.
        handler: makes what runs on a new connection.
    """

    def __init__(
        self,
        profile: WanProfile,
        rules: Rules,
        clock: Clock,
        partners: Partners,
        hooks: ChannelHooks,
        handler: Callable[[ChannelLine], StreamHandler],
    ) -> None:
        self.profile = profile
        self.machine = Channel(profile, rules)
        self._rules = rules
        self._clock = clock
        self._partners = partners
        self._hooks = hooks
        self._make_handler = handler
        self._inner: StreamHandler | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._limit: Timer | None = None
        self.stream: TlsStream | None = None

    @property
    def state(self) -> ChannelState:
        """Where the channel is."""
        return self.machine.state

    def want(self) -> None:
        """Open the channel, if it is not on its way."""
        self._run(self.machine.want(self._clock.now()))

    def release(self) -> None:
        """The work is done."""
        self._run(self.machine.release())

    def drop(self) -> None:
        """End the channel for good."""
        self._run(self.machine.drop())

    def cut(self) -> None:
        """The link is gone: the connection breaks without a word."""
        if self.stream is not None:
            self.stream.abort()

    def rebuild(self) -> None:
        """End an open connection; a permanent or wanted channel is opened anew."""
        wanted = self.machine.wanted
        self._run(self.machine.drop())
        if wanted:
            self.want()

    # -- effects ---------------------------------------------------------------------------

    def _run(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Connect):
                self._connect(effect.address)
            elif isinstance(effect, HangUp):
                self._hang_up()
            else:
                self._hooks.gave_up(self, effect)
        self._watch()
        self._hooks.changed()

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.machine.next_deadline()
        if due is not None:
            self._timer = self._clock.call_at(due, self._on_deadline)

    def _on_deadline(self) -> None:
        self._run(self.machine.on_deadline(self._clock.now()))

    def _connect(self, address: Address) -> None:
        self._hang_up()
        if not self._hooks.link():
            self._run(self.machine.failed(self._clock.now(), "no link"))
            return
        self._task = asyncio.get_running_loop().create_task(self._open(address))
        due = self._clock.now() + self._rules.connect_s * SECOND
        self._limit = self._clock.call_at(due, self._too_late)

    async def _open(self, address: Address) -> None:
        loop = asyncio.get_running_loop()
        try:
            context = self._partners.context(self.profile)
            device_time = self._hooks.device_time()
            watcher = self._partners.watcher(self.profile, device_time)  # type: ignore[arg-type]

            def stream() -> TlsStream:
                return TlsStream(
                    self._clock,
                    context.context,
                    self._partners.limits(self.profile),
                    self,
                    server_name=self.profile.sni,
                    watcher=lambda: watcher,
                )

            _, made = await loop.create_connection(stream, address.host, address.port)
        except (OSError, SmgwError) as error:  # SmgwError: the security module refuses
            self._task = None
            self._stop_limit()
            text = getattr(error, "strerror", None) or str(error)
            self._run(self.machine.failed(self._clock.now(), text))
            return
        self._task = None
        if self.stream is None and self.state is ChannelState.CONNECTING:
            self.stream = made

    def _too_late(self) -> None:
        """Nobody answers: neither TCP nor handshake within the limit."""
        self._limit = None
        if self.state is ChannelState.CONNECTING:
            self._hang_up()
            self._run(self.machine.failed(self._clock.now(), "no answer"))

    def _hang_up(self) -> None:
        self._stop_limit()
        if self._task is not None:
            self._task.cancel()
            self._task = None
        stream, self.stream = self.stream, None
        inner, self._inner = self._inner, None
        if stream is not None:
            if stream.tls.established:
                stream.close()
            else:
                stream.abort()
            if inner is not None:
                inner.ended(stream, TlsEnd.LOCAL, "")
                self._hooks.closed(self, TlsEnd.LOCAL)

    def _stop_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def abandon(self) -> None:
        """Power is gone: no farewell, no timers."""
        self._stop_limit()
        for timer in (self._timer,):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            self._task.cancel()
        stream, self.stream = self.stream, None
        inner, self._inner = self._inner, None
        if stream is not None:
            stream.abort()
            if inner is not None:
                inner.ended(stream, TlsEnd.LOCAL, "")

    # -- the stream's handler ----------------------------------------------------------------

    def established(self, stream: TlsStream) -> None:
        """TLS stands: hand the stream over."""
        self.stream = stream
        self._stop_limit()
        self._run(self.machine.established(self._clock.now()))
        self._inner = self._make_handler(self)
        self._hooks.opened(self)
        self._inner.established(stream)

    def received(self, stream: TlsStream, data: bytes) -> None:
        """Pass octets on."""
        if self._inner is not None:
            self._inner.received(stream, data)

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:
        """The connection is over, or never came to be."""
        if stream is not self.stream and self.stream is not None:
            return  # one that was hung up before
        if self.state is ChannelState.CONNECTING and not stream.tls.established:
            self.stream = None
            self._stop_limit()
            text = f"{reason}: {detail}" if detail else str(reason)
            self._hooks.refused(self, text)
            self._run(self.machine.failed(self._clock.now(), text))
            return
        if self.stream is None:
            return
        self.stream = None
        inner, self._inner = self._inner, None
        if inner is not None:
            inner.ended(stream, reason, detail)
        self._hooks.closed(self, str(reason))
        self._run(self.machine.ended(self._clock.now()))
