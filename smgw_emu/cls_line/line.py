"""The CLS proxy of a running gateway: listeners, visitors, channels.

Theory of operation. While a proxy profile for HKS3 is configured and the secure states allow it,
two ports listen: the SOCKS server (1080 by the norm) and the proxy by TLS server name. Who connects
is a *visitor* until it has shown a registered certificate and named a profile; then it is the HAN
leg of a *channel*. Visitors are bounded in number and time; the oldest makes room. The
administrator's order (HKS4) and start events (HKS5) make channels without a visitor.

Every change of profiles, time or secure state asks for each channel again whether it may stand.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import structlog

from cls_proxy import rules
from cls_proxy.life import Action
from cls_proxy.rules import Grant
from cls_proxy.socks import Reply, Request
from cls_proxy.start import Starts, started_by
from smgw_emu.cls_line.channel import Channel, ChannelState
from smgw_emu.cls_line.doors import Doors
from smgw_emu.cls_line.leg import Leg
from smgw_emu.cls_line.legs import ClsParts, Legs
from smgw_emu.cls_line.reach import Plan
from smgw_emu.cls_line.reports import Reports
from smgw_emu.cls_line.visitor import Visitor
from smgw_emu.core.cls_profiles import ClsProfile
from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import SECOND, DeviceTime, WorldTime
from wan.certificates import load

_log = structlog.get_logger("cls")


class ClsLine:
    """The proxy of one gateway."""

    def __init__(self, parts: ClsParts) -> None:
        self._p = parts
        self.clock = parts.clock
        self.rules = parts.profile.cls
        self.reports = Reports(parts.device, parts.clock, parts.guard, self.rules.max_refused_log)
        self.visitors: dict[Visitor, None] = {}
        self.channels: list[Channel] = []
        self.doors = Doors(self._visit)
        self.hasty = 0
        self._refused: dict[str, WorldTime] = {}
        self._starts = Starts()
        self._numbers = 0
        self._allowed = True
        self._cable = True
        self._task: asyncio.Task[None] | None = None
        self._legs = Legs(parts)
        self.valid = self._legs.valid

    # -- life ------------------------------------------------------------------------------

    def start(self, *, cable: bool) -> None:
        """Plan the starts of HKS5; ``cable``: one is in a HAN port."""
        self._cable = cable
        self._starts.plan(self._config, self._now())

    async def listen(self) -> None:
        """Listen, if a proxy profile for HKS3 is configured and nothing forbids it.

        Raises:
            SmgwError: an address is in use.
        """
        if self._wanted() and not self.doors.addresses:
            await self.doors.open(self._config.cls_port)

    def _wanted(self) -> bool:
        asked = any(proxy.initiator == "HKS3" for proxy in self._config.proxy)
        return asked and self._allowed and self._cable

    def _unlisten(self) -> None:
        self.doors.close()
        for visitor in list(self.visitors):
            visitor.drop()

    def stop(self, *, orderly: bool) -> None:
        """End everything; a power cut says no farewell."""
        if self._task is not None:
            self._task.cancel()
        self._allowed = False
        self._unlisten()
        for channel in list(self.channels):
            if orderly:
                channel.shut("the device stops")
            else:
                channel.hooks = _Nobody(self)
                channel.cut("")

    def restrict(self, *, allowed: bool, reason: str) -> None:
        """Serve, or end everything now: what a secure state forbids nobody has (HAN-64)."""
        self._allowed = allowed
        if not allowed:
            self._unlisten()
            for channel in list(self.channels):
                channel.shut(reason)

    def set_cable(self, *, there: bool) -> None:
        """The cables of the HAN ports: without any nobody is there."""
        if there == self._cable:
            return
        self._cable = there
        if not there:
            self._unlisten()
            for channel in list(self.channels):
                channel.cut("no cable")
        self._listen_soon()

    def link_lost(self) -> None:
        """There is no way to the WAN any more: every channel breaks (K09)."""
        for channel in list(self.channels):
            if channel.wan is not None:
                channel.wan.abort()

    def _listen_soon(self) -> None:
        if not self._wanted():
            self._unlisten()
        elif not self.doors.addresses:
            self._task = asyncio.get_running_loop().create_task(self._listen_again())

    async def _listen_again(self) -> None:
        try:
            await self.listen()
        except SmgwError as error:
            _log.error("the CLS proxy cannot listen", cause=str(error))

    # -- what may stand --------------------------------------------------------------------

    @property
    def _config(self) -> GatewayConfig:
        return self._p.device.config

    def _now(self) -> DeviceTime:
        return self._p.device.now(self._p.clock.now())

    def reconfigured(self) -> None:
        """Other profiles are in force."""
        self._starts.plan(self._config, self._now())
        self.review()
        self._listen_soon()

    def clock_moved(self) -> None:
        """The device clock was set."""
        self._starts.clock_moved(self._config, self._now())
        self.review()

    def review(self) -> None:
        """Ask for every channel whether it may stand."""
        now = self._now()
        for channel in list(self.channels):
            reason = rules.objection(self._config, now, channel.grant, channel.fingerprint)
            if not reason and channel.until is not None and now >= channel.until:
                reason = "certificate has expired"
            if reason:
                channel.revoke(reason)

    def next_deadline(self) -> DeviceTime | None:
        """Return when a start is due or a channel must be over."""
        found = [c.until for c in self.channels if c.until is not None and not c.ending]
        found += [c.grant.until for c in self.channels if not c.ending]
        start = self._starts.next_deadline()
        return min([*found, start] if start is not None else found, default=None)

    def on_deadline(self, now: DeviceTime) -> None:
        """Do what is due."""
        self.review()
        for name in self._starts.take(now):
            self._start(name)

    def event(self, name: str) -> None:
        """An event of the catalogue was logged."""
        for proxy in started_by(self._config, name):
            self._start(proxy)

    def _start(self, name: str) -> None:
        grant = rules.ordered(self._config, self._now(), name, "HKS5")
        running = any(c.grant.proxy.name == name for c in self.channels)
        if not self._allowed or running:
            return
        if isinstance(grant, str):
            self.reports.failed(name, grant)
        elif not self._room(grant):
            self.reports.failed(name, "no room for another channel")
        else:
            self._open(grant)

    # -- orders ----------------------------------------------------------------------------

    def order(self, name: str, order: str, done: Callable[[str, str], None]) -> None:
        """Connect or disconnect a proxy profile (HKS4).

        Raises:
            SmgwError: it cannot be done at all.
        """
        mine = [c for c in self.channels if c.grant.proxy.name == name and not c.ending]
        if order == "disconnect":
            if not mine:
                raise SmgwError("no channel")
            for channel in mine:
                channel.revoke("ended by the administrator")
            done("closed", "")
            return
        if mine:
            raise SmgwError("the channel is there already")
        if not self._allowed:
            raise SmgwError("a secure state forbids CLS channels")
        grant = rules.ordered(self._config, self._now(), name, "HKS4")
        if isinstance(grant, str):
            raise SmgwError(grant)
        if not self._room(grant):
            raise SmgwError("no room for another channel")
        self._open(grant, done=done)

    def new_certificates(self) -> None:
        """All channels use the same certificate (TR-03109-1 v1.0 3.2.4.5): old ones end."""
        for channel in list(self.channels):
            channel.revoke("new certificates of the gateway")

    def channels_of(self, profile: str) -> list[str]:
        """Return the states of the channels of a proxy profile."""
        return [c.state for c in self.channels if c.grant.proxy.name == profile]

    def states(self) -> list[ChannelState]:
        """Return the channels for the lab plane and the administrator."""
        return [channel.shown() for channel in self.channels]

    # -- making channels -------------------------------------------------------------------

    def _open(
        self,
        grant: Grant,
        han: Leg | None = None,
        fingerprint: str = "",
        done: Callable[[str, str], None] | None = None,
    ) -> Channel:
        self._numbers += 1
        channel = Channel(self._numbers, grant, self._p.clock, self, fingerprint, han, done=done)
        self.channels.append(channel)
        channel.start()
        self._p.armed()
        return channel

    def _room(self, grant: Grant) -> bool:
        """Make room for one more; the lower priority gives way (T18)."""
        own = [c for c in self.channels if c.grant.cls.name == grant.cls.name]
        for full, among in (
            (len(own) >= self.rules.max_per_cls, own),
            (len(self.channels) >= self.rules.max_channels, self.channels),
        ):
            if not full:
                continue
            weakest = min(among, key=lambda c: (c.grant.proxy.priority, -c.number))
            if weakest.grant.proxy.priority >= grant.proxy.priority:
                return False
            weakest.cut("a channel of higher priority needs its place")
        return True

    # -- visitors --------------------------------------------------------------------------

    def _visit(self, port: str) -> Leg:
        if len(self.visitors) >= self.rules.max_waiting:
            next(iter(self.visitors)).drop()
        visitor = Visitor(self, by_socks=port == "socks")
        self.visitors[visitor] = None
        visitor.leg = self._legs.visit(visitor, visitor.watcher(), by_socks=visitor.by_socks)
        visitor.wait()
        return visitor.leg

    def registered(self, certificate: bytes) -> str:
        """Judge the certificate of a CLS: "" if it is registered."""
        fingerprint = hashlib.sha256(certificate).hexdigest()
        known = rules.registered(self._config, fingerprint)
        return rules.unreadable(certificate) if known is not None else "certificate not registered"

    def known_name(self, name: str) -> bool:
        """Tell whether any CLS may ask under a server name now."""
        now = self._now()
        return any(rules.asked_by_name(self._config, now, c.name, name) for c in self._config.cls)

    def named(self, visitor: Visitor, request: Request) -> Reply:
        """A visitor has asked; with ``OK`` it is a channel from now on."""
        assert visitor.leg is not None
        certificate = visitor.leg.certificate or b""
        fingerprint = hashlib.sha256(certificate).hexdigest()
        cls = rules.registered(self._config, fingerprint)
        if cls is None:  # revoked since the handshake
            return Reply.NOT_CONFIGURED
        self._count_haste(cls.name)
        reply = self._give(visitor, cls, request, fingerprint)
        if reply is not Reply.OK:
            self._refused[cls.name] = self.clock.now()
        return reply

    def _count_haste(self, cls: str) -> None:
        """A CLS waits 5 to 60 s after a refusal; one that does not is counted (K05)."""
        last = self._refused.pop(cls, None)
        if last is not None and self.clock.now() - last < self.rules.retry_s * SECOND:
            self.hasty += 1

    def _give(self, visitor: Visitor, cls: ClsProfile, request: Request, fingerprint: str) -> Reply:
        config, now = self._config, self._now()
        if request.name:
            grant = rules.asked_by_name(config, now, cls.name, request.name)
        else:
            grant = rules.asked_by_place(config, now, cls.name, request.host, request.port)
        if grant is None:
            return Reply.NOT_CONFIGURED
        if not self._allowed or not self._room(grant):
            return Reply.REFUSED
        assert visitor.leg is not None
        del self.visitors[visitor]
        self._open(grant, visitor.leg, fingerprint)
        return Reply.OK

    def han_plan(self, channel: Channel) -> Plan:
        """How the CLS of a channel is reached (HKS4, HKS5)."""
        return self._legs.han_plan(channel.grant, lambda: self._cable)

    def wan_plan(self, channel: Channel) -> Plan:
        """How the EMT of a channel is reached."""
        return self._legs.wan_plan(channel.grant)

    # -- what channels tell ----------------------------------------------------------------

    def told(self, channel: Channel, what: Action, detail: str) -> None:
        """A connect response, or a failure, for who asked (3.4.3.4 e, f)."""
        if what is Action.TELL_FAILED:
            self.reports.failed(channel.grant.proxy.name, detail)
            self._done(channel, "", detail or "failed")
        else:
            self.reports.response(channel.grant, "HAN" if what is Action.TELL_HAN else "WAN")

    def _done(self, channel: Channel, result: str, failed: str) -> None:
        done, channel.done = channel.done, None
        if done is not None:
            self._p.guard(lambda: done(result, failed))

    def joined(self, channel: Channel) -> None:
        """Octets are passed on; a certificate that runs out ends that."""
        assert channel.han is not None
        certificate = channel.han.certificate or b""
        channel.fingerprint = hashlib.sha256(certificate).hexdigest()
        ends = [load(der).not_valid_after_utc for der in (certificate, channel.grant.emt.tls)]
        channel.until = DeviceTime.from_datetime(min(ends))
        self.reports.opened(channel.grant)
        self._done(channel, "open", "")
        self._p.armed()

    def over(self, channel: Channel) -> None:
        """A channel has ended."""
        if channel in self.channels:
            self.channels.remove(channel)
        if channel.until is not None:
            self.reports.closed(channel.grant, channel.reason, channel.passed)
        elif channel.done is not None:  # ended by us before it stood: who ordered it waits
            self.told(channel, Action.TELL_FAILED, channel.reason)

    def activity(self) -> None:
        """Octets were passed on."""
        self._p.activity()


class _Nobody:
    """Hooks after a power cut: nothing is written, nobody is told."""

    def __init__(self, line: ClsLine) -> None:
        self.han_plan, self.wan_plan = line.han_plan, line.wan_plan
        self._line = line

    def told(self, channel: Channel, what: Action, detail: str) -> None:
        """Nobody is told."""

    def joined(self, channel: Channel) -> None:
        """Nothing is joined any more."""

    def over(self, channel: Channel) -> None:
        """Forget it."""
        self._line.channels.remove(channel)

    def activity(self) -> None:
        """No lamp is lit."""
