"""Speed, measured as ratios in one run: `make bench`.

Prints a table and writes it to docs/speed.md. Absolute numbers depend on the machine; the ratios
against a peer or the raw primitive, measured side by side, are what counts. Nothing here asserts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import structlog
from cls_bench import bench_cls
from market_bench import bench_commissioning, bench_delivery, bench_fleet
from radio_bench import bench_radio
from states_bench import bench_states
from tariff_bench import bench_month, bench_year
from wan_bench import bench_cms, bench_module, bench_tls
from wired_bench import bench_wired

ROOT = Path(__file__).resolve().parent.parent
SMGW = str(Path(sys.executable).with_name("smgw"))
rows: list[tuple[str, str, str, str]] = []


def row(what: str, measured: str, ratio: str, target: str) -> None:
    """Print a line at once; long work shows progress."""
    rows.append((what, measured, ratio, target))
    print(f"{what:<52} {measured:>22} {ratio:>24}   target {target}", flush=True)


def rates(*works: Callable[[], int], seconds: float = 0.2, rounds: int = 8) -> list[float]:
    """Return operations per second of each, best of many short slices.

    The slices take turns, so that a busy machine slows all of them alike.
    """
    best = [0.0] * len(works)
    for _ in range(rounds):
        for number, work in enumerate(works):
            count, begin = 0, time.perf_counter()
            while (elapsed := time.perf_counter() - begin) < seconds:
                count += work()
            best[number] = max(best[number], count / elapsed)
    return best


def rate(work: Callable[[], int]) -> float:
    """Return operations per second of one."""
    return rates(work)[0]


# -- SML -----------------------------------------------------------------------------------------


def bench_sml() -> None:
    """Decode recorded frames with both checksums checked, against smllib and pysml."""
    from smllib import SmlStreamReader

    from lmn.sml import SmlReceiver, decode_messages

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sml import SmlBase
    folder = os.environ.get("SMGW_DATA", str(ROOT.parent / "shared" / "data"))
    file = Path(folder) / "sml/smartmeter-obis/ttyUSB0.dump"
    if not file.is_file():
        row("SML decode", "no recordings", "set SMGW_DATA", "2x smllib, 15x pysml")
        return
    stream = file.read_bytes()
    frames = [stream[at : at + 324] for at in range(0, 324 * 200, 324)]

    def ours() -> int:
        receiver = SmlReceiver()
        for event in receiver.receive(b"".join(frames)):
            decode_messages(event.payload)
        return len(frames)

    def smllib() -> int:
        reader = SmlStreamReader()
        reader.add(b"".join(frames))
        while (frame := reader.get_frame()) is not None:
            frame.parse_frame()
        return len(frames)

    def pysml() -> int:
        for frame in frames[:20]:
            SmlBase.find_frame(frame)
        return 20

    mine, first, second = rates(ours, smllib, pysml)
    row("SML decode, both CRCs, frames/s", f"{mine:,.0f}", f"{mine / first:.1f}x smllib", "2x")
    row("", "", f"{mine / second:.1f}x pysml", "15x")


# -- a live gateway --------------------------------------------------------------------------------


def start_gateway(folder: Path) -> tuple[subprocess.Popen[str], float]:
    """Start ``smgw run`` and return it with the seconds until it listens."""
    home = folder / "gateway"
    subprocess.run(
        [SMGW, "init", str(home), "--han-port", "0", "--control-port", "0"],
        check=True,
        capture_output=True,
    )
    begin = time.perf_counter()
    # rich is here for import-linter; structlog would take it along, users have none
    entry = "import sys; sys.modules['rich'] = None; from smgw_emu.cli import main; main()"
    command = [sys.executable, "-c", entry, "run", str(home)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while process.stdout.readline().strip() != "ready":
        pass
    return process, time.perf_counter() - begin


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def cpu_seconds(pid: int) -> float:
    """Return user plus system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def keep_alive_requests(folder: Path, process: subprocess.Popen[str], seconds: float = 3.0) -> None:
    """Ask smgw-info over one keep-alive TLS connection, from this process."""
    from smgw_emu.bench.consumer import client_context
    from smgw_emu.lab.access import read_access

    han = read_access(folder / "gateway").han
    context = client_context(Path(han.ca), (Path(han.p12), han.p12_password))
    raw = socket.create_connection((han.host, han.port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with context.wrap_socket(raw) as tls:
        body = b'{"method":"smgw-info"}'
        request = (
            b"POST /smgw/m2m/consumer1.sm/json HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        ) + body
        size = exchange(tls, request)
        count, begin, cpu = 0, time.perf_counter(), cpu_seconds(process.pid)
        while (elapsed := time.perf_counter() - begin) < seconds:
            tls.sendall(request)
            left = size
            while left > 0:
                left -= len(tls.recv(65536))
            count += 1
        used = cpu_seconds(process.pid) - cpu
    per_core = count / used
    row(
        "HAN smgw-info, keep-alive TLS, requests/s of a core",
        f"{per_core:,.0f}",
        f"{count / elapsed:,.0f}/s, one client",
        "2,000/s",
    )


def exchange(tls: ssl.SSLSocket, request: bytes) -> int:
    """Send one request and return the size of its whole response."""
    tls.sendall(request)
    data = b""
    while b"\r\n\r\n" not in data:
        data += tls.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    length = next(
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length")
    )
    while len(rest) < length:
        rest += tls.recv(65536)
    return len(head) + 4 + length


def bench_gateway() -> None:
    """Cold start, memory and requests of a real gateway process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        starts = []
        for number in range(3):
            process, seconds = start_gateway(folder / str(number))
            starts.append(seconds)
            if number < 2:
                process.terminate()
                process.wait()
        bare = min(
            timed(lambda: subprocess.run([sys.executable, "-c", "import ssl, sqlite3"], check=True))
            for _ in range(3)
        )
        row("cold start to listening", f"{min(starts):.2f} s", f"{min(starts) / bare:.1f}x bare "
            "python", "1.5 s")  # fmt: skip
        keep_alive_requests(folder / "2", process)
        row("memory of one gateway (RSS)", f"{rss_mib(process.pid):.0f} MiB", "", "60 MiB")
        process.terminate()
        process.wait()


def timed(work: Callable[[], object]) -> float:
    """Return the seconds a call takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def bench_day() -> None:
    """One simulated day: 15-minute registration, one meter, consumer polling over TLS."""
    from smgw_emu.core.instants import DAY, WorldTime, parse_device_time
    from smgw_emu.lab.demo import FIRST_MOMENT, Household, poll_for
    from smgw_emu.transport.clock import VirtualClock, new_event_loop

    async def day(folder: Path) -> float:
        start = WorldTime(parse_device_time(FIRST_MOMENT).ns)
        household = Household(folder, VirtualClock(asyncio.get_running_loop(), start, 0))
        await household.start()
        begin = time.perf_counter()
        await poll_for(household, DAY)
        elapsed = time.perf_counter() - begin
        await household.stop()
        return elapsed

    best = 1e9
    for _ in range(3):
        with (
            tempfile.TemporaryDirectory() as folder,
            asyncio.Runner(loop_factory=new_event_loop) as runner,
        ):
            best = min(best, runner.run(day(Path(folder) / "gateway")))
    handshake = bare_handshake()
    row(
        "one simulated day, consumer polling every 15 min",
        f"{best:.2f} s",
        f"{best / (96 * handshake):.1f}x its 96 handshakes",
        "2 s",
    )


def bare_handshake() -> float:
    """Return the seconds of one full P-384 handshake, both ends, in memory."""
    from hsm_sim import Curve, SecurityModule
    from hsm_sim.certificates import han_certificate
    from smgw_emu.core.instants import WorldTime
    from smgw_emu.profiles import load
    from smgw_emu.transport.presets import TlsIdentity, server_context
    from smgw_emu.transport.tls import TlsConnection

    with tempfile.TemporaryDirectory() as folder:
        from datetime import UTC, datetime

        module = SecurityModule(Path(folder))
        key = module.generate("K", Curve.P384)
        leaf = han_certificate("ETHE0300000000", key, lambda d: module.sign_digest("K", d),
                               datetime.now(UTC))  # fmt: skip
        made = TlsIdentity(leaf, lambda d: module.sign_digest("K", d), lambda: b"")
        context = server_context("han-conexa", made).context
        client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client_side.check_hostname, client_side.verify_mode = False, ssl.CERT_NONE
        profile = load().tls

        def once() -> int:
            server = TlsConnection(context, profile, WorldTime(0))
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = client_side.wrap_bio(incoming, outgoing)
            while not server.established:
                with contextlib.suppress(ssl.SSLWantReadError):
                    client.do_handshake()
                server.receive(outgoing.read(), WorldTime(0))
                incoming.write(server.output())
            client.do_handshake()
            return 1

        return 1 / rate(once)


def bench_leds() -> None:
    """One sample of the four lamps."""
    from smgw_emu.core.instants import WorldTime
    from smgw_emu.core.leds import BootPhase, LedState, leds
    from smgw_emu.profiles import load

    times, state = load().leds, LedState(since=WorldTime(0), phase=BootPhase.STARTING)
    moments = [WorldTime(n * 7_000_000) for n in range(1000)]

    def sample() -> int:
        for moment in moments:
            leds(state, moment, times)
        return len(moments)

    row("four lamps, one sample", f"{1e6 / rate(sample):.1f} us", "", "5 us")


def write_page() -> None:
    """Write the table to docs/speed.md."""
    lines = [
        "# Speed",
        "",
        (
            "Last `make bench`, ratios measured in one run"
            f" ({platform.python_version()} on {platform.machine()}, {os.cpu_count()} cores,"
            f" {ssl.OPENSSL_VERSION})."
        ),
        "",
        "| what | measured | ratio | target |",
        "|---|---:|---:|---:|",
        *(f"| {' | '.join(cells)} |" for cells in rows),
        "",
    ]
    (ROOT / "docs" / "speed.md").write_text("\n".join(lines))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    bench_sml()
    bench_leds()
    bench_states(row, rates)
    bench_cms(row, rates)
    bench_module(row, rates)
    bench_tls(row)
    bench_gateway()
    bench_day()
    bench_wired(row)
    bench_radio(row)
    bench_cls(row)
    bench_month(row)
    bench_year(row)
    bench_commissioning(row, cpu_seconds)
    bench_delivery(row)
    bench_fleet(row)
    write_page()
