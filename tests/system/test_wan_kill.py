"""kill -9 of a gateway that has promised deliveries: none is lost, none comes twice (WAN-50)."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import sys

from support import SMGW

from smgw_emu.bench.emt import MarketParticipant
from smgw_emu.bench.gwa import Administrator, DeliveryNote, GatewayError, Registry
from smgw_emu.bench.gwa.commission import Commissioning, CommissionPlan
from smgw_emu.bench.gwa.note import FORMAT
from smgw_emu.bench.pki import Role, TestPki
from smgw_emu.core.config import Consumer
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.lab.factory import FactoryPlan, make_gateway
from smgw_emu.profiles import load
from smgw_emu.transport.clock import SystemClock

METER = "1EMU0000000001"
ROUNDS = 4


def test_nothing_acknowledged_is_lost_when_the_process_is_killed(tmp_path):
    async def work():
        clock = SystemClock(asyncio.get_running_loop())
        pki = TestPki(clock.now().datetime())
        gwa = Administrator(pki, pki.participant(Role.GWA, "gwa1"), Registry(), clock, load())
        await gwa.start()
        emt = MarketParticipant(pki, pki.participant(Role.EMT, "emt1"), clock, load())
        await emt.start()
        noted = make_gateway(
            tmp_path / "gw", FactoryPlan(clock.now(), gwa.card(), pki, time_valid=True)
        )
        gwa.import_note(DeliveryNote(FORMAT, (noted,)))
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        meter = await asyncio.create_subprocess_exec(
            SMGW, "meter", "sml", "--out", f"tcp://127.0.0.1:{port}", stdout=asyncio.subprocess.PIPE
        )
        await meter.stdout.readline()

        async def start():
            process = await asyncio.create_subprocess_exec(
                SMGW, "run", str(tmp_path / "gw"), "--meter", f"tcp://127.0.0.1:{port}", "--clock", "system",
                stdout=asyncio.subprocess.PIPE, stderr=sys.stderr,
            )  # fmt: skip
            while (await process.stdout.readline()).strip() != b"ready":
                pass
            return process

        gateway = await start()
        begin = DeviceTime.from_seconds(clock.now().seconds // 900 * 900).iso()
        point = UsagePoint("taf7-1", 7, "consumer1", (METER,), begin)
        plan = CommissionPlan(
            participants=[emt.wan_profile(attempts=0, wait_s=1)], meters=[(Meter(METER), b"")],
            consumers=[Consumer("consumer1", "consumer1.sm")], points=[point], renew=False,
        )  # fmt: skip
        await Commissioning(gwa, noted.id, plan).run()
        promised, rng = 0, random.Random(7)
        for _ in range(ROUNDS):
            session = await gwa.session(noted.id, timeout_s=40)
            killing = asyncio.get_running_loop().call_later(
                rng.uniform(0.02, 0.3), gateway.send_signal, signal.SIGKILL
            )
            try:
                while True:
                    promised += await session.read_now(point.name)
            except GatewayError as error:
                assert error.status == 500, error  # the meter was not heard yet
            except SmgwError:
                pass  # the channel died with the process
            killing.cancel()
            if gateway.returncode is None:
                gateway.send_signal(signal.SIGKILL)
            await gateway.wait()
            gwa.sessions.clear()
            gateway = await start()
            await asyncio.sleep(1.2)
        for _ in range(400):
            if emt.received >= promised:
                break
            await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        gateway.terminate()
        await gateway.wait()
        meter.terminate()
        await meter.wait()
        await gwa.stop()
        await emt.stop()
        rows = emt.store.deliveries()
        assert promised >= ROUNDS
        assert len({row["uuid"] for row in rows}) == len(rows) >= promised
        # at most one per kill was queued without its answer getting out
        assert len(rows) <= promised + ROUNDS

    asyncio.run(asyncio.wait_for(work(), 110))
