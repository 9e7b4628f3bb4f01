"""Composition: one gateway in a directory, wired from core, security module and interfaces.

The directory holds ``config.toml`` (what factory and administrator put in), ``state.db`` (flash),
``hsm/`` (the security module's memory) and ``certs/``. Interfaces meet only here: bytes of a meter
port go through the SML codec into the core; the HAN listener asks the core.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import structlog

from hardware.leds import LedSink, RecordingLeds
from hsm_sim import Purpose, SecurityModuleError
from hsm_sim.interface import KeyModule, open_module
from hsm_sim.slots import gwa_key
from secure_state.selftest import SelfTest, SelfTestResult
from smgw_emu.core.administration import Administration
from smgw_emu.core.config import GatewayConfig, Link, Wakeup, load_config
from smgw_emu.core.device import Device
from smgw_emu.core.device_clock import DeviceClock
from smgw_emu.core.errors import ConfigError, SmgwError, StoreDamagedError, StoreError
from smgw_emu.core.events import Event, load_catalogue
from smgw_emu.core.images import ImageStore
from smgw_emu.core.instants import DAY, MILLISECOND, SECOND, DeviceTime, WorldTime
from smgw_emu.core.leds import (
    AdminChannel,
    BootPhase,
    LedState,
    MobileSignal,
    SecureState,
    leds,
    next_edge,
)
from smgw_emu.core.outbox import Outbox
from smgw_emu.core.store import Store
from smgw_emu.core.wan_profiles import Settings
from smgw_emu.han_line import HanLine, HanParts
from smgw_emu.lmn_side import LmnHooks, LmnSide, Plug, Protocol
from smgw_emu.profiles import Profile, ProfileError, load
from smgw_emu.self_check import self_test_parts, software_hash
from smgw_emu.transport.clock import Clock, Timer
from smgw_emu.wakeup_line import WakeupLine
from smgw_emu.wan_line import WanSide
from smgw_emu.wan_line.side import WanHooks, world_deadline
from wan.admin import Facilities, KeyRing
from wan.cosem.data import text
from wan.cosem.documents import MethodResponse

_log = structlog.get_logger("gateway")

MAX_OFFSET = 100 * 365 * DAY  # keeps every time of the device within the calendar


@dataclass(frozen=True, slots=True)
class Running:
    """What exists only while the device runs normally."""

    device: Device
    self_test: SelfTest
    han: HanLine
    lmn: LmnSide
    wakeup: WakeupLine | None
    wan: WanSide
    facilities: Facilities


class ActiveSigner:
    """Signs readings with the active C_Sig (HSM-N03)."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def sign(self, message: bytes) -> bytes:
        """Return r||s."""
        return self._keys.module.sign_plain(self._keys.slot(Purpose.SIG), message)


