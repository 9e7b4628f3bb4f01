"""The wired LMN: frames per second, 63 meters on one core, how much of the line is used."""

from __future__ import annotations

import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastcrc.crc16 import ibm_sdlc

from hsm_sim import SecurityModule
from hsm_sim.slots import lmn_master_key
from lmn.hdlc import Frame, Kind, decode_frame, encode_frame
from lmn.sml.orders import read_registers
from smgw_emu import profiles
from smgw_emu.bench.bus.desk import DeskLine, SimClock
from smgw_emu.bench.meters.keys import master_key
from smgw_emu.bench.meters.wired import Rack, make_meters
from smgw_emu.core.config import Gateway, GatewayConfig
from smgw_emu.core.device import Device
from smgw_emu.core.device_clock import DeviceClock
from smgw_emu.core.instants import SECOND, WorldTime, parse_device_time
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.obis import ACTIVE_ENERGY_EXPORT, ACTIVE_ENERGY_IMPORT
from smgw_emu.core.stations import StationBook
from smgw_emu.core.store import Store
from smgw_emu.core.wan_profiles import LmnProfile
from smgw_emu.wired_line import SessionState
from smgw_emu.wired_line.line import LineParts

Row = Callable[[str, str, str, str], None]
BEGIN = WorldTime(parse_device_time("2026-03-31T10:00:00Z").ns)
PROFILE = profiles.load()
_OCTETS = 384  # information of a frame of 397 octets


class _NoKey:
    def sign(self, message: bytes) -> bytes:
        return (message * 64)[:64]


class Watched:
    """A node whose processor time is added up."""

    def __init__(self, inner: DeskLine) -> None:
        self.inner = inner
        self.seconds = 0.0
        self.output = inner.output
        self.next_deadline = inner.next_deadline

    def _timed(self, work: Callable[..., Any], *arguments: Any) -> None:
        begin = time.process_time()
        work(*arguments)
        self.seconds += time.process_time() - begin

    def receive(self, data: bytes, now: WorldTime) -> None:
        """Hear octets."""
        self._timed(self.inner.receive, data, now)

    def on_deadline(self, now: WorldTime) -> None:
        """Do what is due."""
        self._timed(self.inner.on_deadline, now)


def desk(folder: Path, count: int, interval_s: int) -> tuple[Rack, Watched]:
    """A gateway's core, module and line on a simulated bus with so many meters, all ready."""
    meters = make_meters(count, PROFILE, BEGIN)
    registers = (ACTIVE_ENERGY_IMPORT.hex,)
    config = GatewayConfig(
        gateway=Gateway("ETHE0399000001"),
        meter=tuple(Meter(str(m.id), obis=registers) for m in meters),
        lmn=tuple(LmnProfile(str(m.id), "LKS1", "TLS", interval_s=interval_s) for m in meters),
    )
    store = Store(":memory:")
    device = Device(config, PROFILE, store, _NoKey(), DeviceClock(BEGIN), "ab" * 32)
    device.power_on(BEGIN)
    module = SecurityModule(folder / "hsm")
    for meter in meters:
        module.write_file(lmn_master_key(str(meter.id)), master_key(1, str(meter.id)))
    clock = SimClock(BEGIN)
    book = StationBook(device.logbooks, PROFILE.lmn_wired.missing_s)

    def guard(work: Callable[[], None]) -> None:
        work()

    parts = LineParts(device, module, book, PROFILE, clock, lambda: None, guard)
    node = Watched(DeskLine(parts, clock))
    rack = Rack(meters, PROFILE, BEGIN)
    rack.sim.attach(node)
    node.inner.port.start()
    rack.sim.collect(node)
    rack.sim.run_until(BEGIN + 90 * SECOND)
    line = node.inner.line
    ready = [s for s in line.stations if line.session_at(s).state is SessionState.READY]
    if len(ready) != count:
        raise SystemExit(f"only {len(ready)} of {count} meters are ready")
    return rack, node


def bench_frames(row: Row) -> None:
    """Parse a frame of 397 octets, against the checksum alone."""
    data = encode_frame(Frame(1, 1, 58, 1, 0x30, bytes(range(256)) + bytes(_OCTETS - 256)))

    def best(work: Callable[[], object]) -> float:
        return min(timeit.repeat(work, number=20_000, repeat=9)) / 20_000

    mine, bare = best(lambda: decode_frame(data)), best(lambda: ibm_sdlc(data))
    row("HDLC parse, 397 octets", f"{mine * 1e6:.2f} us", f"{mine / bare:.1f}x the CRC", "1.5 us")


def bench_sixty_three(row: Row) -> None:
    """63 meters polled every second: the gateway's processor time per second of the line."""
    with tempfile.TemporaryDirectory() as folder:
        rack, node = desk(Path(folder), 63, 1)
        line = node.inner.line
        before = [reader.read for reader in line._readers.values()]
        node.seconds, seconds = 0.0, 28
        rack.sim.run_until(rack.sim.now + seconds * SECOND)
        reads = sum(reader.read for reader in line._readers.values()) - sum(before)
    share = node.seconds / seconds
    row(
        "63 meters polled every second",
        f"{100 * share:.0f} % of a core",
        f"{reads / seconds:.0f} reads/s, {1e3 * node.seconds / reads:.2f} ms each",
        "50 %",
    )


def bench_efficiency(row: Row) -> None:
    """Three meters read back to back: line time of requests and answers against all time."""
    with tempfile.TemporaryDirectory() as folder:
        rack, node = desk(Path(folder), 3, 3600)
        line, sim = node.inner.line, rack.sim
        order = read_registers([ACTIVE_ENERGY_IMPORT, ACTIVE_ENERGY_EXPORT])
        count = 0

        def ask(meter: str) -> None:
            def answered(*_answer: object) -> None:
                nonlocal count
                count += 1
                if sim.now < end:
                    ask(meter)

            line.order(meter, order, answered)

        begin, end = sim.now, sim.now + 28 * SECOND
        sim.log = []
        node.inner.clock.set(begin)
        for meter in rack.meters:
            ask(meter.id.lower)
        sim.collect(node)
        sim.run_until(end)
        octet = 10 * SECOND // PROFILE.lmn_bus.baud
        useful = sum(
            len(data) * octet
            for _, _, data in sim.log
            if len(data) > 11 and decode_frame(data).kind is Kind.I
        )
    share = useful / (end - begin)
    row(
        "bus efficiency, three meters back to back",
        f"{share:.2f} of the line",
        f"{count / 28:.0f} reads/s",
        "0.8",
    )


def bench_wired(row: Row) -> None:
    """All of it."""
    bench_frames(row)
    bench_sixty_three(row)
    bench_efficiency(row)


if __name__ == "__main__":

    def show(what: str, measured: str, ratio: str, target: str) -> None:
        """Print a line."""
        print(f"{what:<48} {measured:>22} {ratio:>32}   target {target}", flush=True)

    bench_wired(show)
