"""Speed of the living WAN: commissioning, a day's delivery, 500 gateways at one quarter hour."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smgw_emu.bench.emt import MarketParticipant
from smgw_emu.bench.gwa import Administrator, DeliveryNote, Registry
from smgw_emu.bench.gwa.commission import Commissioning, CommissionPlan
from smgw_emu.bench.gwa.note import FORMAT
from smgw_emu.bench.pki import Role, TestPki
from smgw_emu.core.config import Consumer
from smgw_emu.core.instants import SECOND, DeviceTime, WorldTime
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.values import Reading
from smgw_emu.gateway import Gateway
from smgw_emu.lab.factory import FactoryPlan, make_gateway
from smgw_emu.lab.market import Market
from smgw_emu.profiles import load
from smgw_emu.transport.clock import SystemClock, VirtualClock, new_event_loop
from smgw_emu.transport.http import Response
from smgw_emu.transport.tls import TlsConnection
from wan.admin.profiles import ProfileTable
from wan.cosem.classes import load_classes
from wan.delivery import read_value_list

Row = Callable[[str, str, str, str], None]
METER = "1EMU0000000001"
FLEET = 500


def bench_commissioning(row: Row, cpu_seconds: Callable[[int], float]) -> None:
    """CPU of one gateway's process from its first call to running contracts."""

    async def work(folder: Path) -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        clock = SystemClock(loop)
        pki = TestPki(clock.now().datetime())
        gwa = Administrator(pki, pki.participant(Role.GWA, "gwa1"), Registry(), clock, load())
        await gwa.start()
        emt = MarketParticipant(pki, pki.participant(Role.EMT, "emt1"), clock, load())
        await emt.start()
        noted = make_gateway(folder / "gw", FactoryPlan(clock.now(), gwa.card(), pki))
        gwa.import_note(DeliveryNote(FORMAT, (noted,)))
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
            port = listener.getsockname()[1]
        meter = subprocess.Popen(
            [str(Path(sys.executable).with_name("smgw")), "meter", "sml", "--out", f"tcp://127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        await asyncio.sleep(1.5)
        gateway = subprocess.Popen(
            [str(Path(sys.executable).with_name("smgw")), "run", str(folder / "gw"), "--meter",
             f"tcp://127.0.0.1:{port}", "--clock", "system"], stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert gateway.stdout is not None
            while not (await loop.run_in_executor(None, gateway.stdout.readline)).startswith(
                "ready"
            ):
                pass
            before = cpu_seconds(gateway.pid)
            begin = DeviceTime.from_seconds(clock.now().seconds // 900 * 900).iso()
            plan = CommissionPlan(
                participants=[emt.wan_profile()],
                meters=[(Meter(METER), bytes(16))],
                consumers=[Consumer("consumer1", "consumer1.sm", "ab" * 16)],
                points=[UsagePoint(f"taf{n}-1", n, "consumer1", (METER,), begin) for n in (1, 7)],
            )
            steps = await Commissioning(gwa, noted.id, plan).run()
            return cpu_seconds(gateway.pid) - before, sum(step.seconds for step in steps)
        finally:
            gateway.terminate()
            meter.terminate()
            gateway.wait()
            meter.wait()
            await gwa.stop()
            await emt.stop()

    with tempfile.TemporaryDirectory() as folder:
        cpu, seconds = asyncio.run(work(Path(folder)))
    shown = f"{cpu:.2f} s CPU, {seconds:.1f} s with 2 s of quiet and 10 s of pairing"
    row("commissioning of a gateway, all steps", shown, f"{cpu / 1.5:.2f}x the limit", "1.5 s CPU")


class _Taker:
    """A participant that only acknowledges: what it does is not the gateway's work."""

    def __init__(self, emt: MarketParticipant) -> None:
        self.bodies: list[bytes] = []
        emt._push = self.push  # type: ignore[method-assign]
        emt._listener._judge = lambda _leaf: ""

    def push(self, request: Any, _certificate: bytes) -> Response:
        self.bodies.append(request.body)
        return Response(200)


def bench_delivery(row: Row) -> None:
    """A day of 96 values, each over a connection of its own, against handshake and seal alone."""
    rounds = 25

    async def work(folder: Path) -> tuple[float, float]:
        clock = VirtualClock(asyncio.get_running_loop(), WorldTime(time.time_ns()), 0)
        market = Market(clock)
        await market.start()
        gateway = market.factory(folder / "gw")
        await gateway.power_on()
        point = await _contract(market, gateway)
        running = gateway.running
        assert running is not None
        side, device = running.wan, running.device
        taker = _Taker(market.participant)
        readings = [(METER.lower(), _reading(clock, n)) for n in range(96)]
        now = device.now(clock.now())
        receiver = device.config.emt("emt1")
        assert receiver is not None

        async def deliver() -> None:
            with device.store.transaction():
                side.dispatcher._queue(point, receiver, readings, now, "due")
            side.wake()
            while side.outbox.count("emt1"):
                await asyncio.sleep(0)

        def primitives(body: bytes) -> None:
            limits = load().wan_tls
            client = TlsConnection(
                side.partners.context(receiver).context, limits, clock.now(), server_side=False,
                watcher=side.partners.watcher(receiver, None),
            )  # fmt: skip
            server = TlsConnection(market.participant._tls().context, limits, clock.now())
            client.start(clock.now())
            while not (client.established and server.established):
                server.receive(client.output(), clock.now())
                client.receive(server.output(), clock.now())
            side.partners.protection(receiver).seal(body)

        from wan.delivery import write_value_list

        body = write_value_list(side.dispatcher._value_list(point, readings))
        assert len(read_value_list(body).columns[0].entries) == 96
        for _ in range(3):
            await deliver()
            primitives(body)
        best = [float("inf"), float("inf")]
        for _ in range(4):
            begun = time.process_time()
            for _ in range(rounds):
                await deliver()
            best[0] = min(best[0], (time.process_time() - begun) / rounds)
            begun = time.process_time()
            for _ in range(rounds):
                primitives(body)
            best[1] = min(best[1], (time.process_time() - begun) / rounds)
        assert len(taker.bodies) == 3 + 4 * rounds
        await gateway.power_off()
        await market.stop()
        return best[0], best[1]

    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        whole, raw = runner.run(work(Path(folder)))
    row(
        "delivery of a day (96 values)",
        f"{whole * 1000:.1f} ms CPU, both ends",
        f"{whole / raw:.2f}x handshake and seal",
        "1.6x",
    )


def _reading(clock: VirtualClock, number: int) -> Reading:
    from smgw_emu.core.obis import ACTIVE_ENERGY_IMPORT

    target = DeviceTime(clock.now().ns // (900 * SECOND) * 900 * SECOND + number * 900 * SECOND)
    return Reading(METER.lower(), ACTIVE_ENERGY_IMPORT, target, target, 123_456 + number, -1, 30,
                   0xA0000000, 0x20000000, False, bytes(64), number + 1)  # fmt: skip


async def _contract(market: Market, gateway: Gateway) -> UsagePoint:
    """Give a gateway a participant, a meter, a consumer and a contract, as the tree takes them."""
    assert gateway.running is not None
    tree, table = gateway.running.wan.tree, ProfileTable(load_classes())
    point = UsagePoint("taf7-1", 7, "consumer1", (METER,), "2026-01-01T00:00:00Z")
    for kind, record, ldev in (
        ("wan", market.participant.wan_profile(), "emt1.sm"),
        ("meter", Meter(METER), f"{METER.lower()}.sm"),
        ("consumer", Consumer("consumer1", "consumer1.sm"), "consumer1.sm"),
        ("usage-point", point, "taf7-1.sm"),
    ):
        tree.put_container(ldev, table.container_id(kind, record), table.write(kind, record, {}))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    return point


def bench_fleet(row: Row, count: int = FLEET) -> None:
    """Gateways of one process deliver to one participant at the same quarter hour."""

    async def work(folder: Path) -> tuple[float, int, float]:
        clock = VirtualClock(asyncio.get_running_loop(), WorldTime(time.time_ns()), 0)
        market = Market(clock)
        await market.start()
        gateways, points = [], []
        made = time.perf_counter()
        for number in range(count):
            gateway = market.factory(
                folder / f"g{number}", gateway_id=f"ETHE039800{number:04d}", time_valid=True
            )
            await gateway.power_on()
            points.append(await _contract(market, gateway))
            gateways.append(gateway)
        made = time.perf_counter() - made
        # what the administrator is told has gone out before the clock starts
        while any(g.running and g.running.wan.outbox.count("") for g in gateways):
            await asyncio.sleep(0.05)
        begun = time.perf_counter()
        for gateway, point in zip(gateways, points, strict=True):
            running = gateway.running
            assert running is not None
            receiver = running.device.config.emt("emt1")
            assert receiver is not None
            readings = [(METER.lower(), _reading(clock, n)) for n in range(96)]
            with running.device.store.transaction():
                running.wan.dispatcher._queue(
                    point, receiver, readings, running.device.now(clock.now()), "due"
                )
            running.wan.wake()
        while market.participant.received < count and time.perf_counter() - begun < 300:
            await asyncio.sleep(0.01)
        seconds = time.perf_counter() - begun
        received = market.participant.received
        for gateway in gateways:
            await gateway.power_off()
        await market.stop()
        return seconds, received, made

    with (
        tempfile.TemporaryDirectory() as folder,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        seconds, received, _ = runner.run(work(Path(folder)))
    row(
        f"{count} gateways deliver at one quarter hour",
        f"{received} of {count} in {seconds:.1f} s",
        f"{seconds / 60:.2f}x the limit",
        "60 s, none lost",
    )
