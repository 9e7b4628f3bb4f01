"""Wireless meters as the administrator brings them: profile, key, contract over the WAN."""

from __future__ import annotations

import socket

import pytest
from radio_lab import wireless
from support import START, run_virtual
from wan_lab import wan_lab

from smgw_emu.bench.bus.live import socket_wire
from smgw_emu.bench.radio import Broadcaster
from smgw_emu.bench.radio.live import LiveStick
from smgw_emu.bench.radio.sticks import virtual_stick
from smgw_emu.core.instants import MINUTE, SECOND
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.obis import Obis
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import LmnProfile


@pytest.mark.req("H07", "LMN-10", "LMN-18")
def test_from_the_factory_to_values_of_a_gas_meter(tmp_path):
    """Unknown, then configured with its key; a new key begins a new row of counters."""
    meter = wireless("gas")

    async def main(clock):
        ours, theirs = socket.socketpair()
        stick = LiveStick(virtual_stick("im871a"), socket_wire(ours))
        stick.start()
        air = Broadcaster([meter], lambda _meter, frame: stick.hear(frame, "T"), clock, 15)
        air.start()

        async def send():
            air.transmit(meter)
            await clock.advance(SECOND)

        try:
            async with wan_lab(tmp_path, clock, plug=("radio", theirs, "wmbus", "im871a")) as lab:
                verdicts = lab.gateway.running.lmn.reception.inbox.verdicts
                await clock.advance(5 * SECOND)
                await send()
                assert {v.value for v in verdicts} == {"unknown meter"}
                begin = lab.plan().points[0].start
                profile = Meter(
                    meter.id,
                    obis=(Obis.parse(meter.kind.obis).hex,),
                    unit=13,
                    scaler=-3,
                    word="wireless",
                )
                await lab.commission(
                    meters=[(profile, meter.key)],
                    lmn=[LmnProfile(meter.id, "LKS2", "SYM", "M-BUS")],
                    points=[UsagePoint("taf7-gas", 7, "consumer1", (meter.id,), begin)],
                )
                await send()
                key = meter.id.lower()
                counter = f"lmn-counter {key}"
                assert lab.device.store.get_meta(counter) == str(meter.counter - 1)
                assert {m for m, _ in lab.device.metering.current} == {key}
                # a meter that was given a new key begins to count anew
                meter.key, meter.counter = bytes(range(16)), 1
                await send()
                assert int(lab.device.store.get_meta(counter)) > 2
                session = await lab.session()
                secret = {"master_key": meter.key}
                await lab.market.drive(session.put_profile("meter", profile, secret))
                await send()
                assert lab.device.store.get_meta(counter) == str(meter.counter - 1)
                assert lab.logged(meter.key.hex()) == 0
                await clock.advance(MINUTE)
        finally:
            air.stop()
            stick.stop()
            theirs.close()

    run_virtual(main, START)
