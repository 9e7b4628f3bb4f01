"""Speed of a device that only lives: 30 days, an idle device, lamps, package checks."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from firmware.package import open_package, sign_package
from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.bench.meters.outputs import SocketOutput, Transmitter
from smgw_emu.bench.pki.manufacturer import new_manufacturer
from smgw_emu.core.instants import DAY, HOUR, MINUTE, WorldTime, parse_device_time
from smgw_emu.core.leds import BootPhase, LedState, leds
from smgw_emu.gateway import Gateway
from smgw_emu.lab.firmware import package_of
from smgw_emu.lab.provision import DEFAULT_METER, Plan, create_gateway
from smgw_emu.profiles import load
from smgw_emu.transport.clock import VirtualClock, new_event_loop
from wan.cms import Trust

START = WorldTime(parse_device_time("2026-03-31T10:00:00Z").ns)
Row = Callable[[str, str, str, str], None]
Rates = Callable[..., list[float]]


async def _live(folder: Path, span: int, interval: int | None) -> tuple[float, float, int]:
    """Run a gateway for a span of virtual time; returns wall seconds, CPU seconds, self-tests."""
    clock = VirtualClock(asyncio.get_running_loop(), START, 0)
    create_gateway(folder, Plan(now=START, han_port=0, control_port=0))
    gateway = Gateway(folder, clock)
    ours, theirs = socket.socketpair()
    output = SocketOutput(ours)
    meter = ElectricityMeter(DEFAULT_METER, clock.now(), seed=1)
    sender = Transmitter(meter.frame, output, clock, interval or HOUR)
    gateway.connect(DEFAULT_METER, theirs)
    await gateway.power_on()
    if interval:
        sender.start()
    await clock.advance(2 * MINUTE)
    wall, cpu = time.perf_counter(), time.process_time()
    await clock.advance(span)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert gateway.running is not None
    log = gateway.running.device.logbooks.entries("system", count=100_000)
    tests = sum(entry.event == "EMU.10.1" for entry in log)
    sender.stop()
    await gateway.power_off()
    output.close()
    theirs.close()
    return wall, cpu, tests


def _run(span: int, interval: int | None) -> tuple[float, float, int]:
    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        return runner.run(_live(Path(folder) / "gateway", span, interval))


def bench_states(row: Row, rates: Rates) -> None:
    """The rows of this room."""
    wall, _, tests = _run(30 * DAY, MINUTE)
    row("30 simulated days, one meter each minute, daily self-tests",
        f"{wall:.1f} s, {tests} self-tests", "", "20 s")  # fmt: skip
    _, cpu, _ = _run(DAY, None)
    per_hour = cpu / 24
    row("an idle device, CPU per hour", f"{1000 * per_hour:.0f} ms",
        f"{100 * per_hour / 3600:.4f} % of a core", "1 %")  # fmt: skip
    times = load().leds
    state = LedState(START, BootPhase.STARTING, han=True, cls=True, han_at=START)
    moments = [START + n * 7_000_000 for n in range(1000)]

    def sample() -> int:
        for moment in moments:
            leds(state, moment, times)
        return len(moments)

    maker = new_manufacturer()
    images = os.urandom(4 << 20), os.urandom(16 << 20)
    package = sign_package(package_of(kernel=images[0], rootfs=images[1]), maker.signer())
    trust = Trust(maker.certificate_der)

    def check() -> int:
        open_package(io.BytesIO(package), {trust.key_id: trust}).check()
        return 1

    def bare() -> int:
        hashlib.sha256(package).digest()
        return 1

    lamps, checks, hashes = rates(sample, check, bare)
    row("eight lamps, one sample", f"{1e6 / lamps:.1f} us", "", "5 us")
    row("firmware of 20 MiB, checked before it boots", f"{1000 / checks:.0f} ms",
        f"{hashes / checks:.2f}x the bare SHA-256", "1.3x")  # fmt: skip
