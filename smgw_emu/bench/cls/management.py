"""An active EMT: CLS management (requirements WAN-60 to WAN-66, WAN-70, WAN-74).

A switching action runs as the cascade says: triggered; is there a channel? if not, ask the GWA for
one (who may refuse); wait for it; send the order; wait for the box's answer. Each step has its
time, and the whole is measured against the budget of 12 minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from hsm_sim import Purpose
from smgw_emu.bench.cls.box import HEARTBEAT_S
from smgw_emu.bench.cls.coordination import BUDGET_S
from smgw_emu.bench.cls.words import Answer, LineReader, Order, read_answer, write
from smgw_emu.bench.pki import Identity, TestPki
from smgw_emu.bench.web import PeerListener
from smgw_emu.core.errors import RemoteProtocolError, SmgwError
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.core.wan_profiles import WanProfile
from smgw_emu.profiles import Profile
from smgw_emu.transport.clock import Clock, Timer
from smgw_emu.transport.presets import TlsContext, TlsIdentity, server_context
from smgw_emu.transport.stream import StreamHandler, TlsStream
from smgw_emu.transport.tls import TlsEnd
from wan.certificates import CertificateError, check_path, common_name, load

_log = structlog.get_logger("aemt")
T = TypeVar("T")
Ask = Callable[[str, str], Awaitable[str]]
"""(gateway, proxy profile) -> "" when the channel is ordered, else why not."""


class ChannelError(SmgwError):
    """A switching action could not be carried out."""


@dataclass(slots=True)
class Action:
    """One switching action: its steps with their moments, and the box's answer."""

    gateway: str
    steps: list[tuple[str, WorldTime]] = field(default_factory=list)
    answer: Answer | None = None

    @property
    def seconds(self) -> float:
        """From the trigger to the last step."""
        return (self.steps[-1][1] - self.steps[0][1]) / SECOND

    @property
    def in_budget(self) -> bool:
        """Whether it was confirmed within 12 minutes (WAN-70)."""
        return self.answer is not None and self.seconds <= BUDGET_S


