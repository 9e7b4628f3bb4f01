"""Runs in a network namespace of its own: an EMT in the WAN, a CLS in the HAN, the gateway between.

Both partners are OpenSSL's programs. Prints one line per look: name | finding.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from cls_lab import NAME, cls_profile, proxy_profile, put
from support import new_gateway

from smgw_emu.bench.pki import Role, TestPki
from smgw_emu.bench.pki.cls import issue_cls_key
from smgw_emu.core.wan_profiles import WanProfile
from smgw_emu.gateway import Gateway
from smgw_emu.transport.clock import SystemClock

EMT_PORT = 4433


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def street() -> None:
    """Two hosts, two cables, nothing routed."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)  # names of this namespace
    ip("link", "set", "lo", "up")
    for side, net in (("wan", "10.81.1"), ("han", "10.81.2")):
        host = f"{side}host"
        ip("netns", "add", host)
        ip("link", "add", f"{side}0", "type", "veth", "peer", "name", "eth0", "netns", host)
        ip("addr", "add", f"{net}.1/24", "dev", f"{side}0")
        ip("link", "set", f"{side}0", "up")
        ip("-n", host, "addr", "add", f"{net}.2/24", "dev", "eth0")
        ip("-n", host, "link", "set", "lo", "up")
        ip("-n", host, "link", "set", "eth0", "up")
        ip("-n", host, "route", "add", "default", "via", f"{net}.1")


def reach(host: str, address: str, port: int) -> str:
    """Try TCP from a host; "open" or why not."""
    program = (
        "import socket, sys\n"
        "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), 2).close(); print('open')\n"
        "except OSError as error: print(type(error).__name__)\n"
    )
    words = ["ip", "netns", "exec", host, sys.executable, "-c", program, address, str(port)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def look(name: str, finding: str) -> None:
    print(name, "|", finding, flush=True)


async def main(folder: Path) -> None:
    clock = SystemClock(asyncio.get_running_loop())
    now = clock.now().datetime()
    box, emt = issue_cls_key("box1", now), TestPki(now).participant(Role.EMT, "aemt1").tls
    for name, who in (("box", box), ("emt", emt)):
        (folder / f"{name}.pem").write_bytes(who.chain_pem)
        (folder / f"{name}.key").write_bytes(who.key_pem())
    new_gateway(folder / "gw", now=clock.now())
    config = folder / "gw" / "config.toml"
    text = config.read_text() + '\n[cls_port]\nhost = "10.81.2.1"\ninterface = "han0"\n'
    config.write_text(text)
    gateway = Gateway(folder / "gw", clock)
    await gateway.power_on()
    place = (f"https://10.81.1.2:{EMT_PORT}",)
    put(gateway, "wan", WanProfile("aemt1", "PROXY", "EMT", place, emt.certificate_der))
    put(gateway, "cls", cls_profile(box, consumer=""))
    put(gateway, "proxy", proxy_profile(EMT_PORT, addresses=()))
    while not gateway.running.cls.doors.addresses:
        await asyncio.sleep(0.01)
    port = gateway.running.cls.doors.addresses["tls"][1]
    server = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", "wanhost", "openssl", "s_server", "-accept", str(EMT_PORT), "-quiet",
        "-tls1_2", "-cert", f"{folder}/emt.pem", "-key", f"{folder}/emt.key", "-verify", "5", "-rev",
        "-groups", "brainpoolP256r1:P-256",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    loop = asyncio.get_running_loop()

    async def tried(host: str, address: str, port: int) -> str:
        return await loop.run_in_executor(None, reach, host, address, port)

    while await tried("wanhost", "10.81.1.2", EMT_PORT) != "open":
        await asyncio.sleep(0.1)
    look("EMT from the HAN", await tried("hanhost", "10.81.1.2", EMT_PORT))
    look("door from the WAN", await tried("wanhost", "10.81.2.1", port))
    look("door from the HAN", await tried("hanhost", "10.81.2.1", port))
    client = await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", "hanhost", "openssl", "s_client", "-connect", f"10.81.2.1:{port}",
        "-servername", NAME, "-tls1_2", "-cert", f"{folder}/box.pem", "-key", f"{folder}/box.key",
        "-quiet", "-ign_eof",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(b"limit 4200\n")
    line = await asyncio.wait_for(client.stdout.readline(), 20)
    look("through the channel", line.decode().strip())
    look("channels", ",".join(c.state for c in gateway.running.cls.states()))
    for process in (client, server):
        process.terminate()
        await process.wait()
    await gateway.power_off()


if __name__ == "__main__":
    street()
    asyncio.run(main(Path(sys.argv[1])))
