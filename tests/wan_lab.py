"""WAN tests: an administrator's tree without sockets, and a whole market on the virtual clock."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import xmlschema
from support import START, device_in_memory, run_virtual, world

import wan.cosem
from firmware.flash import Flash
from firmware.update import Updater
from hsm_sim import SecurityModule
from smgw_emu.bench.gwa import GatewaySession
from smgw_emu.bench.gwa.commission import Commissioning, CommissionPlan
from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.bench.meters.outputs import SocketOutput, Transmitter
from smgw_emu.bench.pki import TestPki
from smgw_emu.core.config import Consumer
from smgw_emu.core.device import Device
from smgw_emu.core.ids import DeviceId
from smgw_emu.core.images import ImageStore
from smgw_emu.core.instants import SECOND
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.outbox import Outbox
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.gateway import Gateway
from smgw_emu.lab.firmware import install_firmware
from smgw_emu.lab.market import Market
from smgw_emu.lab.provision import deliver, install_seal
from smgw_emu.profiles import DEFAULT_PROFILE
from smgw_emu.transport.clock import VirtualClock
from smgw_emu.transport.http import Request, Response
from wan.admin import Facilities, GatewayTree, KeyRing
from wan.cosem.media import XML
from wan.cosem.service import CosemService
from wan.cosem.transfer import Transfers

SCHEMA = xmlschema.XMLSchema(Path(wan.cosem.__file__).parent / "schema" / "cor-1.xsd")
GATEWAY = "ETHE0399000001"
METER = "1EMU0000000001"
CONFIG = f'[gateway]\nid = "{GATEWAY}"\n'
HOST = f"{GATEWAY.lower()}.sm"
ROOT = f"/smgw/cosem/ldevs/{HOST}"


class AdminLab:
    """The resource tree of a gateway that is only a core and a security module."""

    def __init__(self, folder: Path, config: str = CONFIG) -> None:
        self.device: Device = device_in_memory(config)
        (folder / "certs").mkdir(parents=True)
        self.pki = TestPki(world(START).datetime())
        module = SecurityModule(folder / "hsm", seed="admin")
        install_seal(folder, DeviceId.parse(GATEWAY), module, self.pki)
        deliver(module)
        self.keys = KeyRing(module, self.device.store)
        self.device.power_on(world(START))
        self.outbox = Outbox(self.device.store, module.random)
        install_firmware(folder, DEFAULT_PROFILE, self.pki.manufacturer)
        images = ImageStore(folder / "images")
        self.updater = Updater(
            Flash(folder / "flash"),
            images,
            self.device.profile.firmware,
            self.device.profile.device.model,
            self.device.logbooks,
        )
        images.on_block = self.updater.block
        self.facilities = Facilities(
            self.device,
            self.keys,
            self.outbox,
            images,
            lambda: self.device.now(world(START)),
            lambda: "started",
            firmware=self.updater,
        )
        self.tree = GatewayTree(self.facilities)
        self.refused: list[tuple[int, str]] = []
        self.transfers = Transfers()

    def service(self, **changes: Any) -> CosemService:
        fields: dict[str, Any] = {
            "protection": None,
            "required": False,
            "transfers": self.transfers,
            "refused": lambda _r, status, reason: self.refused.append((status, reason)),
        } | changes
        protection = fields.pop("protection")
        return CosemService(
            self.tree.management, "/smgw", self.tree, self.facilities.images, protection, **fields
        )

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None,
        service: CosemService | None = None,
    ) -> Response:  # fmt: skip
        fields = {"host": HOST, "content-length": str(len(body))}
        if body:
            fields["content-type"] = XML
        return (service or self.service()).handle(
            Request(method, path, fields | (headers or {}), body)
        )


class WanLab:
    """Market, gateway and meter on the virtual clock."""

    def __init__(self, market: Market, gateway: Gateway, meter: ElectricityMeter) -> None:
        self.market = market
        self.gateway = gateway
        self.meter = meter
        self.clock: VirtualClock = market.clock

    @property
    def gwa(self) -> Any:
        return self.market.administrator

    @property
    def emt(self) -> Any:
        return self.market.participant

    @property
    def id(self) -> str:
        return str(self.gateway.config.device_id)

    @property
    def device(self) -> Device:
        assert self.gateway.running is not None
        return self.gateway.running.device

    @property
    def wan(self) -> Any:
        assert self.gateway.running is not None
        return self.gateway.running.wan

    def plan(self, **changes: Any) -> CommissionPlan:
        begin = self.clock.now().seconds // 900 * 900
        from smgw_emu.core.instants import DeviceTime

        start = DeviceTime.from_seconds(begin).iso()
        fields: dict[str, Any] = {
            "participants": [self.emt.wan_profile()],
            "meters": [(Meter(METER), bytes(range(16)))],
            "consumers": [Consumer("consumer1", "consumer1.sm", "ab" * 16)],
            "points": [
                UsagePoint("taf7-1", 7, "consumer1", (METER,), start),
                UsagePoint("taf1-1", 1, "consumer1", (METER,), start),
            ],
        } | changes
        return CommissionPlan(**fields)

    async def commission(self, **changes: Any) -> None:
        job = Commissioning(self.gwa, self.id, self.plan(**changes))
        await self.market.drive(job.run())

    async def session(self) -> GatewaySession:
        return await self.market.drive(self.gwa.session(self.id))

    def log(self, name: str = "system") -> list[Any]:
        return self.device.logbooks.last(name, count=5000)  # type: ignore[arg-type]

    def logged(self, text: str, name: str = "system") -> int:
        return sum(text in entry.message for entry in self.log(name))

    def events(self, name: str = "") -> list[dict[str, str]]:
        return self.gwa.registry.events(self.id, name)

    async def until(self, condition: Callable[[], bool], limit_s: int = 600) -> None:
        """Let time jump until a condition holds."""
        end = self.clock.now() + limit_s * SECOND
        while not condition():
            assert self.clock.now() < end, "did not happen in time"
            await self.clock.advance(SECOND)


@contextlib.asynccontextmanager
async def wan_lab(
    folder: Path,
    clock: VirtualClock,
    *,
    interval: int = 60 * SECOND,
    on: bool = True,
    plug: tuple[Any, ...] | None = None,
    **factory: Any,
) -> AsyncIterator[WanLab]:
    """A market with one factory gateway, switched on."""
    market = Market(clock)
    await market.start()
    gateway = market.factory(folder / "gw", **factory)
    ours, theirs = socket.socketpair()
    output = SocketOutput(ours)
    meter = ElectricityMeter(METER, clock.now(), seed=1)
    transmitter = Transmitter(meter.frame, output, clock, interval)
    gateway.connect("lmn", theirs)
    if plug is not None:
        gateway.connect(*plug)
    if on:
        await gateway.power_on()
    transmitter.start()
    lab = WanLab(market, gateway, meter)
    try:
        yield lab
    finally:
        transmitter.stop()
        await gateway.power_off()
        await market.stop()
        output.close()
        theirs.close()
        await asyncio.sleep(0)


def run_lab(
    folder: Path, work: Callable[[WanLab], Awaitable[Any]], start: str = START, **changes: Any
) -> Any:
    """Run a coroutine function with a lab."""

    async def main(clock: VirtualClock) -> Any:
        async with wan_lab(folder, clock, **changes) as lab:
            return await work(lab)

    return run_virtual(main, start)