class ClsManagement:
    """An active market participant.

    Args:
        pki: whose gateways it trusts.
        identity: its TLS certificate and key.
        clock: world time.
        profile: limits.
        name: of its communication profile.
        ask: asks the administrator for a channel.
        handler: makes what runs on a channel in place of the bench's own words.
        keylog: file for TLS secrets.
    """

    def __init__(
        self,
        pki: TestPki,
        identity: Identity,
        clock: Clock,
        profile: Profile,
        *,
        name: str = "aemt1",
        ask: Ask | None = None,
        handler: Callable[[], StreamHandler] | None = None,
        keylog: str = "",
    ) -> None:
        self.pki = pki
        self.identity = identity
        self.clock = clock
        self.name = name
        self.ask = ask
        self.links: dict[str, _Link] = {}
        self.refused: list[str] = []
        self.address = ("127.0.0.1", 0)
        self._made = handler
        self._preset, self._keylog = profile.wan_tls.preset, keylog
        self._context: TlsContext | None = None
        self._number = 0
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        self._listener = PeerListener(
            clock, self._tls, profile.wan_tls, self._judge, self._handler, self.refused.append
        )

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> tuple[str, int]:
        """Listen for gateways.

        Raises:
            SmgwError: the address is in use.
        """
        try:
            self.address = await self._listener.start(host, port)
        except OSError as error:
            raise SmgwError(f"aEMT cannot listen on {host}:{port}: {error.strerror}") from error
        return self.address

    async def stop(self) -> None:
        """Stop."""
        await self._listener.stop()

    def wan_profile(self) -> WanProfile:
        """Return the profile a gateway needs of this participant."""
        host, port = self.address
        place = (f"https://{host}:{port}",)
        return WanProfile(self.name, "PROXY", "EMT", place, self.identity.certificate_der)

    def _tls(self) -> TlsContext:
        if self._context is None:
            own = self.identity
            identity = TlsIdentity(own.certificate_der, own.sign_digest, own.key_pem)
            self._context = server_context(self._preset, identity, keylog=self._keylog)
        return self._context

    def _judge(self, leaf: bytes) -> str:
        at = self.clock.now().datetime()
        lists = self.pki.revocation_lists(at)
        try:
            check_path(
                load(leaf), [self.pki.sub_ca], self.pki.root, at, purpose=Purpose.TLS, lists=lists
            )
        except CertificateError as error:
            return str(error)
        return ""

    # -- channels --------------------------------------------------------------------------

    def _handler(self) -> StreamHandler:
        return self._made() if self._made is not None else _Link(self)

    def joined(self, link: _Link) -> None:
        """A gateway has opened a channel."""
        self.links[link.gateway] = link
        self.beat(link)
        for future in self._waiting.pop(link.gateway, []):
            if not future.done():
                future.set_result(None)

    def beat(self, link: _Link) -> None:
        """Say each minute that somebody is there; without it the box goes into failsafe."""
        if link.over:
            return
        self._number += 1
        link.say(Order(self._number, "heartbeat"))
        due = self.clock.now() + HEARTBEAT_S * SECOND
        link.timer = self.clock.call_at(due, lambda: self.beat(link))

    def left(self, link: _Link) -> None:
        """A channel is over."""
        if link.timer is not None:
            link.timer.cancel()
        if self.links.get(link.gateway) is link:
            del self.links[link.gateway]

    # -- switching -------------------------------------------------------------------------

    async def switch(
        self, gateway: str, proxy: str, order: Order, *, timeout_s: int = BUDGET_S
    ) -> Action:
        """Carry out an order at the box behind a gateway.

        Args:
            gateway: its id.
            proxy: proxy profile to ask for if there is no channel.
            order: what the box shall do; its id is set here.
            timeout_s: for each wait.

        Raises:
            ChannelError: the administrator refuses, or nobody answers in time.
        """
        gateway = gateway.upper()
        action = Action(gateway)
        self._step(action, "triggered")
        if gateway not in self.links:
            self._step(action, "no channel")
            await self._get_channel(action, proxy, timeout_s)
        self._step(action, "channel stands")
        self._number += 1
        numbered = Order(
            self._number, order.do, order.watts, order.seconds, order.number, order.on, order.steps
        )
        answer = asyncio.ensure_future(self.links[gateway].send(numbered))
        self._step(action, "sent")
        action.answer = await self._within(answer, timeout_s, "the box does not answer")
        self._step(action, "confirmed" if action.answer.ok else "refused by the box")
        return action

    async def _get_channel(self, action: Action, proxy: str, timeout_s: int) -> None:
        if self.ask is None:
            raise ChannelError("no channel, and no administrator to ask")
        up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(action.gateway, []).append(up)
        reason = await self.ask(action.gateway, proxy)
        self._step(action, "refused by the administrator" if reason else "ordered")
        if reason:
            raise ChannelError(f"{action.gateway}: {reason}")
        await self._within(up, timeout_s, "no channel came")

    async def _within(self, work: asyncio.Future[T], seconds: int, failure: str) -> T:
        def too_late() -> None:
            work.cancel()

        timer = self.clock.call_at(self.clock.now() + seconds * SECOND, too_late)
        try:
            return await work
        except asyncio.CancelledError:
            raise ChannelError(failure) from None
        finally:
            timer.cancel()

    def _step(self, action: Action, name: str) -> None:
        action.steps.append((name, self.clock.now()))
        _log.info("switching", gateway=action.gateway, step=name)


class _Link:
    """One channel: orders out, answers in."""

    def __init__(self, owner: ClsManagement) -> None:
        self._owner = owner
        self._lines = LineReader()
        self._stream: TlsStream | None = None
        self._open: dict[int, asyncio.Future[Answer]] = {}
        self.gateway = ""
        self.timer: Timer | None = None
        self.over = False

    def established(self, stream: TlsStream) -> None:
        """Know the gateway by its certificate."""
        self._stream = stream
        assert stream.certificate is not None
        self.gateway = common_name(load(stream.certificate)).partition(".")[0].upper()
        self._owner.joined(self)

    def say(self, order: Order) -> None:
        """Send an order; nobody waits for the answer."""
        assert self._stream is not None
        self._stream.write(write(order))

    async def send(self, order: Order) -> Answer:
        """Send an order and wait for its answer."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._open[order.id] = future
        self.say(order)
        return await future

    def received(self, stream: TlsStream, data: bytes) -> None:
        """Take answers."""
        try:
            for line in self._lines.receive(data):
                answer = read_answer(line)
                future = self._open.pop(answer.id, None)
                if future is not None and not future.done():
                    future.set_result(answer)
        except RemoteProtocolError as error:
            _log.warning("channel closed", gateway=self.gateway, cause=str(error))
            stream.close()

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:  # noqa: ARG002
        """Nobody waits any more."""
        self.over = True
        self._owner.left(self)
        for future in self._open.values():
            future.cancel()
        self._open.clear()
