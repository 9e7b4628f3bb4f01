"""The cascade: active EMT, administrator, gateway, Steuerbox, plant (H19, K06 to K09)."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import pytest
from cls_lab import NAME, cls_profile, free_port, proxy_profile
from support import START, run_virtual
from wan_lab import wan_lab

from hsm_sim import Purpose
from smgw_emu import profiles
from smgw_emu.bench.cls.box import Box, Settings, State
from smgw_emu.bench.cls.coordination import Light, Request
from smgw_emu.bench.cls.desk import Desk
from smgw_emu.bench.cls.management import ChannelError, ClsManagement
from smgw_emu.bench.cls.steuerbox import Steuerbox, Way
from smgw_emu.bench.cls.words import Order, Step
from smgw_emu.bench.gwa.cls_access import ClsAccess
from smgw_emu.bench.pki import Role
from smgw_emu.bench.pki.cls import issue_cls_key
from smgw_emu.core.instants import HOUR, MINUTE, SECOND
from smgw_emu.lab.market import Market

PROFILE = profiles.load()


class Cascade:
    """Everybody between a trigger and a plant."""

    def __init__(self, lab, access, aemt, box):
        self.lab, self.access, self.aemt, self.box = lab, access, aemt, box

    @property
    def clock(self):
        return self.lab.clock

    def switch(self, **order):
        order = {"do": "limit", "watts": 4200} | order
        return self.lab.market.drive(
            self.aemt.switch(self.lab.id, "proxy1", Order(0, **order)), limit_s=1800
        )

    async def settle(self, condition):
        for _ in range(300):
            if condition():
                return
            await asyncio.sleep(0.002)
        raise AssertionError("did not happen")

    async def beat(self, seconds):
        """Let time pass with a heartbeat each minute."""
        for _ in range(seconds // 60):
            await self.clock.advance(MINUTE)
            if self.aemt.links:
                await self.switch(do="heartbeat")


@contextlib.asynccontextmanager
async def cascade(folder, clock, mode="listen"):
    async with wan_lab(folder, clock) as lab:
        pki, now = lab.market.pki, clock.now().datetime()
        access = ClsAccess(lab.gwa)
        identity = pki.participant(Role.EMT, "aemt1").identity(Purpose.TLS)
        aemt = ClsManagement(pki, identity, clock, PROFILE)
        aemt.ask = lambda gateway, proxy: access.ask("aemt1", gateway, proxy)
        await aemt.start()
        key, port = issue_cls_key("box1", now), free_port()
        listen = mode == "listen"
        await lab.commission(
            participants=[lab.emt.wan_profile(), aemt.wan_profile()],
            cls=[cls_profile(key, addresses=(f"127.0.0.1:{port}",))],
            proxies=[proxy_profile(1, addresses=(), initiator="HKS4" if listen else "HKS3")],
        )
        door = lab.gateway.running.cls.doors.addresses
        place = ("127.0.0.1", port) if listen else door["tls" if mode == "sni" else "socks"]
        han = (lab.gateway.directory / "certs" / "han.der").read_bytes()
        box = Steuerbox(
            Box(Settings(), clock.now()), key, Way(mode, *place, han, NAME), clock, PROFILE.tls,
            lambda least, most: (least + most) / 2,
        )  # fmt: skip
        await box.start()
        try:
            yield Cascade(lab, access, aemt, box)
        finally:
            await box.stop()
            await aemt.stop()
            await asyncio.sleep(0)


def run(folder, work, mode="listen"):
    async def main(clock):
        async with cascade(folder, clock, mode) as parties:
            await work(parties)

    run_virtual(main, START)


@pytest.mark.req("H19", "WAN-60", "WAN-61", "WAN-62", "WAN-64", "WAN-65", "WAN-66", "WAN-70")
def test_the_cascade_from_trigger_to_confirmation(tmp_path):
    """Trigger, no channel, request, permission, wake-up, channel, limit, confirmation; 12 minutes."""

    async def work(c):
        lab = c.lab
        lab.market.wakeup_known(lab.gateway)
        c.access.permit("aemt1", lab.id, "proxy1")
        for line in lab.wan.lines.values():
            line.drop()  # MANAGEMENT is not there: a wake-up is needed
        await c.settle(lambda: lab.id not in lab.gwa.sessions)
        done = await c.switch(watts=4200, seconds=900)
        assert [name for name, _ in done.steps] == [
            "triggered", "no channel", "ordered", "channel stands", "sent", "confirmed",
        ]  # fmt: skip
        assert (done.answer.state, done.answer.limit) == ("limited", 4200)
        assert done.in_budget
        assert done.seconds < 720
        again = await c.switch(do="relay", number=2, on=True)
        assert [name for name, _ in again.steps][1] == "channel stands"
        assert c.box.box.relays == [False, True]
        assert lab.logged("Transparenter Kanal proxy1 (HKS4)") == 1
        assert [h for h in lab.gwa.registry.history(lab.id, 50) if h["kind"] == "cls"]
        await c.beat(900)
        assert c.box.box.state is State.UNLIMITED

    run(tmp_path, work)


@pytest.mark.req("H18", "HAN-61", "HAN-N10", "HAN-N11", "WAN-74")
@pytest.mark.parametrize("mode", ["socks", "sni"])
def test_a_box_that_asks_by_itself(tmp_path, mode):
    """HKS3: the channel is there before anybody asks; a schedule is carried out on time."""

    async def work(c):
        await c.settle(lambda: bool(c.aemt.links))
        done = await c.switch(do="schedule", steps=(Step(0, 9000), Step(120, 3000), Step(240)))
        assert [name for name, _ in done.steps][1] == "channel stands"
        limits = []
        for _ in range(5):
            limits.append(c.box.box.limit)
            await c.beat(60)
        assert limits == [9000, 9000, 3000, 3000, None]
        assert c.box.tries == 1

    run(tmp_path, work, mode)


@pytest.mark.req("K06", "WAN-63")
def test_an_active_emt_without_permission(tmp_path):
    """Refused and noted by the administrator; the gateway hears nothing of it."""

    async def work(c):
        lab = c.lab
        before = lab.gateway.running.wakeup.service.accepted if lab.gateway.running.wakeup else 0
        with pytest.raises(ChannelError, match="not authorised"):
            await c.switch()
        assert lab.gateway.running.cls.states() == []
        (noted,) = [h for h in lab.gwa.registry.history(lab.id, 50) if h["kind"] == "cls"]
        assert noted["result"] == "refused"
        after = lab.gateway.running.wakeup.service.accepted if lab.gateway.running.wakeup else 0
        assert before == after
        c.access.permit("aemt1", lab.id, "proxy1")
        assert (await c.switch()).in_budget
        c.access.withdraw("aemt1", lab.id, "proxy1")
        assert (await c.switch()).in_budget  # what stands, stands

    run(tmp_path, work)


@pytest.mark.req("K07", "WAN-71")
def test_a_plant_of_another_administrator(tmp_path):
    """The request goes to the responsible administrator; only with his consent a channel comes."""

    async def work(c):
        other = Market(c.clock)
        await other.start()
        foreign = ClsAccess(other.administrator, [c.access])
        c.aemt.ask = lambda gateway, proxy: foreign.ask("aemt1", gateway, proxy)
        with pytest.raises(ChannelError, match="not authorised"):
            await c.switch()
        foreign.permit("aemt1", c.lab.id, "proxy1")  # is not his to give
        with pytest.raises(ChannelError, match="not authorised"):
            await c.switch()
        c.access.permit("aemt1", c.lab.id, "proxy1")
        assert (await c.switch()).in_budget
        assert await foreign.ask("aemt1", "ETHE0399999999", "proxy1") == (
            "no administrator knows this gateway"
        )
        await other.stop()

    run(tmp_path, work)


@pytest.mark.req("K08", "WAN-67", "WAN-68", "WAN-69", "WAN-73")
def test_the_grid_operator_wins_and_the_loser_learns_of_it(tmp_path):
    """Supplier and VNB want the same plant; both paths lead to one box; the gateway knows nothing of it."""

    async def work(c):
        await c.settle(lambda: bool(c.aemt.links))
        desk, now = Desk(c.aemt), c.clock.now()

        def ask(actor, watts, seconds, **more):
            wish = Request(actor, watts, now, now + seconds * SECOND, **more)
            return c.lab.market.drive(desk.request(c.lab.id, "proxy1", wish))

        made = await ask("supplier", 11_000, 3600)
        assert (made.actor, made.watts, c.box.box.limit) == ("supplier", 11_000, 11_000)
        made = await ask("vnb", 4200, 1800, vnb=True)
        assert (made.actor, c.box.box.limit) == ("vnb", 4200)
        (notice,) = made.notices
        assert (notice.actor, notice.by, notice.reason) == ("supplier", "vnb", "at most 4200 W")
        assert (await ask("vnb", 4200, 1800, vnb=True)).action is None  # nothing has changed
        await c.clock.advance(31 * MINUTE)  # the box follows its schedule, heartbeats go on
        assert c.box.box.limit == 11_000
        (made,) = (await c.lab.market.drive(desk.set_light(Light.RED))).values()
        assert (made.actor, made.watts, c.box.box.limit) == ("", None, None)
        assert [(n.actor, n.by, n.reason) for n in made.notices] == [
            ("supplier", "grid", "red light")
        ]
        assert len(desk.notices()) == 2
        await c.lab.market.drive(desk.set_light(Light.GREEN))
        assert c.box.box.limit == 11_000
        await c.clock.advance(HOUR)
        assert c.box.box.limit is None
        assert c.box.box.state is State.UNLIMITED
        with pytest.raises(ValueError, match="span"):
            await ask("supplier", 1, 0)

    run(tmp_path, work, "socks")


@pytest.mark.req("K09", "HAN-64", "S03")
def test_the_link_is_lost_while_a_plant_is_limited(tmp_path):
    """The channel goes; the box is alone: 4.2 kW for two hours, then free; then it comes back."""

    async def work(c):
        await c.settle(lambda: bool(c.aemt.links))
        await c.switch(watts=9000)
        gateway = c.lab.gateway
        link = gateway.running.watch.link
        gateway.set_link(msgspec.structs.replace(link, ethernet=False))
        await c.settle(lambda: not c.aemt.links)
        await c.clock.advance(121 * SECOND)
        assert (c.box.box.state, c.box.box.limit) == (State.FAILSAFE, 4200)
        await c.clock.advance(2 * HOUR)
        assert (c.box.box.state, c.box.box.limit) == (State.AUTONOMOUS, None)
        assert c.box.tries > 100  # each 32.5 s, in this test's middle of 5 to 60
        gateway.set_link(link)
        for _ in range(10):
            await c.clock.advance(10 * SECOND)
            if c.aemt.links:
                break
        assert (await c.switch(watts=5000)).answer.limit == 5000

    run(tmp_path, work, "socks")


def test_a_box_that_does_not_answer(tmp_path):
    """The order has a time limit, and the action says how far it came."""

    async def work(c):
        await c.settle(lambda: bool(c.aemt.links))
        c.box.order = lambda _line: b""
        with pytest.raises(ChannelError, match="does not answer"):
            await c.switch()

    run(tmp_path, work, "sni")
