"""What exists only while the device runs: core, interfaces and their deadlines.

Built at every start from flash, store and module, dropped with the power. What belongs to the
hardware (lamps, flash, RTC, security module, the cables of the lab) is the gateway's and comes in
as :class:`~smgw_emu.frame.Frame`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from cls_proxy.start import started_by
from firmware.chain import Booted
from firmware.update import Due, Updater
from hsm_sim import Purpose, SecurityModuleError
from hsm_sim.slots import gwa_key
from secure_state.machine import Cause, Exit
from secure_state.selftest import SelfTest, SelfTestResult
from smgw_emu.cls_line import ClsLine, ClsParts
from smgw_emu.core.administration import Administration
from smgw_emu.core.config import GatewayConfig, Link, Wakeup
from smgw_emu.core.device import Device
from smgw_emu.core.errors import ConfigError, SmgwError, StoreError
from smgw_emu.core.events import Event, load_catalogue
from smgw_emu.core.images import ImageStore
from smgw_emu.core.instants import HOUR, DeviceTime, WorldTime
from smgw_emu.core.leds import AdminChannel, MobileSignal
from smgw_emu.core.outbox import Outbox
from smgw_emu.core.rtc import Reading as ClockReading
from smgw_emu.core.store import Store
from smgw_emu.core.wan_profiles import Settings
from smgw_emu.frame import Frame
from smgw_emu.han_line import HanLine, HanParts
from smgw_emu.lmn_side import LmnHooks, LmnSide
from smgw_emu.self_check import SEPARATION, SelfCheck, software_hash
from smgw_emu.state_watch import StateWatch
from smgw_emu.wakeup_line import WakeupLine
from smgw_emu.wan_line import WanSide
from smgw_emu.wan_line.side import WanHooks, world_deadline
from wan.admin import Facilities, KeyRing
from wan.cosem.data import text
from wan.cosem.documents import MethodResponse

_log = structlog.get_logger("gateway")


class ActiveSigner:
    """Signs readings with the active C_Sig (HSM-N03)."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def sign(self, message: bytes) -> bytes:
        """Return r||s."""
        return self._keys.module.sign_plain(self._keys.slot(Purpose.SIG), message)


