"""The whole WAN side of one gateway: which channels exist and what moves over them.

Theory of operation. For each WAN communication profile there is one channel (one scenario per TLS
connection, TR-03109-1 v1.0 3.2.3). At power-up time comes first, if it is not valid (3.2.6.3.4);
then MANAGEMENT is opened, after a first start following a random delay, ADMIN-SERVICE and
INFO-REPORT when the outbox has something for them. A wake-up opens MANAGEMENT unless it is up. New
keys rebuild every channel. A changed profile rebuilds its channel once its connection is quiet, so
the answer to the change still gets out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import structlog

from smgw_emu.core.config import GatewayConfig, Link
from smgw_emu.core.device import Device
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import SECOND, DeviceTime, WorldTime
from smgw_emu.core.leds import AdminChannel
from smgw_emu.core.life import Life, LifeInput
from smgw_emu.core.outbox import ADMINISTRATOR, Message, Outbox
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import WanProfile
from smgw_emu.profiles import Profile
from smgw_emu.transport.clock import Clock, Timer
from smgw_emu.transport.http import Answer, Headers, Request, Response
from smgw_emu.transport.stream import StreamHandler
from smgw_emu.transport.web import WebService
from smgw_emu.wan_line.channel import ChannelHooks, ChannelLine
from smgw_emu.wan_line.expiry import CertificateWatch
from smgw_emu.wan_line.partners import Partners
from smgw_emu.wan_line.reports import ChannelReports, Notices
from smgw_emu.wan_line.sender import Sender, SenderParts
from smgw_emu.wan_line.timesync import TimeLine
from wan.admin import Facilities, GatewayTree
from wan.channel import ChannelState
from wan.cosem.media import Protection
from wan.cosem.service import CosemService
from wan.cosem.transfer import Transfers
from wan.delivery import Dispatcher

_log = structlog.get_logger("wan")
POC = "/smgw"  # T1: the gateway's point of contact
QUIET = 2 * SECOND  # own choice: a channel is rebuilt after an answer had this time to get out


@dataclass(frozen=True, slots=True)
class WanState:
    """What a lab sees of one channel."""

    profile: str
    scenario: str
    state: str
    address: str


@dataclass(frozen=True, slots=True)
class WanHooks:
    """What the gateway is told.

    Attributes:
        guard: runs a step that writes to the store.
        lamp: the administrator channel has changed.
        time_adjusted: the device clock was set, or time became invalid.
        keys_changed: another set of certificates is active.
        arm: deadlines have changed.
    """

    guard: Callable[[Callable[[], None]], None]
    lamp: Callable[[AdminChannel], None]
    time_adjusted: Callable[[], None]
    keys_changed: Callable[[], None]
    arm: Callable[[], None]


class WanSide:
    """The WAN of one running gateway.

    Args:
        device: the core.
        facilities: what the administrator's objects work with.
        profile: of the device.
        clock: world time.
        hooks: the gateway.
        keylog: file for TLS secrets, "" for none.
    """

    def __init__(
        self,
        device: Device,
        facilities: Facilities,
        profile: Profile,
        clock: Clock,
        hooks: WanHooks,
        keylog: str = "",
    ) -> None:
        self._device = device
        self._facilities = facilities
        self._profile = profile
        self._rules = profile.wan
        self._clock = clock
        self._hooks = hooks
        self._keys = facilities.keys
        self.outbox: Outbox = facilities.outbox
        self.partners = Partners(self._keys, profile, keylog)
        self.tree = GatewayTree(facilities)
        self.dispatcher = Dispatcher(device, self.outbox, profile.wan.dispatch_delay_s)
        self._transfers = Transfers()
        self.lines: dict[str, ChannelLine] = {}
        self.senders: dict[str, Sender] = {}
        self._over = False
        self._stale: dict[str, Timer] = {}
        self._schedules: dict[str, Timer] = {}
        self._first: Timer | None = None
        self._switching = False
        self._delivers = True
        self.reports = ChannelReports(device, self._keys, clock, hooks.guard, hooks.lamp)
        self.notices = Notices(
            device, self.outbox, clock, profile.wan.alive_s, hooks.guard, self.wake
        )
        settings = device.administration
        self.time = TimeLine(
            device,
            profile.time,
            clock,
            self._keys.module.random,
            lambda: settings.settings.time_interval_s,
            hooks.guard,
            hooks.time_adjusted,
        )
        self.time.on_first = self._contact
        self.expiry = CertificateWatch(device, self._keys, profile.wan, clock, hooks.guard)
        facilities.images.on_complete = self.reports.image_loaded
        self.link = Link()
        self._keys.on_switch = self._new_keys
        facilities.read_now = self._read_now
        facilities.read_day = self._read_day
        facilities.deadlines_moved = hooks.arm
        facilities.to_send = self.wake
        facilities.dispose = self._dispose

    # -- life ------------------------------------------------------------------------------

    def start(self) -> None:
        """Build the channels of the configuration; time first, then the first contact."""
        now = self._device.now(self._clock.now())
        if self._device.life.state is Life.DISPOSED:
            return  # there is no key left to open a channel with
        self._hooks.guard(lambda: self.dispatcher.start(now))
        self._build(self._device.config)
        delay = self._first_delay()
        if delay:
            self._first = self._clock.call_at(self._clock.now() + delay, self._begin)
        else:
            self._begin()
        self.expiry.look()
        self.notices.say_alive()

    def _first_delay(self) -> int:
        """After a first start communication SHOULD wait a random time (3.2.6.3.4); nanoseconds."""
        limit = self._rules.first_delay_s * SECOND
        if not limit or self._device.life.state is not Life.PRE_PERSONALISED:
            return 0
        return int.from_bytes(self._keys.module.random(8), "big") % limit

    def _begin(self) -> None:
        if self.time.line is not None or self.time.https is not None:
            self.time.start()
        if self.time.keeper.valid or self.time.line is None:
            self._contact()

    def stop(self, *, orderly: bool = True) -> None:
        """End every channel; a power cut says no farewell."""
        self._over = True
        self.notices.stop()
        for timer in (
            self._first,
            *self._stale.values(),
            *self._schedules.values(),
        ):
            if timer is not None:
                timer.cancel()
        self.expiry.stop()
        self.time.stop()
        for sender in self.senders.values():
            sender.stop()
        for line in self.lines.values():
            if orderly:
                line.drop()
            else:
                line.abandon()

    def _contact(self) -> None:
        """Open what shall be open from the start, once time is there."""
        for line in self.lines.values():
            if line.profile.scenario == "MANAGEMENT":
                line.want()
        self.wake()

    def wake(self) -> None:
        """Send what waits; a call that comes after the end finds the store closed."""
        if self._over:
            return
        for sender in self.senders.values():
            sender.wake()

    def wake_up(self) -> None:
        """A valid wake-up came: MANAGEMENT, unless it exists (TR-03109-1 v1.0 3.2.5.4 no. 3)."""
        for line in self.lines.values():
            if line.profile.scenario == "MANAGEMENT":
                line.want()

    def states(self) -> list[WanState]:
        """Return the channels for the lab plane."""
        return [
            WanState(
                line.profile.name,
                line.profile.scenario,
                line.state,
                str(line.machine.address or ""),
            )
            for line in self.lines.values()
        ]

    def next_deadline(self) -> DeviceTime | None:
        """Return when values are due."""
        if not self._delivers:
            return None
        return self.dispatcher.next_deadline()

    def allow_delivery(self, *, on: bool) -> None:
        """Serve market participants, or do not: nothing is queued, no channel stands (SEC-12)."""
        if on == self._delivers:
            return
        self._delivers = on
        if on:
            now = self._device.now(self._clock.now())
            self._hooks.guard(lambda: self.dispatcher.start(now))
            self.wake()
            return
        for line in self.lines.values():
            if line.profile.role == "EMT":
                line.drop()

    def on_deadline(self, now: DeviceTime) -> None:
        """Queue what is due and send it."""
        if not self._delivers:
            return
        for receiver in dict.fromkeys(self.dispatcher.on_deadline(now)):
            sender = self.senders.get(receiver)
            if sender is not None:
                sender.wake()

    def set_link(self, link: Link) -> None:
        """The way to the network has changed: connections on the old one break."""
        before, self.link = self.link, link
        if before.way == link.way:
            return
        self.reports.write(
            "wan-link",
            "S" if link.way else "F",
            way=link.way or "keine",
            before=before.way or "keine",
        )
        for line in self.lines.values():
            line.cut()

    # -- configuration ---------------------------------------------------------------------

    def reconfigured(self, old: GatewayConfig, new: GatewayConfig) -> None:
        """Follow a change of the configuration."""
        now = self._device.now(self._clock.now())
        self._hooks.guard(lambda: self.dispatcher.start(now))
        before = {profile.name: profile for profile in _served(old)}
        after = {profile.name: profile for profile in _served(new)}
        for name in before.keys() - after.keys():
            self._remove(name)
        for name, profile in after.items():
            if before.get(name) == profile:
                continue
            line = self.lines.get(name)
            if line is not None and line.state is not ChannelState.CLOSED:
                self._replace_later(name)
            else:
                self._replace(name)
        self._drop_unknown_receivers(new)
        self.time_settings()
        self._hooks.arm()

    def _drop_unknown_receivers(self, config: GatewayConfig) -> None:
        known = {ADMINISTRATOR} | {p.name for p in config.wan if p.role == "EMT"}
        emts = {profile.name for profile in config.wan if profile.role == "EMT"}
        self._hooks.guard(lambda: self.outbox.drop_forwards(emts))
        for receiver in set(self.outbox.receivers()) - known:
            now = self._device.now(self._clock.now())

            def work(name: str = receiver, now: DeviceTime = now) -> None:
                with self._device.store.transaction():
                    count = self.outbox.drop(name)
                    self._device.logbooks.write(
                        "delivery-dropped", now, outcome="F", count=count, receiver=name
                    )

            self._hooks.guard(work)

    def time_settings(self) -> None:
        """Choose between WKS5 and WKS4, as the administrator has set it."""
        https = self._device.administration.settings.time_method == "NTP-HTTPS"
        ntp = self._device.config.wan_profile("NTP-TLS")
        admin = self._device.config.wan_profile("ADMIN-SERVICE")
        self.time.https = self._time_over_https if https and admin is not None else None
        self.time.line = self.lines.get(ntp.name) if ntp is not None else None

    def _build(self, config: GatewayConfig) -> None:
        for profile in _served(config):
            self._add(profile)
        self.time_settings()

    def _replace_later(self, name: str) -> None:
        """Rebuild a channel when its connection has been quiet for a while."""
        timer = self._stale.pop(name, None)
        if timer is not None:
            timer.cancel()
        due = self._clock.now() + QUIET
        self._stale[name] = self._clock.call_at(due, lambda: self._replace(name))

    def _replace(self, name: str) -> None:
        self._stale.pop(name, None)
        wanted = self._remove(name)
        profile = next((p for p in _served(self._device.config) if p.name == name), None)
        if profile is None:
            return
        line = self._add(profile)
        self.time_settings()
        if wanted or profile.scenario == "MANAGEMENT":
            line.want()
        self.wake()

    def _remove(self, name: str) -> bool:
        line = self.lines.pop(name, None)
        timer = self._schedules.pop(name, None)
        if timer is not None:
            timer.cancel()
        if line is None:
            return False
        for receiver, sender in list(self.senders.items()):
            if sender.line is line:
                sender.stop()
                del self.senders[receiver]
        wanted = line.machine.wanted
        line.drop()
        return wanted

    def _add(self, profile: WanProfile) -> ChannelLine:
        hooks = ChannelHooks(
            self._certificate_time,
            self._opened,
            self.reports.closed,
            self.reports.gave_up,
            self.reports.refused,
            lambda: self.reports.show(list(self.lines.values())),
            lambda: bool(self.link.way),
        )

        def make(handler: Callable[[ChannelLine], StreamHandler]) -> ChannelLine:
            line = ChannelLine(profile, self._rules, self._clock, self.partners, hooks, handler)
            self.lines[profile.name] = line
            return line

        if profile.role == "GWA" and profile.scenario == "MANAGEMENT":
            self.partners.adopt(profile)
            line = make(self._management)
        elif profile.scenario == "NTP-TLS":
            line = make(self.time.handler)
        else:
            receiver = ADMINISTRATOR if profile.role == "GWA" else profile.name
            sender = Sender(self._sender_parts(profile), receiver)
            line = make(sender.handler)
            sender.line = line
            self.senders[receiver] = sender
        self._schedule(line)
        return line

    def _schedule(self, line: ChannelLine) -> None:
        seconds = line.profile.schedule_s
        if not seconds:
            return

        def due() -> None:
            line.want()
            self._schedule(line)

        moment = self._clock.now() + seconds * SECOND
        self._schedules[line.profile.name] = self._clock.call_at(moment, due)

    # -- what runs on the channels -----------------------------------------------------------

    def _management(self, line: ChannelLine) -> StreamHandler:
        """The gateway as HTTP server (WKS1)."""
        protection: Protection | None = None
        try:
            protection = self.partners.protection(line.profile)
        except (SmgwError, ValueError) as error:
            _log.error("no content protection with the administrator", cause=str(error))
        service = CosemService(
            self.tree.management,
            POC,
            self.tree,
            self._facilities.images,
            protection,
            required=self._rules.content_protection == "required",
            transfers=self._transfers,
            refused=self.reports.request_refused,
        )

        def handle(request: Request, _certificate: bytes | None) -> Response:
            name = line.profile.name
            if name in self._stale:
                self._replace_later(name)
            return service.handle(request)

        return WebService(self._clock, self._profile.wan_http, handle)

    def _sender_parts(self, profile: WanProfile) -> SenderParts:
        def protection(message: Message) -> Protection:
            if message.kind != "forward":
                return self.partners.protection(profile)
            receiver = self._device.config.emt(str(message.about["emt"]))
            if receiver is None:
                raise SmgwError("the market participant is configured no more")
            return self.partners.protection(profile, [receiver])

        return SenderParts(
            self._device,
            self.outbox,
            self._rules,
            self._clock,
            protection,
            self._hooks.guard,
            lambda: (
                not self._over and not self._switching and (self._delivers or profile.role == "GWA")
            ),
        )

    def _time_over_https(
        self,
        path: str,
        headers: Headers,
        make: Callable[[], bytes],
        done: Callable[[Answer | None], None],
    ) -> bool:
        """Send a time request on ADMIN-SERVICE; opens the channel if it is not up.

        The request is made when it is sent: the set-up of the channel enters no measurement.
        """
        sender = self.senders.get(ADMINISTRATOR)
        if sender is None or sender.line is None:
            return False
        caller = sender.caller
        if caller is None or not caller.open or caller.busy:
            sender.first = lambda: self._time_over_https(path, headers, make, done)
            sender.line.want()
            return False
        address = sender.line.machine.address

        def answered(answer: Answer | None) -> None:
            done(answer)
            sender.resume()

        body = make()
        if not body:
            return False
        caller.send("POST", (address.path if address else "") + path, headers, body, answered)
        return True

    # -- events ----------------------------------------------------------------------------

    def _read_now(self, point: UsagePoint) -> int:
        count = self.dispatcher.read_now(point, self._device.now(self._clock.now()))
        self._clock.call_at(self._clock.now(), self.wake)
        return count

    def _read_day(self, point: UsagePoint, day: date) -> int:
        count = self.dispatcher.retrieve(point, day, self._device.now(self._clock.now()))
        self._clock.call_at(self._clock.now(), self.wake)
        return count

    def _certificate_time(self) -> object:
        device = self._device
        return device.now(self._clock.now()).datetime() if device.clock.valid else None

    def _contacted(self) -> None:
        self._device.life.apply(LifeInput.CONTACT, self._device.now(self._clock.now()))

    def _dispose(self) -> None:
        """The answer goes out on the last connection; then there is none, and no key."""

        def end() -> None:
            self.stop()
            self._hooks.guard(self._keys.destroy)

        self._clock.call_at(self._clock.now() + QUIET, end)

    def _opened(self, line: ChannelLine) -> None:
        if line.profile.scenario == "MANAGEMENT":
            self._hooks.guard(self._contacted)
        self.reports.opened(line)

    # -- certificates ----------------------------------------------------------------------

    def _new_keys(self) -> None:
        """The active generation has changed: rebuild what stands on the old one."""
        self._switching = True
        self._clock.call_at(self._clock.now() + QUIET, self._rebuild)
        self.expiry.look()
        self._hooks.keys_changed()

    def _rebuild(self) -> None:
        self._switching = False
        for line in self.lines.values():
            if line.state is not ChannelState.CLOSED:
                line.rebuild()
        self.wake()


def world_deadline(device: Device, side: WanSide) -> WorldTime | None:
    """Return the world time of the next thing due to the market."""
    due = side.next_deadline()
    return None if due is None else device.clock.world_at(due)


def _served(config: GatewayConfig) -> list[WanProfile]:
    """Return the profiles that have a channel of their own; the CLS proxy opens the others."""
    return [profile for profile in config.wan if profile.scenario != "PROXY"]
