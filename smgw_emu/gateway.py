"""The device in a directory: power, boot, secure states, lamps.

The directory holds ``config.toml`` (what factory and administrator put in), ``flash/`` (partitions
and boot record), ``state.db`` (values and logs), ``rtc.json`` (the clock chip), ``hsm/`` (the
security module's memory) and ``certs/``. What runs between power-up and power-down is
:class:`~smgw_emu.runtime.Runtime`.

Theory of operation. *Power-up*: all lamps dark for ``boot.dark_s``, then the chain of checks
(:mod:`firmware.chain`). It gives the firmware with its behaviour profile, and the device runs; or
it fails, and the device is in Secure State Boot (nothing runs; a latch in the boot record keeps it
there) or in the cyclic restart (the same again after ``boot.restart_s``). *Causes* of secure states
come from the chain, from the running device and from the lab; this class keeps them, logs them
through the running device, shows them and stops what they forbid, at once.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from firmware.chain import Booted, BootError, boot, installed_profile
from firmware.flash import Flash, FlashError
from firmware.update import fall_back
from hardware.lamps.sink import LedSink, RecordingLeds
from hardware.separation import InterfaceProbe, Probe, SwitchedProbe
from hsm_sim import SecurityModuleError
from hsm_sim.interface import KeyModule, open_module
from secure_state.machine import Cause, Exit, SecureStates
from smgw_emu.core.config import GatewayConfig, Link, load_config
from smgw_emu.core.errors import ConfigError, SmgwError, StoreDamagedError
from smgw_emu.core.instants import DAY, MILLISECOND, SECOND, DeviceTime, WorldTime
from smgw_emu.core.leds import BootPhase, LedState, SecureState
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.rtc import Rtc
from smgw_emu.core.store import Store
from smgw_emu.frame import Frame
from smgw_emu.lamp_panel import LampPanel
from smgw_emu.lmn_side import Plug, Protocol
from smgw_emu.profiles import Profile, ProfileError, load
from smgw_emu.runtime import Runtime
from smgw_emu.transport.clock import Clock, Timer

_log = structlog.get_logger("gateway")

MAX_OFFSET = 100 * 365 * DAY  # keeps every time of the device within the calendar
MIN_SUPPLY_V, MAX_SUPPLY_V = 184.0, 264.5  # manual B-2: 230 V AC -20 %/+15 % (HW-01)


class Gateway:
    """An emulated gateway.

    Args:
        directory: its home, made by ``smgw init``.
        clock: world time.
        sink: where the lamps show; default: a recording.
        keylog: file for the TLS secrets of captures; "" for none.

    Attributes:
        running: what runs, None while nothing does.
        states: causes of secure states, and their history.
        cable: the lab's cable between WAN and HAN.
        supply_v: mains voltage.

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
        self.flash = Flash(directory / "flash")
        self.rtc = Rtc(directory / "rtc.json")
        self.profile: Profile = self._own_profile() or installed_profile(self.flash) or load()
        self.panel = LampPanel(clock, sink or RecordingLeds(), self.profile.leds)
        self.hsm: KeyModule = open_module(
            self.config.security_module, directory, lambda: clock.now().ns
        )
        self.states = SecureStates(self.profile.secure_state)
        self.cable = SwitchedProbe()
        self.supply_v = 230.0
        self.running: Runtime | None = None
        self._store: Store | None = None
        self._timer: Timer | None = None
        self._phase_timer: Timer | None = None
        self._plugs: dict[str, Plug] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._steps = asyncio.Lock()

    def _own_profile(self) -> Profile | None:
        """The profile a lab has put over the firmware's, None without one."""
        name = self.config.gateway.profile
        if not name:
            return None
        try:
            return load(name, self.directory)
        except ProfileError as error:
            raise ConfigError(str(error)) from error

    @property
    def lamps(self) -> LedState:
        """What the lamps depend on."""
        return self.panel.state

    @property
    def sink(self) -> LedSink:
        """Where the lamps show."""
        return self.panel.sink

    @property
    def cause(self) -> str:
        """What was found, "" in normal operation."""
        return self.states.text

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

    # -- power -----------------------------------------------------------------------------

    async def power_on(self) -> None:
        """Boot; what the checks find ends in a secure state, not in an error.

        Raises:
            SmgwError: something outside the device prevents it (port in use, store locked).
        """
        async with self._steps:
            await self._power_on()

    async def _power_on(self) -> None:
        if self.running is not None or not MIN_SUPPLY_V <= self.supply_v <= MAX_SUPPLY_V:
            return
        self._stop_timers()
        self._close_store()  # a state without any function had left it open
        self.states.power_off()
        dark = self.profile.boot.dark_s
        if dark:
            self.panel.reset(phase=BootPhase.BOOTING)
            due = self.clock.now() + dark * SECOND
            self._phase_timer = self.clock.call_at(due, lambda: self._later(self._boot))
        else:
            await self._boot()

    async def power_off(self, *, orderly: bool = True) -> None:
        """Stop; ``orderly=False`` is a power cut: nothing is said, nothing is written."""
        for task in self._tasks:
            task.cancel()  # a restart that was about to happen
        async with self._steps:
            await self._power_off(orderly=orderly)

    async def _power_off(self, *, orderly: bool) -> None:
        running, self.running = self.running, None
        self._stop_timers()
        if running is not None:
            await running.stop(orderly=orderly)
        self._close_store()
        self.hsm.power_off()
        self.panel.reset(phase=BootPhase.OFF)

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None

    async def set_supply(self, volts: float) -> None:
        """Change the mains voltage: outside its range the device goes off, back in it boots."""
        before = MIN_SUPPLY_V <= self.supply_v <= MAX_SUPPLY_V
        self.supply_v = volts
        good = MIN_SUPPLY_V <= volts <= MAX_SUPPLY_V
        if before and not good:
            await self.power_off(orderly=False)
        elif good and not before:
            await self.power_on()

    def _later(self, step: Callable[[], object]) -> None:
        """Run a step of power as a task: it comes from within the core or from a timer."""

        async def work() -> None:
            async with self._steps:
                try:
                    await step()  # type: ignore[misc]
                except SmgwError as error:
                    _log.error("the device could not start", cause=str(error))

        task = asyncio.get_running_loop().create_task(work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- boot ------------------------------------------------------------------------------

    async def _boot(self) -> None:
        self.panel.reset(phase=BootPhase.STARTING)
        try:
            booted = boot(self.flash)
        except BootError as error:
            self._boot_failed(error)
            return
        self._adopt(self._own_profile_for(booted))
        try:
            self._store = Store(self.directory / "state.db")
            await self._run(self._store, booted)
        except (StoreDamagedError, SecurityModuleError) as error:
            self._enter(Cause.BOOT_CHECK, str(error))
        except BaseException:
            await self._power_off(orderly=False)
            raise

    def _own_profile_for(self, booted: Booted) -> Profile:
        """The firmware's profile, or the lab's with the version that really runs."""
        own = self._own_profile()
        if own is None:
            return booted.profile
        device = msgspec.structs.replace(own.device, firmware_version=booted.manifest.version)
        return msgspec.structs.replace(own, device=device)

    def _adopt(self, profile: Profile) -> None:
        self.profile = profile
        self.panel.times = profile.leds
        self.states.configure(profile.secure_state)

    def _boot_failed(self, error: BootError) -> None:
        reading = self.rtc.power_on(
            self.clock.now(), self.config.clock, self.profile.time, newest=None
        )
        now = reading.clock.read(self.clock.now())
        if not self._latched() and fall_back(self.flash, str(error), now):
            self._later(self._power_on)
            return
        self._enter(error.cause, str(error))

    def _latched(self) -> bool:
        try:
            return bool(self.flash.record().failed)
        except FlashError:
            return False

    async def _run(self, store: Store, booted: Booted) -> None:
        newest = Logbooks(store, {}).newest()
        time = self.rtc.power_on(self.clock.now(), self.config.clock, self.profile.time, newest)
        frame = Frame(
            self.directory,
            self.clock,
            self.config,
            self.profile,
            self.hsm,
            self.keylog,
            self.panel,
            self.states,
            self.flash,
            self.rtc,
            self._plugs,
            self.lmn_capture,
            self._probe(),
            self._enter,
            self._left,
            lambda error: self._enter(Cause.BOOT_CHECK, str(error)),
            lambda: self._later(self._restart),
            self._arm,
            self._rearm,
        )
        running = Runtime(frame, store, booted, time)
        self.running = running
        running.watch.remember()
        self._show_state()
        await running.start()
        self._arm()

    async def _restart(self) -> None:
        await self._power_off(orderly=True)
        await self._power_on()

    def _probe(self) -> Probe:
        """The lab's cable, and the two real interfaces where the configuration names them."""
        names = self.config.separation
        return self.cable if names is None else _Both(self.cable, names.wan, names.han)

    # -- secure states ---------------------------------------------------------------------

    def _enter(self, cause: Cause, text: str) -> None:
        """A cause holds: log it, show it, end what it forbids, all before anything else runs."""
        now = self.clock.now()
        if self.running is None and self.lamps.phase is BootPhase.OFF:
            return
        if not self.states.enter(cause, now, text):
            return
        rule, running = self.states.rules[cause], self.running
        dead = rule.state in {SecureState.BOOT, SecureState.CYCLIC_RESTART}
        (_log.error if dead else _log.info)(
            "secure state", state=rule.state, cause=cause, found=text
        )
        if running is not None and cause is not Cause.BOOT_CHECK:  # that one is the store itself
            running.watch.note(cause, text, entered=True)
        if rule.exit is Exit.TERMINAL:
            self._latch(cause, text)
        if dead:
            self._drop()
            if rule.state is SecureState.CYCLIC_RESTART:
                due = now + self.profile.boot.restart_s * SECOND
                self._phase_timer = self.clock.call_at(due, lambda: self._later(self._restart))
        elif running is not None:
            running.watch.restrict()
        self._show_state()

    def _left(self, cause: Cause) -> None:
        """A cause has ended: what it forbade is served again."""
        running = self.running
        if running is None:
            return
        running.watch.note(cause, "", entered=False)
        self._show_state()
        self._later(running.watch.enforce)

    def _show_state(self) -> None:
        now = self.clock.now()
        self.panel.set(secure=self.states.state, secure_since=self.states.since or now)

    def _latch(self, cause: Cause, text: str) -> None:
        """Keep the cause where no restart reaches it (SEC-08)."""
        try:
            record = self.flash.record()
            if cause not in record.failed:
                self.flash.change(failed=record.failed | {str(cause): text})
        except (FlashError, OSError) as error:
            _log.warning("the boot record cannot be written", cause=str(error))

    def _drop(self) -> None:
        running, self.running = self.running, None
        self._stop_timers()
        if running is not None:
            running.drop()

    # -- what the lab moves ------------------------------------------------------------------

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
        running = self.running
        if running is None:
            raise SmgwError("the device is not running")
        device, now = running.device, self.clock.now()
        if drift_ppb is not None:
            device.clock.set_drift(now, drift_ppb)
        if offset_ms is not None or valid is not None:
            shown = device.now(now)
            if offset_ms is not None:
                shown = DeviceTime(now.ns + offset_ms * MILLISECOND)
            trusted = device.clock.valid if valid is None else valid
            running.guard(lambda: device.set_clock(now, shown, valid=trusted))
            running.wan.time.set_valid(valid=trusted)
            running.watch.follow_time()
            running.cls.clock_moved()
        running.save_clock()
        running.rearm()

    def set_link(self, link: Link) -> None:
        """Pull a cable, change the mobile signal, as the lab wants it.

        Raises:
            SmgwError: the device is not running.
        """
        if self.running is None:
            raise SmgwError("the device is not running")
        self.config = msgspec.structs.replace(self.config, link=link)
        self.running.set_link(link)

    # -- deadlines -------------------------------------------------------------------------

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._phase_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._phase_timer = None

    def _arm(self) -> None:
        """Keep one timer no later than the next deadline."""
        running = self.running
        if running is None:
            return
        due = running.next_deadline()
        if self.lamps.phase is BootPhase.STARTING and self.clock.now() < self._ready_at():
            ready = self._ready_at()  # past it, the end of the self-test decides
            due = ready if due is None else min(due, ready)
        timer = self._timer
        if timer is not None and timer.callback is not None:
            if due is not None and timer.when <= due:
                return
            timer.cancel()
        if due is not None:
            self._timer = self.clock.call_at(due, self._on_deadline)

    def _rearm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._arm()

    def _ready_at(self) -> WorldTime:
        return self.lamps.since + self.profile.boot.ready_after_s * SECOND

    def _on_deadline(self) -> None:
        running, now = self.running, self.clock.now()
        if running is None:
            return
        running.guard(lambda: running.on_deadline(now))
        if self.running is not running:
            return  # a state without any function, meanwhile
        starting = self.lamps.phase is BootPhase.STARTING
        if starting and now >= self._ready_at() and running.self_test.last_result is not None:
            self.panel.set(phase=BootPhase.READY)
        self._arm()


class _Both:
    """The lab's cable and a probe on real interfaces."""

    def __init__(self, cable: SwitchedProbe, wan: str, han: str) -> None:
        self._cable = cable
        self._real = InterfaceProbe(wan, han)

    def begin(self) -> None:
        self._real.begin()

    def finding(self) -> str:
        return self._cable.finding() or self._real.finding()
