"""A gateway with virtual radio receivers and wireless meters, on the virtual clock."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from pathlib import Path
from typing import Any, Self

from support import START, new_gateway, own_profile, run_virtual, world

from hsm_sim import SecurityModule
from hsm_sim.slots import lmn_master_key
from smgw_emu import profiles
from smgw_emu.bench.bus.live import socket_wire
from smgw_emu.bench.meters.wireless import KINDS, WirelessMeter
from smgw_emu.bench.meters.wireless.meter import Options
from smgw_emu.bench.radio.live import LiveStick
from smgw_emu.bench.radio.sticks import virtual_stick
from smgw_emu.core.instants import SECOND, DeviceTime
from smgw_emu.core.obis import Obis
from smgw_emu.gateway import Gateway
from smgw_emu.transport.clock import VirtualClock

V1 = profiles.load()
V2 = profiles.load("tr-2025/default")
RULES = V2.lmn_wireless
NOW = world(START)


def vectors() -> dict[str, dict[str, Any]]:
    """Return the published telegrams by name."""
    path = Path(os.environ["SMGW_DATA"]) / "wmbus" / "vectors.json"
    return {entry["name"]: entry for entry in json.loads(path.read_text())["vectors"]}


def wireless(kind: str = "gas", number: int = 10_000_001, **options: Any) -> WirelessMeter:
    return WirelessMeter(KINDS[kind], number, Options(**options), seed=1)


def meter_table(meter: WirelessMeter, point: str = "", wait_s: int = 0) -> str:
    """Return the tables of a configuration for one meter, with a TAF7 contract."""
    kind = meter.kind
    text = (
        f'\n[[meter]]\nid = "{meter.id}"\nobis = ["{kind.obis}"]\nunit = {kind.unit}\n'
        f'scaler = {kind.scaler}\nword = "wireless"\nwait_s = {wait_s}\n'
        f'\n[[lmn]]\nmeter = "{meter.id}"\nprotection = "SYM"\nprotocol = "M-BUS"\n'
        f'server_id = "{meter.address.octets.hex()}"\n'
    )
    return text + (
        f'\n[[usage_point]]\nname = "radio-{meter.address.number}"\ntaf = 7\n'
        f'consumer = "consumer1"\nmeters = ["{meter.id}"]\nstart = "2026-03-31T10:00:00Z"\n{point}'
    )


def radio_gateway(
    home: Path,
    meters: list[WirelessMeter],
    *,
    point: str = "",
    wait_s: int = 0,
    profile: str = "tr-2025/default",
    keys: dict[str, bytes] | None = None,
    extra: str = "",
    lab: str = "",
) -> Path:
    """Make a gateway that knows the meters and their keys; ``lab``: lines for [lmn_wireless]."""
    new_gateway(home, profile=profile)
    if lab:
        own_profile(home, f"[lmn_wireless]\n{lab}", profile)
    text = (home / "config.toml").read_text()
    text += "".join(meter_table(meter, point, wait_s) for meter in meters) + extra
    (home / "config.toml").write_text(text)
    module = SecurityModule(home / "hsm")
    for meter in meters:
        key = (keys or {}).get(meter.id, meter.key)
        if key:
            module.write_file(lmn_master_key(meter.id), key)
    return home


class RadioLab:
    """A running gateway and the receivers plugged into it."""

    def __init__(
        self, home: Path, clock: VirtualClock, sticks: tuple[str, ...] = ("im871a",)
    ) -> None:
        self.home = home
        self.clock = clock
        self.sticks: list[LiveStick] = []
        self.plugs: list[socket.socket] = []
        self.gateway = Gateway(home, clock)
        for number, kind in enumerate(sticks):
            ours, theirs = socket.socketpair()
            self.plugs.append(theirs)
            self.sticks.append(LiveStick(virtual_stick(kind), socket_wire(ours)))
            self.gateway.connect(f"radio{number}", theirs, "wmbus", kind)

    async def __aenter__(self) -> Self:
        for stick in self.sticks:
            stick.start()
        await self.gateway.power_on()
        await self.seconds(2)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.gateway.power_off()
        for stick in self.sticks:
            stick.stop()
        for plug in self.plugs:
            plug.close()
        await asyncio.sleep(0)

    @property
    def running(self) -> Any:
        assert self.gateway.running is not None
        return self.gateway.running

    @property
    def device(self) -> Any:
        return self.running.device

    @property
    def reception(self) -> Any:
        return self.running.lmn.reception

    def verdicts(self) -> dict[str, int]:
        return {v.value: n for v, n in self.reception.inbox.verdicts.items()}

    async def air(self, frames: list[bytes], mode: str = "T", form: Any = "A") -> None:
        """Let every receiver hear frames."""
        for frame in frames:
            for stick in self.sticks:
                stick.hear(frame, mode, form)
        await self.seconds(0.05)

    async def send(self, meter: WirelessMeter) -> list[bytes]:
        """Let a meter send its next telegram."""
        frames = meter.frames(self.clock.now())
        await self.air(frames, meter.options.mode, meter.options.form)
        return frames

    async def seconds(self, count: float) -> None:
        await self.clock.advance(int(count * SECOND))

    async def until(self, text: str) -> None:
        await self.clock.advance(max(0, world(text) - self.clock.now()))

    def current(self, meter: WirelessMeter) -> Any:
        """Return the present value: (capture, value, scaler, unit)."""
        return self.device.metering.current.get((meter.id.lower(), Obis.parse(meter.kind.obis)))

    def stored(self, meter: WirelessMeter) -> list[Any]:
        """Return the stored lines of a meter's register."""
        begin, end = DeviceTime(0), self.device.now(self.clock.now()) + 3600 * SECOND
        key = meter.id.lower()
        (series,) = {s for m, s in self.device.metering._registrars if m == key}
        return list(self.device.store.readings("origin", key, series, begin, end))

    def log(self, *events: str) -> list[str]:
        """Return messages of the system log, oldest first; of those events only."""
        catalogue = self.device.logbooks._catalogue
        wanted = {catalogue[name].id for name in events}
        entries = self.device.logbooks.last("system", "", 5000)
        return [entry.message for entry in entries if not wanted or entry.event in wanted]


def run_radio(
    tmp_path: Path,
    work: Any,
    meters: list[WirelessMeter],
    sticks: tuple[str, ...] = ("im871a",),
    **options: Any,
) -> Any:
    """Run a lab with meters."""

    async def main(clock: VirtualClock) -> Any:
        home = radio_gateway(tmp_path / "gateway", meters, **options)
        async with RadioLab(home, clock, sticks) as lab:
            return await work(lab)

    return run_virtual(main)
