"""500 random power cuts over update, logging, certificate change and delivery.

The power goes between two turns of the loop, inside a transaction of the store (SQLite is interrupted after a
random number of its steps, and nothing is written after that), or inside a write of the flash. After every cut the
files are looked at before the device starts again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from state_lab import signed
from support import run_virtual
from wan_lab import wan_lab

from firmware.chain import boot
from firmware.flash import FileDisk
from smgw_emu.core.errors import SmgwError, StoreError
from smgw_emu.core.images import ImageStore
from smgw_emu.core.instants import HOUR, MILLISECOND, SECOND, DeviceTime
from smgw_emu.core.leds import SecureState
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.store import Store
from smgw_emu.lab import trials

CUTS, SEEDS = 125, 4  # 500 together


class DyingDisk(FileDisk):
    """A flash whose power ends after so many octets."""

    def __init__(self, octets):
        self.left = octets

    def write(self, path, blocks):
        with path.open("wb") as file:
            for block in blocks:
                file.write(block[: max(self.left, 0)])
                self.left -= len(block)
                if self.left < 0:
                    file.flush()
                    raise StoreError("the power is gone")

    def replace(self, path, data):
        self.left -= len(data)
        if self.left < 0:
            path.with_name(path.name + ".new").write_bytes(data[: self.left])
            raise StoreError("the power is gone")
        super().replace(path, data)


class Trial:
    """One lab, one seed."""

    def __init__(self, lab, seed):
        self.lab = lab
        self.random = random.Random(seed)
        self.version = 100
        self.sent = 0  # octets of the image that were acknowledged
        self.image = ""
        self.seen: list[
            tuple[int, str]
        ] = []  # log entries that were there, outside any transaction
        self.jobs = {
            "update": self.update,
            "log": self.log,
            "keys": self.keys,
            "deliver": self.deliver,
        }
        self.done = dict.fromkeys(self.jobs, 0)

    async def session(self):
        return await self.lab.gwa.session(self.lab.id, timeout_s=600)

    # -- what is under way when the power goes ---------------------------------------------------

    async def update(self):
        session = await self.session()
        self.version += 1
        package = signed(self.lab, f"v3.{self.version}.0-cc")
        self.image, self.sent = f"fw{self.version}", 0

        def progress(have, _total):
            self.sent = have

        await session.load_firmware(self.image, package, progress)
        await session.verify_firmware(self.image, package)
        await session.activate_firmware(self.image)

    async def log(self):
        await trials.burst(self.lab.gateway, trials.EventOrder(self.random.randint(1, 15)))

    async def keys(self):
        session = await self.session()
        generation = self.lab.gateway.running.facilities.keys.generation
        triple = await session.new_certificates(self.lab.market.pki)
        self.lab.gwa.registry.set_certificates(self.lab.id, generation + 1, triple)

    async def deliver(self):
        session = await self.session()
        await session.read_now("taf7-1")

    # -- the cut -----------------------------------------------------------------------------------

    def prepare(self):
        """Where the power will go, besides between two turns."""
        running = self.lab.gateway.running
        kind = self.random.choice(["between", "between", "store", "flash"])
        if kind == "store":
            steps = self.random.randint(1, 400)
            running.device.store._db.set_progress_handler(lambda: 1, steps)
        elif kind == "flash":
            running.updater._flash._disk = DyingDisk(self.random.randint(0, 90_000))

    async def round(self):
        gateway, clock = self.lab.gateway, self.lab.clock
        name = self.random.choice(list(self.jobs))
        self.note()
        delayed = self.random.randint(0, 60)
        task = asyncio.get_running_loop().create_task(self.jobs[name]())
        for turn in range(self.random.choice([20, 60, 120, 400])):
            if turn == delayed and gateway.running is not None:
                self.prepare()
            await clock.advance(self.random.choice([0, 0, 1, 5, 50]) * MILLISECOND)
            if gateway.running is None or task.done():
                break
        self.done[name] += task.done() and not task.cancelled() and task.exception() is None
        await gateway.power_off(orderly=False)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, SmgwError):
            await task
        self.look()
        self.lab.gwa.sessions.clear()
        gateway.flash._disk = FileDisk()
        await gateway.power_on()
        assert gateway.running is not None, gateway.cause
        assert gateway.states.state in {SecureState.NORMAL, SecureState.MEASUREMENT}
        await self.lab.until(lambda: self.lab.id in self.lab.gwa.sessions, 2000)
        await clock.advance(4 * SECOND)  # the start's self-test confirms an update

    def note(self):
        entries = self.lab.device.logbooks.last("system", count=30)
        self.seen = [(entry.number, entry.message) for entry in entries]

    def look(self):
        """What lies on the device now, without its program."""
        gateway = self.lab.gateway
        booted = boot(gateway.flash)
        assert booted.manifest.version == booted.record.expected
        store = Store(gateway.directory / "state.db")  # checks its pages
        log = Logbooks(store, {})
        entries = log.entries("system", count=1 << 30)
        assert [e.number for e in entries] == list(range(1, len(entries) + 1)), "no gap, no double"
        for number, message in self.seen:
            assert entries[number - 1].message == message
        twice = store.execute(
            "SELECT count(*) FROM (SELECT channel, target FROM reading GROUP BY 1, 2"
            " HAVING count(*) > 1)"
        )[0][0]
        assert twice == 0
        store.close()
        if self.image and self.sent:
            assert ImageStore(gateway.directory / "images").state(self.image) >= self.sent


@pytest.mark.req("F05", "F06", "WAN-50", "W15")
@pytest.mark.parametrize("seed", range(SEEDS))
def test_no_power_cut_loses_what_was_acknowledged(tmp_path, seed):
    """125 cuts each; then a day in peace: every value once, every key usable, the newest firmware."""

    async def main(clock):
        async with wan_lab(tmp_path, clock, interval=4 * SECOND) as lab:
            await lab.commission()
            trial = Trial(lab, seed)
            for _ in range(CUTS):
                await trial.round()
            assert all(trial.done.values()), (
                f"every kind of work was finished now and then: {trial.done}"
            )
            lab.gwa.sessions.clear()
            await lab.gateway.power_off()
            await lab.gateway.power_on()
            begin = lab.clock.now().seconds
            received = lab.emt.received
            await lab.clock.advance(26 * HOUR)
            assert lab.gateway.states.state is SecureState.NORMAL
            assert lab.emt.received > received and lab.emt.store.findings() == []
            rows = lab.emt.store.deliveries()
            assert len({row["uuid"] for row in rows}) == len(rows)
            assert lab.wan.outbox.count("emt1") == 0, "nothing is stuck"
            meter = "1emu0000000001"
            lines = lab.device.store.readings(
                "origin", meter, "900", DeviceTime.from_seconds(begin), DeviceTime(1 << 62)
            )
            targets = [line.target.seconds for line in lines]
            assert targets == list(range(targets[0], targets[0] + 900 * len(targets), 900))
            info = await lab.market.drive(lab.gwa.sessions[lab.id].info())
            assert info["generation"] == lab.gateway.running.facilities.keys.generation

    run_virtual(main)
