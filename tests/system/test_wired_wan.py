"""Wired meters as the administrator deals with them: H05, LMN-08, LMN-N02, LMN-N04 over the WAN."""

from __future__ import annotations

import socket

import pytest
from support import START, run_virtual
from wan_lab import wan_lab
from wired_lab import PROFILE, SEED, rack_of

from smgw_emu.bench.bus import LiveBus
from smgw_emu.bench.bus.live import socket_wire
from smgw_emu.bench.gwa.session import GatewayError
from smgw_emu.bench.meters.keys import master_key
from smgw_emu.bench.meters.wired import Rack
from smgw_emu.bench.meters.wired.registers import MAGNETIC
from smgw_emu.core.instants import MINUTE, SECOND
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import LmnProfile


def run_lab(tmp_path, work, count=2, **options):
    """A factory gateway, its market, and a bus of meters nobody has told it of."""

    async def main(clock):
        meters = rack_of(count, clock.now(), **options)
        rack = Rack(meters, PROFILE, clock.now())
        ours, theirs = socket.socketpair()
        live = LiveBus(rack.sim, socket_wire(ours), clock)
        live.start()
        try:
            async with wan_lab(tmp_path, clock, plug=("rs485", theirs, "hdlc")) as lab:
                return await work(lab, meters)
        finally:
            live.stop()
            theirs.close()

    return run_virtual(main, START)


async def commission(lab, meters):
    """Bring profiles, keys and contracts for the meters."""
    begin = lab.plan().points[0].start
    names = [str(m.id) for m in meters]
    await lab.commission(
        meters=[(Meter(name), master_key(SEED, name)) for name in names],
        lmn=[
            LmnProfile(name, "LKS1", "TLS", quirk=m.registers.model.quirk)
            for name, m in zip(names, meters, strict=True)
        ],
        points=[
            UsagePoint(f"taf7-{n}", 7, "consumer1", (name,), begin) for n, name in enumerate(names)
        ],
    )


@pytest.mark.req("H05")
@pytest.mark.req("LMN-08")
@pytest.mark.req("LMN-18")
def test_from_the_factory_to_values_of_wired_meters(tmp_path):
    """Profiles and MK0 over the WAN, pairing, TLS, values; success is told to the administrator."""

    async def work(lab, meters):
        await commission(lab, meters)
        await lab.clock.advance(16 * MINUTE)
        session = await lab.session()
        for meter in meters:
            assert meter.memory.paired
            state = await lab.market.drive(session.meter_state(str(meter.id)))
            assert state == {"state": "ready", "address": meter.place.address}
        told = [e for e in lab.events() if "ausgetauscht" in str(e)]
        assert len(told) == 2
        assert {m for m, _ in lab.device.metering.current} == {m.id.lower for m in meters}

    run_lab(tmp_path, work)


@pytest.mark.req("L03")
def test_a_wrong_key_is_reported_and_a_right_one_repairs(tmp_path):
    async def work(lab, meters):
        name = str(meters[0].id)
        session = await lab.session()
        wrong = session.put_profile("meter", Meter(name), {"master_key": bytes(16)})
        await lab.market.drive(wrong)
        await lab.clock.advance(60 * SECOND)
        assert lab.logged("Pairing fehlgeschlagen")
        assert [e for e in lab.events() if "Pairing fehlgeschlagen" in str(e)]
        assert not meters[0].memory.paired
        session = await lab.session()
        right = {"master_key": master_key(SEED, name)}
        await lab.market.drive(session.put_profile("meter", Meter(name), right))
        await lab.clock.advance(30 * SECOND)
        assert meters[0].memory.paired
        # the same key once more begins no new row of counters: old answers stay refused
        counter = lab.device.store.get_meta(f"lmn-counter {name.lower()}")
        assert int(counter) > 1
        session = await lab.session()
        await lab.market.drive(session.put_profile("meter", Meter(name), right))
        assert lab.device.store.get_meta(f"lmn-counter {name.lower()}") == counter

    run_lab(tmp_path, work, count=1)


@pytest.mark.req("LMN-N04")
@pytest.mark.req("L08")
def test_orders_of_the_administrator(tmp_path):
    """Each answers later over ADMIN-SERVICE, with its result."""

    async def work(lab, meters):
        (meter,) = meters
        await commission(lab, meters)

        async def order(name):
            session = await lab.session()
            answer = await lab.market.drive(session.meter_order(str(meter.id), name))
            return answer.status, "" if answer.data is None else str(answer.data.value)

        status, text = await order("information")
        assert status == 0
        assert "firmware 0.32" in text
        assert "MT631" in text
        meter.registers.tamper(lab.clock.now(), MAGNETIC)
        status, text = await order("log")
        assert (status, text.split()[-1]) == (0, "9")
        written, reset = [], meter.server._reset
        meter.server._reset = lambda value, bits: (written.append(bits), reset(value, bits))
        assert (await order("reset-tamper"))[0] == 0
        assert written == [MAGNETIC]  # only what the status word says
        assert not meter.registers.meter.status_faults
        assert await order("reset-tamper") == (0, "no tamper state is set")
        assert written == [MAGNETIC]
        assert (await order("set-time"))[0] == 0
        status, text = await order("clock")
        assert "offset 7200; state 0" in text  # summer time
        before = meter.memory.certificate
        assert (await order("renew"))[0] == 0
        renewed = meter.memory.certificate
        assert renewed != before
        assert (await order("crypto-reset"))[0] == 0
        await lab.clock.advance(30 * SECOND)
        assert meter.memory.paired
        assert meter.memory.certificate != renewed
        meter.faults.silent = True
        await lab.clock.advance(60 * SECOND)
        with pytest.raises(GatewayError, match="no HDLC address"):
            await order("information")
        session = await lab.session()
        state = await lab.market.drive(session.meter_state(str(meter.id)))
        assert state == {"state": "missing", "address": 0}
        assert [e for e in lab.events() if "fehlt am" in str(e)]

    run_lab(tmp_path, work, count=1)


def test_an_early_emh_meter_is_paired_with_its_quirk(tmp_path):
    """lmn-wired.md 1.5: K and L codes exchanged, zero padding."""

    async def work(lab, meters):
        await commission(lab, meters)
        assert meters[0].memory.paired

    run_lab(tmp_path, work, count=1, models=("eHZ-early",))