class Runtime:
    """A running device.

    Args:
        frame: what it runs in.
        store: its flash store, open.
        booted: what the chain of checks has started.
        time: the clock as the RTC gave it.
    """

    def __init__(self, frame: Frame, store: Store, booted: Booted, time: ClockReading) -> None:
        self._f = frame
        self._time = time
        self._wakeup_task: asyncio.Task[None] | None = None
        config, clock, profile = frame.config, frame.clock, frame.profile
        self.keys = KeyRing(frame.hsm, store)
        administration = Administration(config, store)
        self.device = Device(
            administration.config,
            profile,
            store,
            ActiveSigner(self.keys),
            time.clock,
            booted.manifest.hash,
            self._catalogue(),
            administration,
        )
        self.device.synchronised = time.synchronised
        images = ImageStore(frame.directory / "images")
        model = booted.record.product
        self.updater = Updater(frame.flash, images, profile.firmware, model, self.device.logbooks)
        images.on_block = self.updater.block
        self.facilities = Facilities(
            self.device,
            self.keys,
            Outbox(store, frame.hsm.random),
            images,
            self._now,
            self._request_self_test,
            used_kib=store.used_kib,
            settings_changed=self._settings_changed,
            firmware=self.updater,
        )
        hooks = WanHooks(
            self.guard, self._show_channel, self.time_adjusted, self._keys_changed, self.rearm
        )
        self.wan = WanSide(self.device, self.facilities, profile, clock, hooks, frame.keylog)
        self.self_test = SelfTest(
            profile.self_test,
            self._self_check().parts(),
            self._self_test_started,
            self._self_test_finished,
        )
        self.lmn = LmnSide(
            self.device,
            frame.hsm,
            profile,
            clock,
            LmnHooks(
                frame.armed,
                self.guard,
                lambda there: frame.lamps.set(hdlc_station=there),
                lambda at: frame.lamps.set(telegram_at=at),
            ),
            config.line,
            frame.plugs,
            frame.keylog,
            frame.lmn_capture,
            frame.directory,
        )
        self.han = HanLine(
            HanParts(
                self.device,
                self.self_test,
                self.keys,
                profile,
                clock,
                frame.directory / "certs",
                frame.keylog,
                frame.store_failed,
                lambda: frame.lamps.activity("han"),
            )
        )
        self.cls = self._cls_line()
        self._join()
        self.wakeup = self._wakeup_line()

    def _join(self) -> None:
        """Tie the parts to each other."""
        f = self.facilities
        f.prepare = self.han.prepare
        f.meter_state, f.meter_order = self.lmn.state_of, self.lmn.give
        f.reconfigured = self._reconfigured
        f.resync = self.wan.time.resync
        f.proxy_channels, f.proxy_order = self.cls.channels_of, self.cls.order
        self.device.logbooks.on_write = self._heard
        self.watch = StateWatch(self._f, self.device, self.wan, self.han, self.cls, self.guard)

    def _cls_line(self) -> ClsLine:
        frame, partners = self._f, self.wan.partners
        return ClsLine(
            ClsParts(
                self.device,
                frame.profile,
                frame.clock,
                frame.keylog,
                frame.hsm,
                frame.directory / "certs",
                partners.context,
                partners.watcher,
                lambda: bool(self.wan.link.way),
                self.guard,
                lambda: frame.lamps.activity("cls"),
                frame.armed,
            )
        )

    def _heard(self, event: str) -> None:
        """Inside a write: what the event starts, starts when the transaction is over."""
        if started_by(self.device.config, event):
            asyncio.get_running_loop().call_soon(self.cls.event, event)

    def _self_check(self) -> SelfCheck:
        f = self._f
        return SelfCheck(
            self.device,
            f.hsm,
            self._now,
            f.flash,
            lambda: self.updater.look(self._now()),
            software_hash(),
            lambda: f.rtc.battery,
            f.probe.finding,
            lambda: (
                [line.name for line in self.lmn.lines if not line.ready]
                + [line.name for line in self.lmn.wired if not line.ready]
                + [line.name for line in self.lmn.radios if not line.ready]
            ),
        )

    def _now(self) -> DeviceTime:
        return self.device.now(self._f.clock.now())

    # -- life ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to work: core, HAN, wake-up, self-test, LMN, WAN.

        Raises:
            SmgwError: an address is in use, or the store fails.
        """
        world = self._f.clock.now()
        self.device.power_on(world)
        self._note_clock()
        self.updater.look(self._now())
        self.cls.start(cable=self.watch.link.han or self.watch.link.cls)
        await self.watch.enforce()
        await self._start_wakeup(self.wakeup)
        self.self_test.power_on(world)
        self.lmn.start()
        self.watch.follow_time()
        self.watch.look_at_logs()
        if self.watch.over:
            return  # full logs: there is no function any more
        self.wan.link = self.watch.link
        self._f.lamps.set(mobile=MobileSignal(self.watch.link.modem))
        self.wan.start()
        self.watch.watch_storage()
        self.save_clock()

    def _note_clock(self) -> None:
        verdict, now = self._time.verdict, self._now()
        write = self.device.logbooks.write
        if verdict == "lost":
            write("rtc-lost", now, outcome="F")
        elif verdict == "distrusted" and self._time.synchronised is not None:
            hours = (now - self._time.synchronised) // HOUR
            write("rtc-distrusted", now, outcome="F", hours=hours)

    async def stop(self, *, orderly: bool) -> None:
        """Stop; without order nothing is said and nothing is written."""
        self.watch.stop()
        self.lmn.stop(orderly=False)
        if self.wakeup is not None:
            self.wakeup.stop()
        if orderly:
            try:
                self.device.power_off(self._f.clock.now())
            except StoreError as error:  # a full or broken flash must not keep the device on
                _log.warning("the stop could not be logged", cause=str(error))
        self.cls.stop(orderly=orderly)
        self.wan.stop(orderly=orderly)
        await self.han.stop()

    def drop(self) -> None:
        """Stop at once, from within a step of the core: a state without any function."""
        self.watch.stop()
        self.lmn.stop(orderly=False)
        if self.wakeup is not None:
            self.wakeup.stop()
        self.han.stop_listening()
        self.cls.stop(orderly=False)
        self.wan.stop(orderly=False)

    def guard(self, work: Callable[[], None]) -> None:
        """Run a step of the core; a broken store becomes a device state, not a traceback.

        What comes late, after the power went, has nothing left to do.
        """
        if self.device.store.closed:
            return
        try:
            work()
        except StoreError as error:
            self._f.store_failed(error)

    # -- parts -----------------------------------------------------------------------------

    def _catalogue(self) -> dict[str, Event]:
        """The event catalogue: the built-in one, or the gateway's own file (GW-61)."""
        name = self._f.config.gateway.event_catalogue
        if not name:
            return load_catalogue()
        try:
            return load_catalogue((self._f.directory / name).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the event catalogue {name}: {error}") from error

    def _wakeup_line(self) -> WakeupLine | None:
        """The wake-up port, if one is configured and switched on."""
        if self._wakeup_place() is None:
            return None
        return WakeupLine(
            self.device,
            self._f.clock,
            self._f.profile.wakeup,
            self._verify_wakeup,
            self._woken,
            self.guard,
        )

    def _wakeup_place(self) -> Wakeup | None:
        """Where the wake-up service listens; None: it is switched off (3.2.5.1)."""
        factory, settings = self._f.config.wakeup, self.device.administration.settings
        if factory is None or not factory.enabled or not settings.wakeup_enabled:
            return None
        return Wakeup(factory.host, settings.wakeup_port or factory.port)

    def _woken(self) -> None:
        self._f.lamps.set(wakeup_at=self._f.clock.now())
        self.wan.wake_up()

    def _verify_wakeup(self, digest: bytes, signature: bytes) -> bool:
        try:
            return self._f.hsm.verify(gwa_key(Purpose.SIG), digest, signature)
        except SecurityModuleError as error:
            _log.warning("a wake-up could not be checked", cause=str(error))
            return False

    async def _start_wakeup(self, line: WakeupLine | None) -> None:
        place = self._wakeup_place()
        if line is None or place is None:
            return
        try:
            await line.start(place.host, place.port)
        except OSError as error:
            where = f"{place.host}:{place.port}"
            raise SmgwError(f"wake-up cannot listen on {where}: {error.strerror}") from error

    async def _restart_wakeup(self) -> None:
        if self.wakeup is not None:
            self.wakeup.stop()
        self.wakeup = self._wakeup_line()
        try:
            await self._start_wakeup(self.wakeup)
        except SmgwError as error:
            _log.error("the wake-up port cannot be moved", cause=str(error))

    def set_link(self, link: Link) -> None:
        """Cables and mobile signal have changed."""
        self.watch.link = link
        self._f.lamps.set(mobile=MobileSignal(link.modem))
        self.watch.show_ports()
        moved = link.way != self.wan.link.way
        self.wan.set_link(link)
        self.cls.set_cable(there=link.han or link.cls)
        if moved:
            self.cls.link_lost()

    # -- what the administrator changes ------------------------------------------------------

    def _reconfigured(self, old: GatewayConfig, new: GatewayConfig) -> None:
        self.han.reconfigured(old, new)
        self.lmn.reconfigured()
        self.wan.reconfigured(old, new)
        self.cls.reconfigured()
        self.watch.show_ports()
        self.rearm()

    def _settings_changed(self, old: Settings, new: Settings) -> None:
        self.wan.time_settings()
        self.watch.watch_storage(administrator=old.value_limit_kib != new.value_limit_kib)
        if (old.time_method, old.time_interval_s) != (new.time_method, new.time_interval_s):
            self.wan.time.ask()
        if (old.wakeup_enabled, old.wakeup_port) != (new.wakeup_enabled, new.wakeup_port):
            self._wakeup_task = asyncio.get_running_loop().create_task(self._restart_wakeup())
        if old.lmn_wired != new.lmn_wired:
            self.lmn.switch(on=new.lmn_wired)
        if old.lmn_wireless != new.lmn_wireless:
            self.lmn.switch_radio(on=new.lmn_wireless)

    def _show_channel(self, channel: AdminChannel) -> None:
        self._f.lamps.set(channel=channel, channel_since=self._f.clock.now())

    def time_adjusted(self) -> None:
        """The device clock was set, or is not trusted any more."""
        self._f.lamps.set(synchronised=self.wan.time.synchronised)
        self.save_clock()
        self.watch.follow_time()
        self.cls.clock_moved()
        self.rearm()

    def save_clock(self) -> None:
        """The RTC is set from the operating system's time (3.2.6.3 no. 4)."""
        self._f.rtc.set(self.device.clock, self._f.clock.now(), self.device.synchronised)

    def _keys_changed(self) -> None:
        self.han.refresh()
        self.cls.new_certificates()

    # -- self-test -------------------------------------------------------------------------

    def _request_self_test(self) -> str:
        reply = self.self_test.request(self._f.clock.now(), "GWA")
        self._f.armed()
        return str(reply.answer)

    def _self_test_started(self, now: WorldTime, reason: str) -> None:
        self._f.probe.begin()
        self.device.logbooks.write("self-test-started", self.device.now(now), reason=reason)
        self._f.armed()

    def _self_test_finished(self, now: WorldTime, result: SelfTestResult) -> None:
        device = self.device
        name = "self-test-passed" if result.passed else "self-test-failed"
        outcome = "S" if result.passed else "F"
        device.logbooks.write(name, device.now(now), outcome=outcome, parts=result)  # type: ignore[arg-type]
        device.store.set_meta("self-test", f"{device.now(now).iso()} {outcome} {result}")
        answer = MethodResponse(0 if result.passed else 250, text(str(result)))
        self.facilities.finished("self-test", answer)
        found = {part.name: part.error for part in result.parts}
        if found[SEPARATION]:
            self._f.enter(Cause.SEPARATION, found[SEPARATION])
        else:
            self.watch.leave(Cause.SEPARATION, Exit.SELF_TEST)
        if not found["Software"]:
            self.updater.confirm(device.now(now))

    # -- deadlines -------------------------------------------------------------------------

    def next_deadline(self) -> WorldTime | None:
        """Return when :meth:`on_deadline` must be called."""
        update, cls = self.updater.next_deadline(), self.cls.next_deadline()
        deadlines = [
            self.device.next_deadline(),
            self.self_test.next_deadline(),
            world_deadline(self.device, self.wan),
            self.lmn.next_deadline(),
            *(self.device.clock.world_at(due) for due in (update, cls) if due is not None),
        ]
        return min((when for when in deadlines if when is not None), default=None)

    def on_deadline(self, now: WorldTime) -> None:
        """Do what is due."""
        self.device.on_deadline(now)
        self.self_test.on_deadline(now)
        self.lmn.on_deadline(now)
        self.wan.on_deadline(self.device.now(now))
        self.cls.on_deadline(self.device.now(now))
        due = self.updater.on_deadline(self.device.now(now))
        if due is Due.STALE:
            self._f.enter(Cause.STALE_PARTITION, self.updater.record.faulty)
        elif due is Due.RESTART:
            self._f.restart()

    def rearm(self) -> None:
        """Look for the next deadline anew: the device clock has moved."""
        self.lmn.clock_moved()
        self._f.moved()
