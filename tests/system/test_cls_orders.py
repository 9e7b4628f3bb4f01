"""HKS4 and HKS5: the administrator's order and the gateway's own start; the CLS is a TLS server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from cls_lab import NAME, Box, cls_lab
from support import START, run_virtual

from secure_state.machine import Cause
from smgw_emu.bench.gwa.session import GatewayError
from smgw_emu.bench.pki.cls import issue_cls_key
from smgw_emu.core.instants import HOUR, MINUTE, SECOND
from smgw_emu.gateway import Gateway


@asynccontextmanager
async def ordered_lab(folder, clock, *, box=True, **proxy):
    """A gateway whose CLS listens; ``box=False``: it is not there."""
    key = issue_cls_key("box1", clock.now().datetime())
    cls = Box(key)
    if box:
        await cls.start()
    fields = {"initiator": "HKS4"} | proxy
    place = (f"127.0.0.1:{cls.port}",)
    try:
        async with cls_lab(folder, clock, key=key, echo=False, cls={"addresses": place},
                           proxy=fields) as lab:  # fmt: skip
            yield lab, cls
    finally:
        await cls.stop()


def run(folder, work, **proxy):
    async def main(clock):
        async with ordered_lab(folder, clock, **proxy) as (lab, box):
            await work(lab, box)

    run_virtual(main, START)


async def order(lab, what="connect"):
    session = await lab.lab.session()
    return await lab.lab.market.drive(session.proxy_order("proxy1", what))


@pytest.mark.req("H19", "WAN-64", "WAN-65")
def test_the_administrator_orders_a_channel(tmp_path):
    """F19: HAN leg, response, WAN leg, response, data; the EMT ends it, the CLS leg goes first."""

    async def work(lab, box):
        answer = await order(lab)
        assert (answer.status, answer.data.value) == (0, "open")
        assert lab.states() == ["open"]
        assert box.names == [NAME]  # localServerName towards the CLS
        state = await lab.lab.market.drive((await lab.lab.session()).proxy_state("proxy1"))
        assert state["state"] == "open"
        lab.emt.writers[0].write(b"limit 4200")
        await lab.settle(lambda: box.received == b"limit 4200")
        box.writers[0].write(b"done")
        await lab.settle(lambda: lab.emt.received == b"done")
        assert (bytes(box.received), bytes(lab.emt.received)) == (b"limit 4200", b"done")
        await lab.lab.until(lambda: len(lab.lab.events("cls-connect-response")) == 2)
        told = [event["message"] for event in lab.lab.events("cls-connect-response")]
        assert sorted("HAN" in text for text in told) == [False, True]
        lab.emt.writers[0].close()
        await lab.settle(lambda: not lab.line.channels)
        assert box.ended == 1
        assert lab.states() == []
        assert lab.lab.logged("beendet: closed by the EMT (4 Oktette zum EMT, 10 zum CLS)")

    run(tmp_path, work)


def test_the_administrator_ends_a_channel(tmp_path):
    """Disconnect closes the EMT's leg first (F21), then the CLS's; a second one finds nothing."""

    async def work(lab, box):
        assert (await order(lab)).status == 0
        with pytest.raises(GatewayError, match="the channel is there already"):
            await order(lab)
        assert (await order(lab, "disconnect")).status == 0
        await lab.settle(lambda: not lab.line.channels)
        assert (lab.emt.ended, box.ended) == (1, 1)
        with pytest.raises(GatewayError, match="no channel"):
            await order(lab, "disconnect")

    run(tmp_path, work)


@pytest.mark.parametrize("missing", ["cls", "emt"])
def test_one_of_the_two_is_not_there(tmp_path, missing):
    """The order fails with the reason, the other leg is closed, the administrator is told."""

    async def work(lab, box):
        if missing == "emt":
            await lab.emt.stop()
        answer = await order(lab)
        assert answer.status == 3
        assert answer.data.value == f"{missing.upper()}: connection refused"
        await lab.settle(lambda: not lab.line.channels)
        assert lab.states() == []
        assert box.ended == (1 if missing == "emt" else 0)
        assert lab.emt.opened == 0
        await lab.lab.until(lambda: lab.lab.events("cls-channel-failed"))

    run(tmp_path, work, box=missing != "cls")


def test_attempts_and_pauses_are_the_profiles(tmp_path):
    """T18: repetitions and the pause between them; all failed is one entry in the system log."""

    async def work(lab, box):
        session = await lab.lab.session()
        answer = asyncio.ensure_future(session.proxy_order("proxy1", "connect"))
        await lab.settle()
        await lab.clock.advance(50 * SECOND)
        assert not answer.done()
        await box.start()
        await lab.lab.market.drive(asyncio.wait_for(answer, None))
        assert answer.result().status == 0
        assert lab.lab.logged("nicht aufgebaut") == 0

    run(tmp_path, work, box=False, attempts=2, wait_s=40)


def test_a_cls_with_another_certificate(tmp_path):
    """Only the certificate of the profile is that CLS."""

    async def work(lab, box):
        await box.stop()
        other = Box(issue_cls_key("box1", lab.clock.now().datetime()))
        other.port = box.port
        await other.start()
        answer = await order(lab)
        assert answer.status == 3
        assert "handshake failed" in answer.data.value
        assert lab.emt.opened == 0
        await other.stop()

    run(tmp_path, work)


def test_only_profiles_for_it_can_be_ordered(tmp_path):
    """An HKS3 profile is not opened by an order, nor one outside its validity."""

    async def work(lab, box):
        with pytest.raises(GatewayError, match="proxy profile 'proxy1' is not valid now"):
            await order(lab)
        await lab.clock.advance(25 * HOUR)
        assert (await order(lab)).status == 0

    run(tmp_path, work, valid_from="2026-04-01T10:00:00Z")


@pytest.mark.parametrize("start", ["every:900", "daily:10:15", "event:self-test-passed"])
def test_the_gateway_opens_a_channel_itself(tmp_path, start):
    """F21: WAN leg first, then the HAN leg; no second one while it stands; again when it is over."""

    async def work(lab, box):
        await lab.settle(lambda: bool(lab.states()))
        if start.startswith("event"):
            await lab.clock.advance(11 * MINUTE)  # the lock after the one at power-up
            assert lab.states() == []
            await lab.lab.market.drive((await lab.lab.session()).self_test())
        else:
            while not lab.states():
                await lab.clock.advance(MINUTE)
            now = lab.clock.now().datetime()
            assert (now.minute % 15, now.second < 60) == (0, True)
        await lab.settle(lambda: lab.states() == ["open"])
        assert lab.states() == ["open"]
        assert (lab.emt.opened, len(box.writers)) == (1, 1)
        if start == "every:900":
            await lab.clock.advance(30 * MINUTE)
            assert lab.emt.opened == 1
            lab.emt.writers[0].close()
            await lab.settle(lambda: not lab.line.channels)
            await lab.clock.advance(15 * MINUTE)
            await lab.settle(lambda: lab.states() == ["open"])
            assert lab.emt.opened == 2

    run(tmp_path, work, initiator="HKS5", start=start)


def test_an_emt_that_speaks_first(tmp_path):
    """HKS5: what the EMT says before the CLS is there waits for it; nothing is lost."""

    async def work(lab, box):
        async def serve(_reader, writer):
            lab.emt.writers.append(writer)
            writer.write(b"hello box " * 20_000)  # more than is kept: the rest waits at the EMT
            await asyncio.Event().wait()

        lab.emt._serve = serve
        await box.stop()
        while not lab.states():
            await lab.clock.advance(MINUTE)
        await lab.settle(lambda: lab.states() == ["opening the HAN leg"])
        await lab.settle()
        assert len(lab.line.channels[0]._early) < 300_000
        await box.start()
        await lab.clock.advance(31 * SECOND)
        await lab.settle(lambda: len(box.received) == 200_000)
        assert bytes(box.received) == b"hello box " * 20_000

    run(tmp_path, work, initiator="HKS5", start="every:900", attempts=3, wait_s=30)


def test_a_name_no_hello_can_carry(tmp_path):
    """DS v2.0 allows a leading point, TLS does not: the order fails with the reason."""

    async def work(lab, box):
        answer = await order(lab)
        assert answer.status == 3
        assert "label empty" in answer.data.value
        assert lab.states() == []

    run(tmp_path, work, server_name=".netz")


def test_an_order_that_a_secure_state_overtakes_is_answered(tmp_path):
    """The administrator waits for a result; he gets it although no leg ever stood."""

    async def work(lab, box):
        session = await lab.lab.session()
        answer = asyncio.ensure_future(session.proxy_order("proxy1", "connect"))
        await lab.settle(lambda: lab.states() == ["opening the HAN leg"])
        lab.lab.gateway._enter(Cause.SEPARATION, "test")
        assert lab.states() == []
        await lab.lab.market.drive(asyncio.wait_for(answer, None))
        assert (answer.result().status, answer.result().data.value) == (3, "connectivity")

    run(tmp_path, work, box=False, attempts=2, wait_s=40)


def test_without_a_cable_nobody_is_let_in_from_the_start(tmp_path):
    """HW-07: the listeners open when the first cable is in, also after power-up without one."""

    async def main(clock):
        async with cls_lab(tmp_path, clock) as lab:
            gateway = lab.lab.gateway
            await gateway.power_off()
            config = gateway.directory / "config.toml"
            config.write_text(config.read_text() + "\n[link]\nhan = false\n")
            gateway.config = Gateway(gateway.directory, clock).config
            await gateway.power_on()
            await lab.settle()
            assert lab.line.doors.addresses == {}
            gateway.set_link(msgspec.structs.replace(gateway.running.watch.link, cls=True))
            await lab.settle(lambda: bool(lab.line.doors.addresses))
            await lab.channel()

    run_virtual(main, START)
