"""A gateway with a simulated RS-485 bus of virtual meters, on the virtual clock."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from support import START, new_gateway, run_virtual, world

from hsm_sim.slots import lmn_master_key
from lmn.bus import Bus, BusEvent
from smgw_emu import profiles
from smgw_emu.bench.bus import BusSim, Faults, LiveBus
from smgw_emu.bench.bus.live import socket_wire
from smgw_emu.bench.meters.keys import master_key
from smgw_emu.bench.meters.wired import Rack, WiredMeter, make_meters
from smgw_emu.core.instants import SECOND, DeviceTime, WorldTime
from smgw_emu.core.obis import ACTIVE_ENERGY_IMPORT
from smgw_emu.gateway import Gateway
from smgw_emu.transport.clock import VirtualClock
from smgw_emu.wired_line import SessionState, WiredLine

PROFILE = profiles.load()
RULES = PROFILE.lmn_bus
SEED = 1


class PrimaryNode:
    """A bus's primary as a node of the simulated line."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.events: list[tuple[WorldTime, BusEvent]] = []
        self.on_event: Callable[[BusEvent, WorldTime], None] = lambda _event, _now: None
        self._out: list[tuple[WorldTime, bytes]] = []

    def start(self, now: WorldTime) -> None:
        self.bus.start(now)
        self._take([], now)

    def receive(self, data: bytes, now: WorldTime) -> None:
        self._take(self.bus.receive(data, now), now)

    def next_deadline(self) -> WorldTime | None:
        return self.bus.next_deadline()

    def on_deadline(self, now: WorldTime) -> None:
        self._take(self.bus.on_deadline(now), now)

    def wake(self, now: WorldTime) -> None:
        self._take([], now)

    def output(self) -> list[tuple[WorldTime, bytes]]:
        out, self._out = self._out, []
        return out

    def _take(self, events: list[BusEvent], now: WorldTime) -> None:
        for event in events:
            self.events.append((now, event))
            self.on_event(event, now)
        self.bus.wake(now)
        data = self.bus.output()
        if data:
            self._out.append((now, data))


def bus_with(meters: list[WiredMeter], faults: Faults | None = None) -> tuple[BusSim, PrimaryNode]:
    """Return a line with a primary and meters, started."""
    sim = BusSim(RULES.baud, world(START), faults)
    primary = PrimaryNode(Bus(RULES))
    sim.attach(primary)
    for meter in meters:
        sim.attach(meter)
    primary.start(sim.now)
    sim.collect(primary)
    return sim, primary


def meter_table(meter: WiredMeter, **lmn: Any) -> str:
    """Return the tables of a configuration for one wired meter."""
    codes = ", ".join(
        f'"{obis.hex}"' for obis in meter.registers.values(WorldTime(0)) if obis.is_counter
    )
    quirk = meter.registers.model.quirk
    fields = {
        "meter": str(meter.id),
        "scenario": "LKS1",
        "protection": "TLS",
        "quirk": quirk,
        **lmn,
    }
    rows = "\n".join(
        f"{k} = {v!r}" if isinstance(v, int) else f'{k} = "{v}"' for k, v in fields.items()
    )
    return f'\n[[meter]]\nid = "{meter.id}"\nobis = [{codes}]\n\n[[lmn]]\n{rows}\n'


def wired_gateway(
    home: Path,
    meters: list[WiredMeter],
    keys: dict[str, bytes] | None = None,
    extra: str = "",
    **plan: Any,
) -> Path:
    """Make a gateway that knows the meters and their keys, without contracts for them."""
    new_gateway(home, **plan)
    text = (home / "config.toml").read_text()
    text += "".join(meter_table(meter) for meter in meters) + extra
    (home / "config.toml").write_text(text)
    put_keys(home, meters, keys)
    return home


