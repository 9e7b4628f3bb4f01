"""All meter ports of one gateway: push lines, wired buses, radio receivers.

Each kind has a room of its own: :mod:`.meter_line`, :mod:`.wired_line`, :mod:`.radio_line`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs

from hardware.ports import DEFAULT_BAUD, MeterPort, PortEvents, SocketPort, open_port
from hardware.radio import DEFAULT_STICK, STICKS
from hsm_sim.interface import KeyModule
from lmn.sml.orders import Order
from lmn.sml.transport import START
from smgw_emu.core.config import Line
from smgw_emu.core.device import Device
from smgw_emu.core.errors import ConfigError, SmgwError
from smgw_emu.core.instants import WorldTime
from smgw_emu.core.stations import StationBook
from smgw_emu.meter_line import MeterLine
from smgw_emu.profiles import Profile
from smgw_emu.radio_line import RadioLine, Reception
from smgw_emu.radio_line.reception import ReceptionHooks
from smgw_emu.transport.clock import Clock
from smgw_emu.wired_line import WiredLine
from smgw_emu.wired_line.line import LineParts, wired_meters
from smgw_emu.wired_line.named_orders import Done, give
from smgw_emu.wired_line.session import Answer

Protocol = Literal["sml", "hdlc", "wmbus"]


@dataclass(frozen=True, slots=True)
class Plug:
    """A socket of this process that is plugged into a port; ``stick``: kind of a receiver."""

    end: socket.socket
    protocol: Protocol = "sml"
    stick: str = "hex"


@dataclass(frozen=True, slots=True)
class LmnHooks:
    """Whom the side tells.

    Attributes:
        changed: deadlines may have moved.
        guard: runs a step of the core.
        station: "a meter has an HDLC address" has changed.
        telegram: a complete wM-Bus telegram was heard.
    """

    changed: Callable[[], None]
    guard: Callable[[Callable[[], None]], None]
    station: Callable[[bool], None]
    telegram: Callable[[WorldTime], None]


class LmnSide:
    """The meter ports.

    Args:
        device: the core.
        module: the security module.
        profile: behaviour.
        clock: world time.
        hooks: whom to tell.
        ports: of the configuration.
        plugs: sockets by meter or port name.
        keylog: file for TLS secrets of captures.
        capture: sees the octets of the buses: (port, sent by us, data).
        folder: of the gateway.
    """

    def __init__(
        self,
        device: Device,
        module: KeyModule,
        profile: Profile,
        clock: Clock,
        hooks: LmnHooks,
        ports: tuple[Line, ...],
        plugs: Mapping[str, Plug],
        keylog: str = "",
        capture: Callable[[str, bool, bytes], None] | None = None,
        folder: Path = Path(),
    ) -> None:
        self._device = device
        self._module = module
        self._profile = profile
        self._clock = clock
        self._hooks = hooks
        self._on = device.administration.settings.lmn_wired
        self.book = StationBook(
            device.logbooks, profile.lmn_wired.missing_s, lambda: hooks.station(self.book.any)
        )
        self._parts = LineParts(
            device, module, self.book, profile, clock, hooks.changed, hooks.guard, keylog,
            capture,
        )  # fmt: skip
        self.lines: list[MeterLine] = []
        self.wired: list[WiredLine] = []
        self.radios: list[RadioLine] = []
        self._radio_on = device.administration.settings.lmn_wireless
        reception = ReceptionHooks(hooks.guard, hooks.telegram, hooks.changed)
        self.reception = Reception(device, module, profile, folder, reception)
        self._build(ports, plugs)

    def _build(self, ports: tuple[Line, ...], plugs: Mapping[str, Plug]) -> None:
        """One line per source: several meters may share a port."""
        built: set[str] = set()
        places: dict[str, tuple[str, Protocol]] = {
            meter.key: (meter.source, "sml") for meter in self._device.config.meter
        }
        places |= {line.source: (line.source, line.protocol) for line in ports}
        places |= {name: ("", plug.protocol) for name, plug in plugs.items()}
        for key, (source, protocol) in places.items():
            plug = plugs.get(key)
            name = key if plug is not None else source
            if not name or name in built:
                continue
            built.add(name)
            self._add(name, protocol if plug is None else plug.protocol, plug)

    def _add(self, name: str, protocol: Protocol, plug: Plug | None) -> None:
        line: MeterLine | WiredLine | RadioLine
        marker, baud = START, DEFAULT_BAUD
        if protocol == "wmbus":
            kind = stick_of(name) if plug is None else plug.stick
            stick = STICKS[kind]
            line = RadioLine(
                name, stick, self.reception, self._device, self._clock, self._hooks.guard
            )
            self.radios.append(line)
            marker, baud = b"\n", stick.BAUD
        elif protocol == "hdlc":
            marker, baud = b"~", self._profile.lmn_bus.baud
            line = WiredLine(name, self._parts)
            self.wired.append(line)
        else:
            hooks, limits = self._hooks, self._profile.sml
            line = MeterLine(name, self._device, self._clock, limits, hooks.changed, hooks.guard)
            self.lines.append(line)
        events = PortEvents(line.on_data, line.on_ready, line.on_lost)
        port: MeterPort
        if plug is not None:
            port = SocketPort(plug.end, self._clock, events)
        else:
            port = open_port(name, self._clock, events, marker, baud, rs485=protocol == "hdlc")
        line.port = port

    # -- life ------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the ports, unless the administrator has switched the interface off (3.3.5)."""
        self._expect()
        self.reception.reconfigured()
        if self._on:
            self._open()
        if self._radio_on:
            self._open_radios()

    def stop(self, *, orderly: bool = True) -> None:
        """Close the ports; ``orderly=False`` is a power cut: nothing is written."""
        self._stop_wired(orderly=orderly)
        for radio in self.radios:
            radio.stop()

    def _stop_wired(self, *, orderly: bool) -> None:
        for line in self.lines:
            line.port.stop()
        for wired in self.wired:
            if orderly:
                wired.stop()
            else:
                wired.power_cut()

    def switch(self, *, on: bool) -> None:
        """The administrator switches the wired interface on or off."""
        self._on = on
        self._expect()  # who cannot be there is not missing
        if on:
            self._open()
        else:
            self._stop_wired(orderly=True)

    def switch_radio(self, *, on: bool) -> None:
        """The administrator switches the wireless interface on or off."""
        self._radio_on = on
        if on:
            self._open_radios()
        else:
            for radio in self.radios:
                radio.stop()

    def _open_radios(self) -> None:
        for radio in self.radios:
            radio.port.start()

    def _open(self) -> None:
        ports = [line.port for line in self.lines] + [line.port for line in self.wired]
        for port in ports:
            port.start()

    def reconfigured(self) -> None:
        """Profiles or keys have changed."""
        self._expect()
        self.reception.reconfigured()
        for line in self.wired:
            line.reconfigured()

    def _expect(self) -> None:
        if self.wired:
            files = set(self._module.files())
            meters = wired_meters(self._device.config, files) if self._on else frozenset()
            self.book.expect(meters, self._device.now(self._clock.now()))

    # -- time ------------------------------------------------------------------------------

    def next_deadline(self) -> WorldTime | None:
        """Return when :meth:`on_deadline` must be called; lines have timers of their own."""
        due = self.book.next_deadline()
        return None if due is None else self._device.clock.world_at(due)

    def on_deadline(self, now: WorldTime) -> None:
        """Do what is due."""
        self.book.on_deadline(self._device.config, self._device.now(now))

    def clock_moved(self) -> None:
        """The device clock was set."""
        for line in self.wired:
            line.clock_moved()

    # -- orders ----------------------------------------------------------------------------

    def line_of(self, meter: str) -> WiredLine:
        """Return the line a meter is on.

        Raises:
            SmgwError: it has no HDLC address.
        """
        for line in self.wired:
            if line.session(meter) is not None:
                return line
        raise SmgwError(f"meter {meter} has no HDLC address")

    def state_of(self, meter: str) -> tuple[str, int]:
        """Return a wired meter's state in words and its HDLC address, 0 for none."""
        if meter in self.book.missing:
            return "missing", 0
        for line in self.wired:
            session = line.session(meter)
            if session is not None:
                return str(session.state), session.station.address
        return "not on a bus", 0

    def give(self, meter: str, order: str, done: Done) -> None:
        """Give a wired meter an order by name; ``done`` is called with its result.

        Raises:
            SmgwError: it has no HDLC address, or there is no such order.
        """
        now = self._device.now(self._clock.now())
        give(self.line_of(meter), meter, order, now, done)

    def order(self, meter: str, order: Order, answer: Answer) -> None:
        """Give an order to a wired meter.

        Raises:
            SmgwError: it has no HDLC address.
        """
        self.line_of(meter).order(meter, order, answer)


def stick_of(source: str) -> str:
    """Return the kind of receiver a source names with ``?stick=``.

    Raises:
        ConfigError: there is no such kind.
    """
    options = parse_qs(source.partition("?")[2])
    kind = options.get("stick", [DEFAULT_STICK])[-1]
    if kind not in STICKS:
        raise ConfigError(f"meter source {source!r}: stick: one of {', '.join(STICKS)}")
    return kind
