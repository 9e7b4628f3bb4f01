"""One wired LMN port of a gateway: octets become readings, orders become octets.

The line joins the port (:mod:`hardware.ports`), the bus (:mod:`lmn.bus`), a session for each
station that a meter profile names (:mod:`.session`) and its readings (:mod:`.reading`). Stations
no profile names keep their address and are told of; they are asked nothing (L13). One timer fires
no later than the next deadline of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hardware.ports import MeterPort
from hsm_sim.interface import KeyModule
from hsm_sim.slots import lmn_master_key
from lmn.bus import Bus, BusEvent, Found, FromStation, Lost, Station, Trouble
from lmn.hdlc.primary import LinkState
from lmn.sml.messages import Message
from lmn.sml.orders import Order, OrderKind, read_registers
from lmn.sml.report import meter_key
from smgw_emu.core.config import GatewayConfig
from smgw_emu.core.device import Device
from smgw_emu.core.errors import RemoteProtocolError, SmgwError
from smgw_emu.core.instants import WorldTime
from smgw_emu.core.sparing import Sparing
from smgw_emu.core.stations import StationBook
from smgw_emu.core.wan_profiles import LmnProfile
from smgw_emu.profiles import Profile
from smgw_emu.transport.clock import Clock, Timer
from smgw_emu.wired_line.credentials import MeterCredentials
from smgw_emu.wired_line.reading import Reader
from smgw_emu.wired_line.session import Answer, MeterSession, SessionHooks, SessionState
from smgw_emu.wired_line.troubles import Troubles

OVERLOAD = "the 12 V supply is switched off (overload or short circuit)"


@dataclass(frozen=True, slots=True)
class LineParts:
    """What a line works with.

    Attributes:
        device: the core.
        module: the security module.
        book: who is on the bus, on all lines.
        profile: behaviour.
        clock: world time.
        changed: called after input (deadlines of the core may have moved).
        guard: runs a step of the core.
        keylog: file for TLS secrets of captures.
        capture: sees the octets of the bus: (port, sent by us, data).
    """

    device: Device
    module: KeyModule
    book: StationBook
    profile: Profile
    clock: Clock
    changed: Callable[[], None]
    guard: Callable[[Callable[[], None]], None]
    keylog: str = ""
    capture: Callable[[str, bool, bytes], None] | None = None


class WiredLine:
    """The primary side of one port.

    Args:
        name: of the port, for the log.
        parts: what it works with.
    """

    port: MeterPort

    def __init__(self, name: str, parts: LineParts) -> None:
        self.name = name
        self._p = parts
        self._bus = Bus(parts.profile.lmn_bus)
        self._sessions: dict[int, MeterSession] = {}
        self._readers: dict[str, Reader] = {}
        self._timer: Timer | None = None
        self._last_reason = ""
        self._running = False
        self.load_ma = 0
        self._sparing = Sparing()
        self.troubles = Troubles(parts.profile.lmn_bus.baud, self.log)
        self.ready = False
        self.frames = 0
        self.last_frame_at: WorldTime | None = None

    # -- the port --------------------------------------------------------------------------

    def on_ready(self) -> None:
        """The port is open."""
        self.ready = True
        if self._last_reason:
            self._last_reason = ""
            self.log("port-ready", outcome="S")
        self._start()

    def on_lost(self, reason: str) -> None:
        """The port is lost, with all stations; each new reason is logged once."""
        self.ready = False
        if reason != self._last_reason:
            self._last_reason = reason
            self.log("port-lost", outcome="F", reason=reason)
        self._stop(reason)

    def on_data(self, data: bytes) -> None:
        """Take octets."""
        if self._running:
            if self._p.capture is not None:
                self._p.capture(self.name, False, data)
            now = self._p.clock.now()
            self._step(lambda: self._take(self._bus.receive(data, now), now))

    def stop(self) -> None:
        """Close the port; the stations are forgotten."""
        self.port.stop()
        self.ready = False
        self._stop("switched off")

    def power_cut(self) -> None:
        """Close without a word."""
        self._running = False
        self._cancel()
        self.port.stop()

    def _start(self) -> None:
        if self._running or self.load_ma > self._p.profile.lmn_wired.supply_ma:
            return
        self._running = True
        self.troubles.restart()
        self._step(lambda: self._bus.start(self._p.clock.now()))

    def _stop(self, reason: str) -> None:
        if not self._running:
            return
        self._running = False
        self._cancel()
        now = self._p.clock.now()
        self._p.guard(lambda: self._take(self._bus.stop(reason), now))
        self._p.changed()

    def set_load(self, milliampere: int) -> None:
        """Load the 12 V output; above its limit the bus is dead until the load is gone (L12)."""
        limit = self._p.profile.lmn_wired.supply_ma
        was, self.load_ma = self.load_ma > limit, milliampere
        over = milliampere > limit
        if over and not was:
            self.log("supply-overload", outcome="F", load=milliampere)
            self._stop(OVERLOAD)
        elif was and not over:
            self.log("supply-restored", outcome="S")
            if self.ready:
                self._start()

    # -- orders ----------------------------------------------------------------------------

    @property
    def stations(self) -> list[Station]:
        """Who has an address on this line."""
        return self._bus.stations

    def session(self, meter: str) -> MeterSession | None:
        """Return the session with a meter, if it is on this line."""
        found = (s for s in self._sessions.values() if s.credentials.meter == meter)
        return next(found, None)

    def session_at(self, station: Station) -> MeterSession | None:
        """Return the session with a station; a foreign one has none."""
        return self._sessions.get(station.address)

    def order(self, meter: str, order: Order, answer: Answer) -> None:
        """Give an order to a meter.

        Raises:
            SmgwError: the meter is not on this line.
        """
        session = self.session(meter)
        if session is None:
            raise SmgwError(f"meter {meter} has no HDLC address on {self.name}")
        now = self._p.clock.now()
        self._step(lambda: session.order(order, answer, now))

    def crypto_reset(
        self, meter: str, done: Callable[[str, str], None] = lambda _result, _failed: None
    ) -> None:
        """Undo the pairing with a meter; ``done`` is called with ("", "") or with what failed.

        Raises:
            SmgwError: the meter is not on this line.
        """
        session = self.session(meter)
        if session is None:
            raise SmgwError(f"meter {meter} has no HDLC address on {self.name}")
        now = self._p.clock.now()
        self._step(lambda: session.crypto_reset(now, done))

    def rebuild(self, meter: str) -> None:
        """Begin a new TLS session with a meter."""
        session = self.session(meter)
        if session is not None:
            now = self._p.clock.now()
            self._step(lambda: session.rebuild(now))

    # -- configuration ---------------------------------------------------------------------

    def reconfigured(self) -> None:
        """Follow a change of profiles or keys: each station gets the session that fits now."""
        now = self._p.clock.now()

        def work() -> None:
            for station in self.stations:
                session = self._sessions.get(station.address)
                meter = self._meter_of(station)
                known = session.credentials.meter if session is not None else ""
                if known != meter or (session is not None and self._is_stale(session)):
                    self._drop_session(station, "profiles have changed", now)
                    self._adopt(station, now)
            for meter in list(self._readers):
                if self.session(meter) is not None:
                    self._readers[meter] = self._reader(meter)
                    self._readers[meter].plan(self._p.device.now(now))

        self._step(work)

    def _is_stale(self, session: MeterSession) -> bool:
        """Whether a session would begin otherwise now: a key has come, or how to use it."""
        credentials = session.credentials
        unpaired = session.state is not SessionState.RESETTING and not credentials.paired
        return unpaired or credentials.differs(self._lmn(credentials.meter))

    def _meter_of(self, station: Station) -> str:
        """Return the key of the configured meter behind a station, "" for a foreign one."""
        config = self._p.device.config
        keys = {meter.key for meter in config.meter}
        for lmn in config.lmn:
            if lmn.server_id == station.sensor.hex() and lmn.meter.lower() in keys:
                return lmn.meter.lower()
        key = meter_key(station.sensor)
        return key if key in keys else ""

    def _lmn(self, meter: str) -> LmnProfile | None:
        profiles = self._p.device.config.lmn
        return next((p for p in profiles if p.meter.lower() == meter), None)

    def _reader(self, key: str) -> Reader:
        meter = next(m for m in self._p.device.config.meter if m.key == key)
        return Reader(meter, self._lmn(key), self._p.device, self._p.profile)

    # -- events of the bus -----------------------------------------------------------------

    def _step(self, work: Callable[[], None]) -> None:
        """Run a step, send what it gave, set the timer."""
        if not self._running:
            return
        self._p.guard(work)
        if self._running:
            self._bus.wake(self._p.clock.now())
            out = self._bus.output()
            if out:
                if self._p.capture is not None:
                    self._p.capture(self.name, True, out)
                self.port.write(out)
            self._arm()
        self._p.changed()

    def _take(self, events: list[BusEvent], now: WorldTime) -> None:
        for event in events:
            match event:
                case FromStation(station, link_event):
                    self.troubles.good_frame()
                    self.frames += 1
                    self.last_frame_at = now
                    session = self._sessions.get(station.address)
                    if session is not None and session.station is station:
                        session.on_link(link_event, now)
                case Found(station):
                    self.troubles.good_frame()
                    self._adopt(station, now)
                case Lost(station, reason):
                    self._forget(station, reason, now)
                case Trouble():
                    self.troubles.note(event, now)

    def _adopt(self, station: Station, now: WorldTime) -> None:
        device, book = self._p.device, self._p.book
        meter, at = self._meter_of(station), self._p.device.now(now)
        shown = meter or meter_key(station.sensor)
        if book.addresses.get(shown) != station.address:
            book.found(shown, station.address, device.config, at)
        if not meter:
            device.metering.note_unknown(shown, at)
            return
        credentials = MeterCredentials(
            self._p.module, device.store, device.id, meter, self._lmn(meter), self._p.profile
        )
        session = MeterSession(
            station,
            credentials,
            device.id.server_id,
            self._p.profile,
            self._hooks(meter),
            self._p.keylog,
        )
        self._sessions[station.address] = session
        self._readers[meter] = self._reader(meter)
        self._readers[meter].plan(at)
        session.start()

    def _drop_session(self, station: Station, reason: str, now: WorldTime) -> None:
        session = self._sessions.pop(station.address, None)
        if session is not None:
            self._readers.pop(session.credentials.meter, None)
            session.stop(reason, now)
            if station.link.state is LinkState.OPEN:
                station.link.close()

    def _forget(self, station: Station, reason: str, now: WorldTime) -> None:
        shown = self._meter_of(station) or meter_key(station.sensor)
        self._drop_session(station, reason, now)
        at = self._p.device.now(now)
        self._p.book.lost(shown, reason, self._p.device.config, at)

    # -- what sessions tell ----------------------------------------------------------------

    def _hooks(self, meter: str) -> SessionHooks:
        def paired(what: str) -> None:
            event = "pairing-removed" if what == SessionState.RESETTING else "pairing-done"
            self.log(event, outcome="S", subject=f"{meter}.sm", meter=meter)

        def tell(event: str, **parameters: Any) -> None:
            if self._sparing.allow((event, meter), self._p.device.now(self._p.clock.now())):
                self.log(event, subject=f"{meter}.sm", meter=meter, **parameters)

        def failed(what: str, reason: str) -> None:
            pairing = what in {SessionState.PAIRING, SessionState.RESETTING}
            event = "pairing-failed" if pairing else "meter-session-failed"
            tell(event, outcome="F", reason=reason)

        def ready() -> None:
            tell("meter-session", outcome="S")
            reader = self._readers.get(meter)
            if reader is not None and not reader.read:
                reader.due = self._p.device.now(self._p.clock.now())  # the first reading at once

        def ended(reason: str) -> None:
            tell("meter-session-ended", outcome="S", reason=reason)

        return SessionHooks(paired, failed, ready, ended, self.date)

    def date(self) -> datetime:
        """Return the device's time, for certificates."""
        seconds = self._p.device.now(self._p.clock.now()).seconds
        return datetime.fromtimestamp(seconds, UTC)

    def log(self, event: str, **parameters: Any) -> None:
        """Write to the logbooks."""
        device = self._p.device
        now = device.now(self._p.clock.now())
        self._p.guard(lambda: device.logbooks.write(event, now, port=self.name, **parameters))

    # -- readings --------------------------------------------------------------------------

    def _read_due(self, now: WorldTime) -> None:
        at = self._p.device.now(now)
        for meter, reader in self._readers.items():
            if at < reader.due:
                continue
            reader.plan(at)
            session = self.session(meter)
            ready = session is not None and session.state is SessionState.READY
            if session is not None and ready and not session.waiting(OrderKind.READ):
                order = read_registers(reader.meter.channels)
                session.order(order, self._answered(reader), now)

    def _answered(self, reader: Reader) -> Answer:
        def answer(messages: list[Message] | None, reason: str, arrived: WorldTime) -> None:
            if messages is not None:
                try:
                    reader.take(messages, arrived)
                except RemoteProtocolError as error:
                    reason = str(error)
            if reason and self._running:
                meter = reader.meter.key
                if self._sparing.allow(("reading", meter), self._p.device.now(arrived)):
                    self.log("meter-session-failed", outcome="F", meter=meter, reason=reason)

        return answer

    # -- deadlines -------------------------------------------------------------------------

    def _deadline(self) -> WorldTime | None:
        clock = self._p.device.clock
        times = [self._bus.next_deadline()]
        times += [session.next_deadline() for session in self._sessions.values()]
        due = min((reader.due for reader in self._readers.values()), default=None)
        times.append(None if due is None else clock.world_at(due))
        return min((at for at in times if at is not None), default=None)

    def _arm(self) -> None:
        due = self._deadline()
        timer = self._timer
        if timer is not None and timer.callback is not None:
            if timer.when == due:
                return
            timer.cancel()
        self._timer = None if due is None else self._p.clock.call_at(due, self._on_deadline)

    def _on_deadline(self) -> None:
        now = self._p.clock.now()

        def work() -> None:
            self._take(self._bus.on_deadline(now), now)
            for session in list(self._sessions.values()):
                due = session.next_deadline()
                if due is not None and now >= due:
                    session.on_deadline(now)
            self._read_due(now)

        self._step(work)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def clock_moved(self) -> None:
        """The device clock was set: readings follow it."""
        now = self._p.device.now(self._p.clock.now())
        for reader in self._readers.values():
            reader.plan(now)
        if self._running:
            self._arm()


def wired_meters(config: GatewayConfig, files: set[str]) -> frozenset[str]:
    """Return the meters expected on a bus: with an LMN profile of scenario LKS1 or TLS, or a key.

    Args:
        config: profiles in force.
        files: names of the security module's files.
    """
    named = {p.meter.lower() for p in config.lmn if p.scenario == "LKS1" or p.protection == "TLS"}
    keyed = {m.key for m in config.meter if lmn_master_key(m.key) in files}
    pushed = {m.key for m in config.meter if m.source}
    return frozenset((named | keyed) - pushed)
