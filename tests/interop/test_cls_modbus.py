"""A real protocol of other people through the channel: a Modbus client at the EMT, a server behind the box."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest
from cls_lab import NAME, cls_profile, free_port, proxy_profile, put
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice
from support import new_gateway, run_virtual

from hsm_sim import Purpose
from smgw_emu import profiles
from smgw_emu.bench.cls.box import Box, Settings
from smgw_emu.bench.cls.local_port import LocalPort
from smgw_emu.bench.cls.management import ClsManagement
from smgw_emu.bench.cls.steuerbox import Steuerbox, Way
from smgw_emu.bench.pki import Role
from smgw_emu.bench.pki.cls import issue_cls_key
from smgw_emu.bench.pki.folder import open_folder
from smgw_emu.gateway import Gateway


@pytest.mark.req("HAN-62", "HAN-63", "HAN-60")
def test_a_modbus_client_reads_and_writes_a_plant_behind_the_gateway(tmp_path):
    """Registers written at the EMT's local port are those of the plant's own server."""

    async def main(clock):
        now = clock.now().datetime()
        new_gateway(tmp_path / "gw", now=clock.now())
        pki = open_folder(tmp_path / "gw" / "lab-pki")
        limits = profiles.load()
        plant = SimDevice(1, [SimData(0, count=100, values=0, datatype=DataType.REGISTERS)])
        port = free_port()
        server = ModbusTcpServer(plant, address=("127.0.0.1", port))
        served = asyncio.ensure_future(server.serve_forever())
        gateway = Gateway(tmp_path / "gw", clock)
        await gateway.power_on()
        door = LocalPort()
        identity = pki.participant(Role.EMT, "aemt1").identity(Purpose.TLS)
        aemt = ClsManagement(pki, identity, clock, limits, handler=door.channel)
        await aemt.start()
        local = await door.start("127.0.0.1", 0)
        key = issue_cls_key("box1", now)
        put(gateway, "wan", aemt.wan_profile())
        put(gateway, "cls", cls_profile(key, consumer=""))
        put(gateway, "proxy", proxy_profile(1, addresses=()))
        doors = gateway.running.cls.doors
        while not doors.addresses:
            await asyncio.sleep(0.01)
        han = (tmp_path / "gw" / "certs" / "han.der").read_bytes()
        way = Way("socks", *doors.addresses["socks"], han, NAME, forward=("127.0.0.1", port))
        box = Steuerbox(
            Box(Settings(), clock.now()), key, way, clock, limits.tls, random.Random(1).uniform
        )
        await box.start()
        client = AsyncModbusTcpClient(local[0], port=local[1], timeout=10)
        assert await client.connect()
        wanted = [4200, 0, 65_535, 1]
        assert not (await client.write_registers(10, wanted)).isError()
        assert (await client.read_holding_registers(10, count=4)).registers == wanted
        assert (await client.read_holding_registers(0, count=10)).registers == [0] * 10
        (shown,) = gateway.running.cls.states()
        assert (shown.scenario, shown.state) == ("HKS3", "open")
        assert shown.up > 0 < shown.down
        client.close()
        await box.stop()
        await aemt.stop()
        await door.stop()
        await server.shutdown()
        served.cancel()
        await gateway.power_off()
        await asyncio.sleep(0)

    begin = datetime.now(UTC) + timedelta(minutes=1)  # the PKI's folder knows real time only
    run_virtual(main, f"{begin:%Y-%m-%dT%H:%M:%SZ}")
