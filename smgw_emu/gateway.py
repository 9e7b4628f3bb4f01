"""Composition: one gateway in a directory, wired from core, security module and interfaces.

The directory holds ``config.toml`` (what factory and administrator put in), ``state.db`` (flash),
``hsm/`` (the security module's memory) and ``certs/``. Interfaces meet only here: bytes of a meter
port go through the SML codec into the core; the HAN listener asks the core.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from han.interface import HanInterface, HanMaterial
from hardware.leds import LedSink, RecordingLeds
from hardware.ports import MeterPort, PortEvents, SocketPort, open_port
from hsm_sim import Purpose, SecurityModuleError
from hsm_sim.certificates import subject_key_identifier
from hsm_sim.interface import KeyModule, open_module
from hsm_sim.module import SlotSigner
from hsm_sim.slots import HAN_TLS, WAN_SIG_SEAL, gwa_key
from lmn.sml.transport import START
from secure_state.selftest import SelfTest, SelfTestResult
from smgw_emu.core.config import GatewayConfig, UsagePoint, load_config
from smgw_emu.core.device import Device
from smgw_emu.core.device_clock import DeviceClock
from smgw_emu.core.errors import ConfigError, SmgwError, StoreDamagedError, StoreError
from smgw_emu.core.events import Event, load_catalogue
from smgw_emu.core.instants import DAY, MILLISECOND, SECOND, DeviceTime, WorldTime
from smgw_emu.core.leds import BootPhase, LedState, SecureState, leds, next_edge
from smgw_emu.core.store import Store
from smgw_emu.meter_line import MeterLine
from smgw_emu.profiles import Profile, ProfileError, load
from smgw_emu.self_check import self_test_parts, software_hash
from smgw_emu.transport.clock import Clock, Timer
from smgw_emu.transport.presets import TlsIdentity, server_context
from smgw_emu.transport.server import HttpsServer
from smgw_emu.wakeup_line import WakeupLine
from wan.cms import Signer, sign
from wan.profiles import taf_profile_xml

_log = structlog.get_logger("gateway")

MAX_OFFSET = 100 * 365 * DAY  # keeps every time of the device within the calendar


@dataclass(frozen=True, slots=True)
class Running:
    """What exists only while the device runs normally."""

    device: Device
    self_test: SelfTest
    han: HttpsServer | None
    lines: tuple[MeterLine, ...]
    wakeup: WakeupLine | None


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
        self.han_address: tuple[str, int] | None = None
        self.key_in_module = True
        self._store: Store | None = None
        self._timer: Timer | None = None
        self._lamp_timer: Timer | None = None
        self._sockets: dict[str, socket.socket] = {}

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
            for line in running.lines:
                line.port.stop()
            if running.wakeup is not None:
                running.wakeup.stop()
            if running.han is not None:
                await running.han.stop()
            if orderly:
                self._say_stop(running.device)
        self.han_address = None
        if self._store is not None:
            self._store.close()
            self._store = None
        self._set_lamps(since=self.clock.now(), phase=BootPhase.OFF)

    def _say_stop(self, device: Device) -> None:
        try:
            device.power_off(self.clock.now())
        except StoreError as error:  # a full or broken flash must not keep the device on
            _log.warning("the stop could not be logged", cause=str(error))

    def connect(self, meter: str, end: socket.socket) -> None:
        """Plug a virtual meter of this process into the port of ``meter`` (before power-on)."""
        self._sockets[meter.lower()] = end

    async def _start(self, store: Store, now: WorldTime) -> None:
        config = self.config
        clock = DeviceClock(
            now,
            DeviceTime(now.ns + config.clock.offset_ms * MILLISECOND),
            drift_ppb=config.clock.drift_ppb,
            valid=config.clock.valid,
        )
        signer = SlotSigner(self.hsm, WAN_SIG_SEAL)
        catalogue = self._catalogue()
        device = Device(config, self.profile, store, signer, clock, software_hash(), catalogue)
        device.power_on(now)
        self_test = SelfTest(
            self.profile.self_test,
            self_test_parts(device, self.hsm),
            self._self_test_started,
            self._self_test_finished,
        )
        lines = tuple(self._meter_lines(device))
        # Without a consumer nothing listens (HAN-05, A9).
        han = self._han_server(device, self_test) if config.consumer else None
        wakeup = self._wakeup_line(device)
        self.running = Running(device, self_test, han, lines, wakeup)
        if han is not None:
            listener = config.han
            try:
                self.han_address = await han.start(listener.host, listener.port)
            except OSError as error:
                where = f"{listener.host}:{listener.port}"
                raise SmgwError(f"HAN cannot listen on {where}: {error.strerror}") from error
        await self._start_wakeup(wakeup)
        self_test.power_on(now)
        for line in lines:
            line.port.start()
        self._follow_time()
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

    def _certificate(self, name: str) -> bytes:
        path = self.directory / "certs" / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot read {path}: {error.strerror}") from error

    def _han_server(self, device: Device, self_test: SelfTest) -> HttpsServer:
        leaf = self._certificate("han.der")
        identity = TlsIdentity(
            leaf,
            lambda digest: self.hsm.sign_digest(HAN_TLS, digest),
            lambda: self.hsm.private_key_for_process(HAN_TLS),
        )
        made = server_context(self.profile.tls.preset, identity, keylog=self.keylog)
        self.key_in_module = made.key_in_module
        if not made.key_in_module:
            _log.warning("HAN TLS key loaded into the process: the key bridge does not work here")
        material = HanMaterial(
            self._certificate("han.pem"),
            ((0, self._certificate("wan-sig-0.der"), self._certificate("wan-sub-ca-0.der")),),
            self._taf_profile,
        )
        interface = HanInterface(
            device, material, self_test, self.hsm.random, lambda: time.monotonic_ns() // 1_000_000
        )
        return HttpsServer(
            made.context, self.profile, self.clock, interface.handle, self._store_error
        )

    def _taf_profile(self, point: UsagePoint) -> bytes:
        """The evaluation profile signed with the Guetesiegel key (HSM-N04)."""
        meter = next(m for m in self.config.meter if m.key == point.meters[0].lower())
        signer = Signer(
            subject_key_identifier(self.hsm.public_key(WAN_SIG_SEAL)),
            lambda digest: self.hsm.sign_digest(WAN_SIG_SEAL, digest),
            (self._certificate("wan-sig-0.der"), self._certificate("wan-sub-ca-0.der")),
        )
        return sign(taf_profile_xml(point, meter.channels), signer)

    def _meter_lines(self, device: Device) -> list[MeterLine]:
        """One line per source: several meters may share a port."""
        sources: dict[str, MeterLine] = {}
        for meter in self.config.meter:
            end = self._sockets.get(meter.key)
            name = meter.key if end is not None else meter.source
            if not name or name in sources:
                continue
            line = MeterLine(name, device, self.clock, self.profile.sml, self._arm, self._guard)
            events = PortEvents(line.on_data, line.on_ready, line.on_lost)
            port: MeterPort
            if end is not None:
                port = SocketPort(end, self.clock, events)
            else:
                port = open_port(name, self.clock, events, START)
            line.port = port
            sources[name] = line
        return list(sources.values())

    def _wakeup_line(self, device: Device) -> WakeupLine | None:
        """The wake-up port, if one is configured and switched on."""
        settings = self.config.wakeup
        if settings is None or not settings.enabled:
            return None
        return WakeupLine(
            device,
            self.clock,
            self.profile.wakeup,
            self._verify_wakeup,
            lambda: self._set_lamps(wakeup_at=self.clock.now()),
            self._guard,
        )

    def _verify_wakeup(self, digest: bytes, signature: bytes) -> bool:
        try:
            return self.hsm.verify(gwa_key(Purpose.SIG), digest, signature)
        except SecurityModuleError as error:
            _log.warning("a wake-up could not be checked", cause=str(error))
            return False

    async def _start_wakeup(self, line: WakeupLine | None) -> None:
        settings = self.config.wakeup
        if line is None or settings is None:
            return
        try:
            await line.start(settings.host, settings.port)
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise SmgwError(f"wake-up cannot listen on {where}: {error.strerror}") from error

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

    # -- deadlines -------------------------------------------------------------------------

    def _arm(self) -> None:
        """Keep one timer no later than the next deadline of the parts."""
        running = self.running
        if running is None:
            return
        deadlines = [running.device.next_deadline(), running.self_test.next_deadline()]
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
            for line in running.lines:
                line.port.stop()
            if running.wakeup is not None:
                running.wakeup.stop()
            if running.han is not None:
                running.han.stop_listening()
        self.han_address = None
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
