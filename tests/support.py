"""Helpers for tests: gateways on the virtual clock, programs in the background."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Self

from smgw_emu import profiles
from smgw_emu.bench.consumer import HanClient, client_context
from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.bench.meters.outputs import SocketOutput, Transmitter
from smgw_emu.core.config import GatewayConfig, load_config, parse_config
from smgw_emu.core.device import Device
from smgw_emu.core.device_clock import DeviceClock
from smgw_emu.core.instants import SECOND, WorldTime, parse_device_time
from smgw_emu.core.store import Store
from smgw_emu.gateway import Gateway
from smgw_emu.lab.access import Access, read_access
from smgw_emu.lab.provision import DEFAULT_METER, Plan, create_gateway
from smgw_emu.transport.clock import VirtualClock, new_event_loop

START = "2026-03-31T10:00:00Z"
PASSWORD = "correct horse"
SMGW = str(Path(sys.executable).with_name("smgw"))


def scratch() -> str | None:
    """Where many small files are written quickly: memory, if the host has it."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def world(text: str) -> WorldTime:
    """Return a world time from its ISO form."""
    return WorldTime(parse_device_time(text).ns)


def new_gateway(folder: Path, **changes: Any) -> Access:
    """Make a gateway whose contracts begin at START."""
    plan = Plan(
        **{"now": world(START), "password": PASSWORD, "han_port": 0, "control_port": 0, **changes}
    )
    return create_gateway(folder, plan)


def run_virtual(work: Callable[[VirtualClock], Awaitable[Any]], start: str = START) -> Any:
    """Run a coroutine function on a loop whose virtual clock stands still until advanced."""

    async def main() -> Any:
        return await work(VirtualClock(asyncio.get_running_loop(), world(start), 0))

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main())


class Lab:
    """A running gateway with a virtual meter, in this process."""

    def __init__(self, home: Path, clock: VirtualClock, interval: int = 60 * SECOND) -> None:
        self.home = home
        self.clock = clock
        self.gateway = Gateway(home, clock)
        self.meter = ElectricityMeter(DEFAULT_METER, clock.now(), seed=1)
        ours, theirs = socket.socketpair()
        self.output = SocketOutput(ours)
        self.transmitter = Transmitter(self.meter.frame, self.output, clock, interval)
        self.plug = theirs
        self.gateway.connect(DEFAULT_METER, theirs)

    async def __aenter__(self) -> Self:
        await self.gateway.power_on()
        self.transmitter.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.transmitter.stop()
        await self.gateway.power_off()
        self.output.close()
        self.plug.close()
        await asyncio.sleep(0)

    @property
    def device(self) -> Device:
        assert self.gateway.running is not None
        return self.gateway.running.device

    @property
    def url(self) -> str:
        assert self.gateway.han_address is not None
        return "https://{}:{}".format(*self.gateway.han_address)

    def client(self, *, with_certificate: bool = False) -> HanClient:
        han = read_access(self.home).han
        p12 = (self.home / "consumer1.p12", han.p12_password) if with_certificate else None
        login = None if with_certificate else (han.user, han.password)
        ca = self.home / "certs" / "han.pem"
        return HanClient(self.url, client_context(ca, p12), login)


def device_in_memory(config: GatewayConfig | str, start: str = START, **clock: Any) -> Device:
    """Return a core alone, with a volatile store and a signer that counts."""
    if isinstance(config, str):
        config = parse_config(config)
    return Device(
        config,
        profiles.load(config.gateway.profile or profiles.DEFAULT_PROFILE),
        Store(":memory:"),
        FakeKey(),
        DeviceClock(world(start), **clock),
        "ab" * 32,
    )


class FakeKey:
    """Signs with a recognisable pattern: what is signed is another test's matter."""

    def sign(self, message: bytes) -> bytes:
        return (message * 64)[:64]


def own_profile(home: Path, text: str, base: str = profiles.DEFAULT_PROFILE) -> None:
    """Put behaviour of a lab's own over what the firmware brings."""
    (home / "own.toml").write_text(f'extends = "{base}"\n{text}\n')
    config = (home / "config.toml").read_text()
    changed = re.sub(r"(?m)^(# )?profile = .*$", 'profile = "own.toml"', config)
    assert changed != config
    (home / "config.toml").write_text(changed)


def config_of(home: Path) -> GatewayConfig:
    """Return the configuration of a gateway directory."""
    return load_config(home / "config.toml")


@contextlib.contextmanager
def program(
    *arguments: str, wait_for: str = "", timeout: float = 30
) -> Iterator[subprocess.Popen[str]]:
    """Run a program until the block ends; wait for a line that begins with ``wait_for``."""
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        lines = []
        deadline = time.monotonic() + timeout
        assert process.stdout is not None
        while wait_for:
            line = process.stdout.readline()
            lines.append(line)
            if line.startswith(wait_for):
                break
            if not line or time.monotonic() > deadline:
                raise AssertionError(f"{arguments}: no {wait_for!r} in {lines}")
        process.lines = lines  # type: ignore[attr-defined]
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def smgw(*arguments: str, data: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [SMGW, *arguments], capture_output=True, text=True, timeout=60, input=data, check=False
    )


def until(condition: Callable[[], Any], what: str, limit_s: float = 40) -> Any:
    """Ask programs in the background until a condition holds; return what it gave."""
    end = time.monotonic() + limit_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end, what
        time.sleep(0.3)


def lab_post(access: Access, resource: str, order: dict[str, Any]) -> dict[str, Any]:
    """Give an order to a control endpoint."""
    import urllib.request

    request = urllib.request.Request(
        f"{access.control.url}/{resource}", json.dumps(order).encode(), method="POST"
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def namespaces() -> bool:
    """Whether this host lets us make a network namespace with interfaces in it."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    words = ["ip", "link", "add", "try0", "type", "veth", "peer", "name", "try1"]
    tried = subprocess.run([*unshare(), *words], capture_output=True, timeout=20)
    return tried.returncode == 0


def unshare() -> list[str]:
    return ["unshare", "-nm"] if os.geteuid() == 0 else ["unshare", "-rnm"]