def put_keys(home: Path, meters: list[WiredMeter], keys: dict[str, bytes] | None = None) -> None:
    from hsm_sim import SecurityModule

    module = SecurityModule(home / "hsm")
    for meter in meters:
        key = (keys or {}).get(str(meter.id), master_key(SEED, str(meter.id)))
        module.write_file(lmn_master_key(str(meter.id)), key)


class WiredLab:
    """A running gateway, its bus, its meters."""

    def __init__(
        self,
        home: Path,
        clock: VirtualClock,
        meters: list[WiredMeter],
        faults: Faults | None = None,
        name: str = "lmn1",
    ) -> None:
        self.home = home
        self.clock = clock
        self.meters = meters
        self.rack = Rack(meters, PROFILE, clock.now(), faults)
        ours, theirs = socket.socketpair()
        self.plug = theirs
        self.live = LiveBus(self.rack.sim, socket_wire(ours), clock)
        self.gateway = Gateway(home, clock)
        self.gateway.connect(name, theirs, "hdlc")

    async def __aenter__(self) -> Self:
        self.live.start()
        await self.gateway.power_on()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.gateway.power_off()
        self.live.stop()
        self.plug.close()
        await asyncio.sleep(0)

    @property
    def line(self) -> WiredLine:
        assert self.gateway.running is not None
        return self.gateway.running.lmn.wired[0]

    @property
    def device(self) -> Any:
        assert self.gateway.running is not None
        return self.gateway.running.device

    def log(self, *events: str) -> list[str]:
        """Return messages of the system log, oldest first; of those events only."""
        wanted = {self.device.logbooks._catalogue[name].id for name in events} if events else None
        entries = self.device.logbooks.last("system", "", 5000)
        return [e.message for e in entries if wanted is None or e.event in wanted]

    async def seconds(self, count: float) -> None:
        await self.clock.advance(int(count * SECOND))


def rack_of(count: int, now: WorldTime, **options: Any) -> list[WiredMeter]:
    return make_meters(count, options.pop("profile", PROFILE), now, seed=SEED, **options)


CONTRACT = """
[[usage_point]]
name = "wired-{number}"
taf = 7
consumer = "consumer1"
meters = ["{meter}"]
start = "2026-03-31T10:00:00Z"
"""


def contracts(meters) -> str:
    return "".join(CONTRACT.format(number=n, meter=m.id) for n, m in enumerate(meters))


def run_lab(tmp_path, count, work, *, faults=None, keys=None, known=None, profile="", **options):
    """Run a lab with so many meters; ``known``: how many of them are configured."""

    async def main(clock):
        meters = rack_of(count, clock.now(), **options)
        mine = meters[: count if known is None else known]
        plan = {"profile": profile} if profile else {}
        home = wired_gateway(tmp_path / "gateway", mine, keys, contracts(mine), **plan)
        async with WiredLab(home, clock, meters, faults) as lab:
            return await work(lab)

    return run_virtual(main)


def ready(lab) -> set[str]:
    found = set()
    for station in lab.line.stations:
        session = lab.line.session_at(station)
        if session is not None and session.state is SessionState.READY:
            found.add(session.credentials.meter)
    return found


def keys_of(meters) -> set[str]:
    return {m.id.lower for m in meters}


def origin(lab, meter):
    """The stored lines of a meter's imported energy."""
    begin, end = DeviceTime(0), lab.device.now(lab.clock.now())
    (series,) = {s for m, s in lab.device.metering._registrars if m == meter.id.lower}
    found = lab.device.store.readings("origin", meter.id.lower, series, begin, end)
    return [r for r in found if r.obis == ACTIVE_ENERGY_IMPORT]


async def ordered(lab, meter, order):
    """Give an order; returns (messages, reason) once the meter has answered."""
    answers = []
    lab.gateway.running.lmn.order(
        meter.id.lower, order, lambda messages, reason, _at: answers.append((messages, reason))
    )
    await lab.seconds(2)
    (answer,) = answers
    return answer