class Gateway:
    """An emulated gateway.

    Args:
        directory: its home, made by ``smgw init``.
        clock: world time.
        sink: where the lamps show; default: a recording.
        keylog: file for the TLS secrets of captures; "" for none.

    Raises:
        ConfigError: configuration or profile cannot be used.
    """

    def __init__(
        self, directory: Path, clock: Clock, sink: LedSink | None = None, keylog: str = ""
    ) -> None:
        self.directory = directory
        self.clock = clock
        self.keylog = keylog
        self.lmn_capture: Callable[[str, bool, bytes], None] | None = None
        self.config: GatewayConfig = load_config(directory / "config.toml")
        try:
            self.profile: Profile = load(self.config.gateway.profile, directory)
        except ProfileError as error:
            raise ConfigError(str(error)) from error
        self.sink: LedSink = sink if sink is not None else RecordingLeds()
        self.hsm: KeyModule = open_module(
            self.config.security_module, directory, lambda: clock.now().ns
        )
        self.lamps = LedState(since=clock.now())
        self.running: Running | None = None
        self.cause = ""
        self._store: Store | None = None
        self._timer: Timer | None = None
        self._lamp_timer: Timer | None = None
        self._plugs: dict[str, Plug] = {}
        self._tasks: asyncio.Task[None] | None = None

    @property
    def han_address(self) -> tuple[str, int] | None:
        """Where the HAN interface listens, None if it does not."""
        return None if self.running is None else self.running.han.address

    @property
    def key_in_module(self) -> bool:
        """Whether the TLS keys stayed in the security module."""
        running = self.running
        if running is None:
            return True
        return running.han.key_in_module and running.wan.partners.key_in_module

    # -- power -----------------------------------------------------------------------------

    async def power_on(self) -> None:
        """Boot; a damaged store ends in the cyclic restart instead (SEC-40).

        Raises:
            SmgwError: something outside the device prevents it (port in use, store locked).
        """
        now = self.clock.now()
        self._set_lamps(since=now, phase=BootPhase.STARTING, secure=SecureState.NORMAL)
        self.cause = ""
        try:
            self._store = Store(self.directory / "state.db")
            await self._start(self._store, now)
        except (StoreDamagedError, SecurityModuleError) as error:
            self._fail(error)
        except BaseException:
            await self.power_off(orderly=False)
            raise

    async def power_off(self, *, orderly: bool = True) -> None:
        """Stop; ``orderly=False`` is a power cut: nothing is said, nothing is written."""
        running, self.running = self.running, None
        for timer in (self._timer, self._lamp_timer):
            if timer is not None:
                timer.cancel()
        self._timer = None
        if running is not None:
            running.lmn.stop(orderly=False)
            if running.wakeup is not None:
                running.wakeup.stop()
            if orderly:
                self._say_stop(running.device)
            running.wan.stop(orderly=orderly)
            await running.han.stop()
        if self._store is not None:
            self._store.close()
            self._store = None
        self._set_lamps(since=self.clock.now(), phase=BootPhase.OFF, hdlc_station=False)

    def _say_stop(self, device: Device) -> None:
        try:
            device.power_off(self.clock.now())
        except StoreError as error:  # a full or broken flash must not keep the device on
            _log.warning("the stop could not be logged", cause=str(error))

    def connect(
        self, meter: str, end: socket.socket, protocol: Protocol = "sml", stick: str = "hex"
    ) -> None:
        """Plug a virtual meter or bus of this process into a port (before power-on).

        Args:
            meter: a meter's id, or any name of a port.
            end: the gateway's end.
            protocol: what is spoken there.
            stick: kind of receiver, for ``wmbus``.
        """
        self._plugs[meter.lower()] = Plug(end, protocol, stick)

    async def _start(self, store: Store, now: WorldTime) -> None:
        config = self.config
        clock = DeviceClock(
            now,
            DeviceTime(now.ns + config.clock.offset_ms * MILLISECOND),
            drift_ppb=config.clock.drift_ppb,
            valid=config.clock.valid,
        )
        keys = KeyRing(self.hsm, store)
        administration = Administration(config, store)
        device = Device(
            administration.config,
            self.profile,
            store,
            ActiveSigner(keys),
            clock,
            software_hash(),
            self._catalogue(),
            administration,
        )
        facilities = Facilities(
            device,
            keys,
            Outbox(store, self.hsm.random),
            ImageStore(self.directory / "images"),
            lambda: device.now(self.clock.now()),
            self._request_self_test,
            used_kib=store.used_kib,
            settings_changed=self._settings_changed,
        )
        hooks = WanHooks(
            self._guard, self._show_channel, self._time_adjusted, self._keys_changed, self._rearm
        )
        wan = WanSide(device, facilities, self.profile, self.clock, hooks, self.keylog)
        device.power_on(now)
        self_test = SelfTest(
            self.profile.self_test,
            self_test_parts(device, self.hsm),
            self._self_test_started,
            self._self_test_finished,
        )
        lmn = LmnSide(
            device,
            self.hsm,
            self.profile,
            self.clock,
            LmnHooks(
                self._arm,
                self._guard,
                lambda there: self._set_lamps(hdlc_station=there),
                lambda at: self._set_lamps(telegram_at=at),
            ),
            config.line,
            self._plugs,
            self.keylog,
            self.lmn_capture,
            self.directory,
        )
        han = HanLine(
            HanParts(
                device,
                self_test,
                keys,
                self.profile,
                self.clock,
                self.directory / "certs",
                self.keylog,
                self._store_error,
            )
        )
        facilities.prepare = han.prepare
        facilities.meter_state, facilities.meter_order = lmn.state_of, lmn.give
        facilities.reconfigured = self._reconfigured
        wakeup = self._wakeup_line(device)
        self.running = Running(device, self_test, han, lmn, wakeup, wan, facilities)
        await han.start()
        await self._start_wakeup(wakeup)
        self_test.power_on(now)
        lmn.start()
        self._follow_time()
        wan.link = config.link
        self._set_lamps(mobile=MobileSignal(config.link.modem))
        wan.start()
        self._arm()

    def adjust_device_clock(
        self, offset_ms: int | None, drift_ppb: int | None, *, valid: bool | None
    ) -> None:
        """Detune the device's own clock, as the lab wants it.

        Raises:
            SmgwError: the device is not running, or offset or drift is out of range.
        """
        if offset_ms is None and drift_ppb is None and valid is None:
            return
        if offset_ms is not None and abs(offset_ms) * MILLISECOND > MAX_OFFSET:
            raise SmgwError("the device clock may be off by 100 years at most")
        if self.running is None:
            raise SmgwError("the device is not running")
        device, now = self.running.device, self.clock.now()
        if drift_ppb is not None:
            device.clock.set_drift(now, drift_ppb)
        if offset_ms is not None or valid is not None:
            shown = device.now(now)
            if offset_ms is not None:
                shown = DeviceTime(now.ns + offset_ms * MILLISECOND)
            trusted = device.clock.valid if valid is None else valid
            self._guard(lambda: device.set_clock(now, shown, valid=trusted))
            self.running.wan.time.set_valid(valid=trusted)
            self._follow_time()
        self._rearm()

    def _follow_time(self) -> None:
        """Invalid time is Secure State Measurement, valid time its end (SEC-20, SEC-23)."""
        if self.running is None:
            return
        valid = self.running.device.clock.valid
        wanted = SecureState.NORMAL if valid else SecureState.MEASUREMENT
        if self.lamps.secure in {SecureState.NORMAL, SecureState.MEASUREMENT}:
            self._set_lamps(secure=wanted, secure_since=self.clock.now())

    # -- parts -----------------------------------------------------------------------------

    def _catalogue(self) -> dict[str, Event]:
        """The event catalogue: the built-in one, or the gateway's own file (GW-61)."""
        name = self.config.gateway.event_catalogue
        if not name:
            return load_catalogue()
        try:
            return load_catalogue((self.directory / name).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the event catalogue {name}: {error}") from error

    def _wakeup_line(self, device: Device) -> WakeupLine | None:
        """The wake-up port, if one is configured and switched on."""
        if self._wakeup_place(device) is None:
            return None
        return WakeupLine(
            device,
            self.clock,
            self.profile.wakeup,
            self._verify_wakeup,
            self._woken,
            self._guard,
        )

    def _wakeup_place(self, device: Device) -> Wakeup | None:
        """Where the wake-up service listens; None: it is switched off (3.2.5.1)."""
        factory, settings = self.config.wakeup, device.administration.settings
        if factory is None or not factory.enabled or not settings.wakeup_enabled:
            return None
        return Wakeup(factory.host, settings.wakeup_port or factory.port)

    def _woken(self) -> None:
        self._set_lamps(wakeup_at=self.clock.now())
        if self.running is not None:
            self.running.wan.wake_up()

    def _verify_wakeup(self, digest: bytes, signature: bytes) -> bool:
        try:
            return self.hsm.verify(gwa_key(Purpose.SIG), digest, signature)
        except SecurityModuleError as error:
            _log.warning("a wake-up could not be checked", cause=str(error))
            return False

    async def _start_wakeup(self, line: WakeupLine | None) -> None:
        place = self._wakeup_place(self.running.device) if self.running is not None else None
        if line is None or place is None:
            return
        try:
            await line.start(place.host, place.port)
        except OSError as error:
            where = f"{place.host}:{place.port}"
            raise SmgwError(f"wake-up cannot listen on {where}: {error.strerror}") from error

    def set_link(self, link: Link) -> None:
        """Pull the cable, change the mobile signal, as the lab wants it.

        Raises:
            SmgwError: the device is not running.
        """
        if self.running is None:
            raise SmgwError("the device is not running")
        self.config = msgspec.structs.replace(self.config, link=link)
        self._set_lamps(mobile=MobileSignal(link.modem))
        self.running.wan.set_link(link)

    # -- what the administrator changes ------------------------------------------------------

    def _reconfigured(self, old: GatewayConfig, new: GatewayConfig) -> None:
        if self.running is None:
            return
        self.running.han.reconfigured(old, new)
        self.running.lmn.reconfigured()
        self.running.wan.reconfigured(old, new)
        self._rearm()

    def _settings_changed(self, old: Settings, new: Settings) -> None:
        running = self.running
        if running is None:
            return
        running.wan.time_settings()
        running.wan.watch_storage()
        if (old.time_method, old.time_interval_s) != (new.time_method, new.time_interval_s):
            running.wan.time.ask()
        if (old.wakeup_enabled, old.wakeup_port) != (new.wakeup_enabled, new.wakeup_port):
            self._tasks = asyncio.get_running_loop().create_task(self._restart_wakeup())
        if old.lmn_wired != new.lmn_wired:
            running.lmn.switch(on=new.lmn_wired)
        if old.lmn_wireless != new.lmn_wireless:
            running.lmn.switch_radio(on=new.lmn_wireless)

    async def _restart_wakeup(self) -> None:
        running = self.running
        if running is None:
            return
        if running.wakeup is not None:
            running.wakeup.stop()
        line = self._wakeup_line(running.device)
        self.running = replace(running, wakeup=line)
        try:
            await self._start_wakeup(line)
        except SmgwError as error:
            _log.error("the wake-up port cannot be moved", cause=str(error))

    def _show_channel(self, channel: AdminChannel) -> None:
        self._set_lamps(channel=channel, channel_since=self.clock.now())

    def _time_adjusted(self) -> None:
        running = self.running
        if running is None:
            return
        self._set_lamps(synchronised=running.wan.time.synchronised)
        self._follow_time()
        self._rearm()

    def _keys_changed(self) -> None:
        if self.running is not None:
            self.running.han.refresh()

    def _request_self_test(self) -> str:
        if self.running is None:
            return "locked"
        reply = self.running.self_test.request(self.clock.now(), "GWA")
        self._arm()
        return str(reply.answer)

    # -- self-test -------------------------------------------------------------------------

    def _self_test_started(self, now: WorldTime, reason: str) -> None:
        if self.running is not None:
            device = self.running.device
            device.logbooks.write("self-test-started", device.now(now), reason=reason)
            self._arm()

    def _self_test_finished(self, now: WorldTime, result: SelfTestResult) -> None:
        if self.running is not None:
            device = self.running.device
            name = "self-test-passed" if result.passed else "self-test-failed"
            outcome = "S" if result.passed else "F"
            device.logbooks.write(name, device.now(now), outcome=outcome, parts=result)  # type: ignore[arg-type]
            device.store.set_meta("self-test", f"{device.now(now).iso()} {outcome} {result}")
            answer = MethodResponse(0 if result.passed else 250, text(str(result)))
            self.running.facilities.finished("self-test", answer)

    # -- deadlines -------------------------------------------------------------------------

    def _arm(self) -> None:
        """Keep one timer no later than the next deadline of the parts."""
        running = self.running
        if running is None:
            return
        deadlines = [
            running.device.next_deadline(),
            running.self_test.next_deadline(),
            world_deadline(running.device, running.wan),
            running.lmn.next_deadline(),
        ]
        if self.lamps.phase is BootPhase.STARTING and self.clock.now() < self._ready_at():
            deadlines.append(self._ready_at())  # past it, the end of the self-test decides
        due = min((when for when in deadlines if when is not None), default=None)
        timer = self._timer
        if timer is not None and timer.callback is not None:
            if due is not None and timer.when <= due:
                return
            timer.cancel()
        if due is not None:
            self._timer = self.clock.call_at(due, self._on_deadline)

    def _rearm(self) -> None:
        """Look for the next deadline anew: the device clock has moved."""
        if self.running is not None:
            self.running.lmn.clock_moved()
        if self._timer is not None:
            self._timer.cancel()
        self._arm()

    def _ready_at(self) -> WorldTime:
        return self.lamps.since + self.profile.boot.ready_after_s * SECOND

    def _on_deadline(self) -> None:
        running, now = self.running, self.clock.now()
        if running is None:
            return

        def work() -> None:
            running.device.on_deadline(now)
            running.self_test.on_deadline(now)
            running.lmn.on_deadline(now)
            running.wan.on_deadline(running.device.now(now))

        self._guard(work)
        starting = self.lamps.phase is BootPhase.STARTING
        if starting and now >= self._ready_at() and running.self_test.last_result is not None:
            self._set_lamps(phase=BootPhase.READY)
        self._arm()

    # -- faults ----------------------------------------------------------------------------

    def _guard(self, work: Callable[[], None]) -> None:
        """Run a step of the core; a broken store becomes a device state, not a traceback."""
        try:
            work()
        except StoreError as error:
            self._store_error(error)

    def _store_error(self, error: StoreError) -> None:
        if self.running is not None:
            self._fail(error)

    def _fail(self, error: SmgwError) -> None:
        """Boot-time security checks fail: cyclic restart, no service (SEC-40, SEC-41)."""
        _log.error("device is in cyclic restart", cause=str(error))
        running, self.running = self.running, None
        self.cause = str(error)
        if running is not None:
            running.lmn.stop(orderly=False)
            if running.wakeup is not None:
                running.wakeup.stop()
            running.han.stop_listening()
            running.wan.stop(orderly=False)
        self._set_lamps(secure=SecureState.CYCLIC_RESTART, secure_since=self.clock.now())

    # -- lamps -----------------------------------------------------------------------------

    def _set_lamps(self, **changes: object) -> None:
        self.lamps = replace(self.lamps, **changes)  # type: ignore[arg-type]
        self._show_lamps()

    def _show_lamps(self) -> None:
        now, times = self.clock.now(), self.profile.leds
        self.sink.show(now, leds(self.lamps, now, times))
        if self._lamp_timer is not None:
            self._lamp_timer.cancel()
            self._lamp_timer = None
        edge = next_edge(self.lamps, now, times)
        if edge is not None:
            self._lamp_timer = self.clock.call_at(edge, self._show_lamps)
