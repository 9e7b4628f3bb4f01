"""A Steuerbox on sockets: asks for a channel (HKS3) or waits for one (HKS4, HKS5).

What comes over the channel goes to the :class:`~smgw_emu.bench.cls.box.Box`, or, with ``forward``,
octet by octet to any TCP server: the lab's own MMS, EEBUS or Modbus device.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
import structlog

from smgw_emu.bench.cls.box import Box
from smgw_emu.bench.cls.forward import Forward
from smgw_emu.bench.cls.socks_client import SocksStream
from smgw_emu.bench.cls.words import LineReader, read_order, write
from smgw_emu.bench.pki import Identity
from smgw_emu.core.errors import RemoteProtocolError, SmgwError
from smgw_emu.core.instants import SECOND
from smgw_emu.profiles import Tls as TlsLimits
from smgw_emu.transport.clock import Clock, Timer
from smgw_emu.transport.presets import TlsIdentity, client_context, server_context
from smgw_emu.transport.stream import StreamHandler, TlsStream
from smgw_emu.transport.tls import TlsEnd

_log = structlog.get_logger("steuerbox")
RETRY_S = (5, 60)  # DS2 ConnectRequest.80


@dataclass(frozen=True, slots=True)
class Way:
    """How the box gets its channel.

    Attributes:
        mode: ``socks`` and ``sni`` ask at ``host:port`` under ``name``; ``listen`` waits there.
        gateway: HAN certificate of the gateway, DER; the only one that is trusted.
        preset: TLS settings.
        forward: TCP server the octets go to, None for the box's own words.
    """

    mode: Literal["socks", "sni", "listen"]
    host: str
    port: int
    gateway: bytes
    name: str = ""
    preset: str = "han-conexa"
    forward: tuple[str, int] | None = None


class Steuerbox:
    """One box on sockets.

    Args:
        box: its inner life.
        identity: CLS_HAN_TLS_CRT and key.
        way: how it gets its channel.
        clock: world time.
        limits: of TLS.
        draw: seconds to wait after a refusal, from (least, most).

    Attributes:
        tries: connections it has tried.
        refusals: why they failed.
    """

    def __init__(
        self,
        box: Box,
        identity: Identity,
        way: Way,
        clock: Clock,
        limits: TlsLimits,
        draw: Callable[[int, int], float],
    ) -> None:
        self.box = box
        self._way = way
        self._clock = clock
        self._limits = msgspec.structs.replace(limits, idle_s=0)  # the channel is the gateway's
        self._draw = draw
        own = TlsIdentity(identity.certificate_der, identity.sign_digest, identity.key_pem)
        self._own = own
        self._context: ssl.SSLContext | None = None
        self._server: asyncio.Server | None = None
        self._streams: set[TlsStream] = set()
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._deadline: Timer | None = None
        self._over = False
        self.tries = 0
        self.refusals: list[str] = []

    async def start(self) -> tuple[str, int]:
        """Ask for a channel, or listen; returns the address of the gateway, or the own one.

        Raises:
            SmgwError: the address is in use.
        """
        way = self._way
        if way.mode == "listen":
            context = server_context(way.preset, self._own, peers=[way.gateway]).context
            loop = asyncio.get_running_loop()

            def stream() -> TlsStream:
                handler = self._handler()
                return TlsStream(self._clock, context, self._limits, handler, server_side=True)

            try:
                self._server = await loop.create_server(stream, way.host, way.port)
            except OSError as error:
                where = f"{way.host}:{way.port}"
                raise SmgwError(f"box cannot listen on {where}: {error.strerror}") from error
            bound = self._server.sockets[0].getsockname()
            return bound[0], bound[1]
        self._context = client_context(way.preset, self._own, [way.gateway]).context
        self._dial()
        return way.host, way.port

    async def stop(self) -> None:
        """End."""
        self._over = True
        for timer in (self._timer, self._deadline):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            self._task.cancel()
        if self._server is not None:
            self._server.close()
        for stream in tuple(self._streams):
            stream.close()
        await asyncio.sleep(0)

    @property
    def connected(self) -> bool:
        """Whether a channel stands."""
        return bool(self._streams)

    # -- HKS3 ------------------------------------------------------------------------------

    def _dial(self) -> None:
        self._timer = None
        if not self._over:
            self.tries += 1
            self._task = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        way, loop = self._way, asyncio.get_running_loop()
        assert self._context is not None
        context = self._context

        def stream() -> TlsStream:
            handler = self._handler()
            if way.mode == "socks":
                return SocksStream(self._clock, context, self._limits, handler, way.name)
            return TlsStream(self._clock, context, self._limits, handler, server_name=way.name)

        try:
            await loop.create_connection(stream, way.host, way.port)
        except OSError as error:
            self.later(error.strerror or str(error))

    def later(self, reason: str) -> None:
        """Try again after a random pause."""
        self.refusals.append(reason)
        del self.refusals[:-100]
        if self._over or self._way.mode == "listen" or self._timer is not None:
            return
        pause = self._draw(*RETRY_S)
        _log.info("no channel", cause=reason, again_in_s=round(pause))
        due = self._clock.now() + round(pause * SECOND)
        self._timer = self._clock.call_at(due, self._dial)

    # -- the channel -----------------------------------------------------------------------

    def _handler(self) -> StreamHandler:
        far = self._way.forward
        return _Counted(self, _Words(self) if far is None else Forward(*far))

    def joined(self, stream: TlsStream) -> None:
        """A channel stands."""
        self._streams.add(stream)

    def left(self, stream: TlsStream, reason: str) -> None:
        """A channel is over, or never stood."""
        self._streams.discard(stream)
        self.later(reason)

    def arm(self) -> None:
        """Wait for what the box does by itself."""
        if self._deadline is not None:
            self._deadline.cancel()
        due = self.box.next_deadline()
        if due is not None and not self._over:
            self._deadline = self._clock.call_at(due, self._on_deadline)

    def _on_deadline(self) -> None:
        self._deadline = None
        self.box.on_deadline(self._clock.now())
        self.arm()

    def order(self, line: bytes) -> bytes:
        """Carry out one line.

        Raises:
            RemoteProtocolError: no order.
        """
        answer = self.box.take(read_order(line), self._clock.now())
        self.arm()
        _log.info("order", state=answer.state, limit=answer.limit, relays=answer.relays)
        return write(answer)


class _Counted:
    """Keeps the box's table of channels."""

    def __init__(self, owner: Steuerbox, inner: StreamHandler) -> None:
        self._owner = owner
        self._inner = inner
        self._stood = False

    def established(self, stream: TlsStream) -> None:
        self._stood = True
        self._owner.joined(stream)
        self._inner.established(stream)

    def received(self, stream: TlsStream, data: bytes) -> None:
        self._inner.received(stream, data)

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:
        if self._stood:
            self._inner.ended(stream, reason, detail)
        self._owner.left(stream, f"{reason}: {detail}" if detail else str(reason))


class _Words:
    """The box's own words on a channel."""

    def __init__(self, owner: Steuerbox) -> None:
        self._owner = owner
        self._lines = LineReader()

    def established(self, stream: TlsStream) -> None:
        """Wait for orders."""

    def received(self, stream: TlsStream, data: bytes) -> None:
        try:
            for line in self._lines.receive(data):
                stream.write(self._owner.order(line))
        except RemoteProtocolError as error:
            _log.warning("channel closed", cause=str(error))
            stream.close()

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:
        """Nothing to do: silence is what the box notices."""
