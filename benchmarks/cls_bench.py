"""The CLS proxy against socat: the same TLS-to-TLS relay, suite and ends, in one run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

SUITE = "ECDHE-ECDSA-AES128-GCM-SHA256"
NAME = "aemt.netz"
BLOCK = bytes(1 << 20)
MIB = 128


def gateway_process(folder: Path) -> None:
    """Run a gateway with a channel to ``argv`` until standard input ends (a process of its own)."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from hsm_sim import Purpose
    from smgw_emu.bench.pki import Role, TestPki
    from smgw_emu.bench.pki.cls import fingerprint, issue_cls_key
    from smgw_emu.core.cls_profiles import ClsProfile, ProxyProfile
    from smgw_emu.core.wan_profiles import WanProfile
    from smgw_emu.gateway import Gateway
    from smgw_emu.lab.provision import Plan, create_gateway
    from smgw_emu.profiles import load
    from smgw_emu.transport.clock import SystemClock

    port = int(sys.argv[2])

    async def main() -> None:
        clock = SystemClock(asyncio.get_running_loop())
        create_gateway(folder / "gw", Plan(now=clock.now(), han_port=0, control_port=0))
        now = clock.now().datetime()
        box, emt = issue_cls_key("box1", now), TestPki(now).participant(Role.EMT, "aemt1")
        plain = issue_cls_key("plain", now, ec.SECP256R1())
        ends = (("box", box), ("emt", emt.identity(Purpose.TLS)), ("plain", plain))
        for name, who in ends:
            (folder / f"{name}.pem").write_bytes(who.chain_pem + who.key_pem())
        gateway = Gateway(folder / "gw", clock)
        await gateway.power_on()
        assert gateway.running is not None
        tree = gateway.running.wan.tree
        place = (f"https://127.0.0.1:{port}",)
        records = (
            ("wan", WanProfile("aemt1", "PROXY", "EMT", place, emt.tls.certificate_der)),
            ("cls", ClsProfile("box1", (fingerprint(box),))),
            ("proxy", ProxyProfile("proxy1", "box1", "aemt1", server_name=NAME)),
        )
        for kind, record in records:
            container = tree.profiles.container_id(kind, record)  # type: ignore[arg-type]
            tree.put_container(f"{record.name}.sm", container, tree.profiles.write(kind, record))  # type: ignore[arg-type]
        line = gateway.running.cls
        line.rules = msgspec.structs.replace(load().cls, max_per_cls=64)
        while "tls" not in line.doors.addresses:
            await asyncio.sleep(0.01)
        print(json.dumps(line.doors.addresses), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await gateway.power_off()

    asyncio.run(main())


def client_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITE)
    context.load_cert_chain(certificate)
    return context


class Sink:
    """The EMT: counts what comes; with ``echo`` it sends everything back.

    socat knows P-256 only, so it gets a sink and a client with certificates on that curve.
    """

    def __init__(self, certificate: Path) -> None:
        self.echo = False
        self.count = 0
        self._context: ssl.SSLContext | None = None
        self._certificate = certificate
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            plain, _ = self._server.accept()
            threading.Thread(target=self._one, args=(plain,), daemon=True).start()

    def _one(self, plain: socket.socket) -> None:
        if self._context is None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.maximum_version = ssl.TLSVersion.TLSv1_2
            self._context.set_ciphers(SUITE)
            self._context.load_cert_chain(self._certificate)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with (
            contextlib.suppress(OSError),
            self._context.wrap_socket(plain, server_side=True) as end,
        ):
            buffer = bytearray(1 << 18)
            while count := end.recv_into(buffer):
                self.count += count
                if self.echo:
                    end.sendall(buffer[:count])


def dial(context: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), 20)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain, server_hostname=NAME)


def transfer(context: ssl.SSLContext, sink: Sink, port: int) -> float:
    """Return MiB per second through a relay."""
    with dial(context, port) as end:
        end.sendall(b"warm")
        while sink.count < 4:
            time.sleep(0.001)
        sink.count = 0
        begun = time.perf_counter()
        for _ in range(MIB):
            end.sendall(BLOCK)
        while sink.count < MIB << 20:
            time.sleep(0.001)
        return MIB / (time.perf_counter() - begun)


def latency(context: ssl.SSLContext, sink: Sink, port: int) -> float:
    """Return the median time of a small message and its echo, in milliseconds."""
    sink.echo = True
    times = []
    with dial(context, port) as end:
        for _ in range(600):
            begun = time.perf_counter()
            end.sendall(b"limit 4200")
            end.recv(100)
            times.append((time.perf_counter() - begun) * 1000)
    sink.echo = False
    return statistics.median(times[100:])


@contextlib.contextmanager
def socat(folder: Path, target: int) -> Iterator[int]:
    """Run socat as the relay; yields its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = f"cipher={SUITE},openssl-min-proto-version=TLS1.2,openssl-max-proto-version=TLS1.2"
    listen = (
        f"OPENSSL-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,nodelay,cert={folder}/plain.pem,"
        f"cafile={folder}/plain.pem,verify=1,{common}"
    )
    connect = f"OPENSSL:127.0.0.1:{target},nodelay,cert={folder}/plain.pem,verify=0,{common}"
    process = subprocess.Popen(["socat", listen, connect], stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def rss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def bench_cls(row: Callable[[str, str, str, str], None]) -> None:
    """Throughput, latency and memory of the relay."""
    if shutil.which("socat") is None:
        row("CLS relay against socat", "socat is not installed", "-", "0.6")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sink, other = Sink(folder / "emt.pem"), Sink(folder / "plain.pem")
        process = subprocess.Popen(
            [sys.executable, __file__, name, str(sink.port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        line = ""
        while not line.startswith("{"):
            line = process.stdout.readline()
            assert line, "the gateway did not start"
        ours = json.loads(line)["tls"][1]
        context, plain = client_context(folder / "box.pem"), client_context(folder / "plain.pem")
        with socat(folder, other.port) as theirs:
            rates: dict[str, list[float]] = {"ours": [], "socat": []}
            for _ in range(5):
                rates["ours"].append(transfer(context, sink, ours))
                rates["socat"].append(transfer(plain, other, theirs))
            best = {key: max(values) for key, values in rates.items()}
            direct = latency(plain, other, other.port)
            through = {
                "ours": latency(context, sink, ours),
                "socat": latency(plain, other, theirs),
            }
        row(
            "CLS relay, TLS to TLS, one direction",
            f"{best['ours']:.0f} MiB/s; socat {best['socat']:.0f} MiB/s",
            f"{best['ours'] / best['socat']:.2f}",
            "0.6",
        )
        added = through["ours"] - direct
        row(
            "latency added by a CLS channel, median of message and echo",
            f"{added:.2f} ms; socat {through['socat'] - direct:.2f} ms",
            f"{added / max(through['socat'] - direct, 0.001):.1f}",
            "below 1 ms",
        )
        before = rss_mib(process.pid)
        ends = [dial(context, ours) for _ in range(50)]
        for end in ends:
            end.sendall(BLOCK[:100_000])
        time.sleep(1)
        grown = rss_mib(process.pid) - before
        row("50 CLS channels at once, 100 kB each", f"{grown:.0f} MiB more", "-", "below 100 MiB")
        for end in ends:
            end.close()
        process.communicate("")


if __name__ == "__main__":
    gateway_process(Path(sys.argv[1]))
