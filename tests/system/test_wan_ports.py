"""The wake-up port of a running gateway, a storm on it, and NTP inside TLS, with real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import SMGW as COMMAND
from support import Lab, own_profile, program, run_virtual
from tls_lab import NOW, identity, material

from smgw_emu import profiles
from smgw_emu.bench.pki.folder import open_participant
from smgw_emu.bench.timeserver import NtpTlsServer, TimeFaults, TimeServer
from smgw_emu.bench.wakeup import send, wakeup_packet
from smgw_emu.core.device_clock import DeviceClock
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.instants import HOUR, MILLISECOND, SECOND, DeviceTime
from smgw_emu.core.leds import leds
from smgw_emu.gateway import Gateway
from smgw_emu.lab.access import read_access
from smgw_emu.lab.provision import ADMINISTRATOR, LAB_PKI
from smgw_emu.lab.state import gateway_state
from smgw_emu.transport.presets import client_context, server_context
from smgw_emu.transport.stream import TlsStream
from smgw_emu.transport.tls import TlsEnd
from smgw_emu.transport.watchers import ValidityWatcher
from wan.ntp import Ignored, NtpClient, Sample, TimeKeeper
from wan.wakeup import Rejection

PROFILE = profiles.load()


def administrator(home):
    return open_participant(home / LAB_PKI / "issued" / f"{ADMINISTRATOR}.GWA" / "1")


async def until(condition, seconds: float = 10) -> None:
    """Let the loop work until ``condition()`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen"
        await asyncio.sleep(0.002)


def with_transport(home, transport: str) -> None:
    """Give the gateway a profile of its own that listens on ``transport``."""
    own_profile(home, f'[wakeup]\ntransport = "{transport}"')


@pytest.mark.req("WAN-05", "HW-19")
@pytest.mark.parametrize(("listens", "sends"), [("udp", "udp"), ("tcp", "tcp"), ("both", "tcp"),
                                                ("both", "udp")])  # fmt: skip
def test_a_wakeup_reaches_the_device(home, listens, sends):
    """T lamp 3 s at 125 ms, one log entry, counted; the replay does nothing; nobody is answered."""
    with_transport(home, listens)

    async def work(clock):
        async with Lab(home, clock) as lab:
            await clock.advance(61 * SECOND)  # past the start pattern
            line = lab.gateway.running.wakeup
            host, port = line.address
            now = clock.now()
            packet = wakeup_packet(administrator(home), lab.device.id, now.seconds)
            send(packet, host, port, sends)
            await until(lambda: line.service.accepted == 1)
            times = lab.gateway.profile.leds
            seen = [leds(lab.gateway.lamps, now + n * 125 * MILLISECOND, times).tls
                    for n in range(26)]  # fmt: skip
            assert seen[:24] == [True, False] * 12
            assert not any(seen[24:])
            send(packet, host, port, sends)
            await until(lambda: line.service.rejected[Rejection.SEEN_BEFORE] == 1)
            entries = [(e.event, e.outcome) for e in lab.device.logbooks.last("system")][-2:]
            assert entries == [("EMU.60.0", "S"), ("EMU.60.1", "F")]
            state = gateway_state(lab.gateway)["wakeup"]
            assert state["accepted"] == 1
            assert state["refused"] == {"packet was accepted before": 1}
            if sends == "udp":
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.settimeout(0.05)
                    probe.connect((host, port))
                    probe.send(packet)
                    with pytest.raises(TimeoutError):
                        probe.recv(1)
        assert lab.gateway.running is None

    run_virtual(work)


def test_tcp_connections_are_few_short_and_silent(home):
    """Pieces, garbage, silence and crowds: no answer, no leak, at most 16 at once."""
    with_transport(home, "tcp")

    async def work(clock):
        async with Lab(home, clock) as lab:
            line = lab.gateway.running.wakeup
            host, port = line.address
            packet = wakeup_packet(administrator(home), lab.device.id, clock.now().seconds)
            reader, writer = await asyncio.open_connection(host, port)
            for octet in packet[:-1]:
                writer.write(bytes((octet,)))
                await asyncio.sleep(0)
            assert line.service.accepted == 0
            writer.write(packet[-1:])
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            await until(lambda: line.service.accepted == 1)
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            writer.write_eof()
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()
            await until(lambda: line.service.rejected[Rejection.NOT_A_WAKEUP] == 1)
            crowd = [await asyncio.open_connection(host, port) for _ in range(40)]
            await asyncio.sleep(0.05)
            assert len(line.port._connections) <= 16
            for _, writer in crowd:
                writer.close()
            await until(lambda: not line.port._connections)

    run_virtual(work)


def test_the_port_can_be_switched_off_and_taken(home):
    """Enabled = false: nothing listens; a port in use is one clear error."""
    config = (home / "config.toml").read_text()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        text = config.replace('[wakeup]\nhost = "127.0.0.1"\nport = 0',
                              f'[wakeup]\nhost = "127.0.0.1"\nport = {port}')  # fmt: skip
        assert text != config
        (home / "config.toml").write_text(text)

        async def fails(clock):
            gateway = Gateway(home, clock)
            with pytest.raises(SmgwError, match="wake-up cannot listen"):
                await gateway.power_on()
            assert gateway.running is None

        run_virtual(fails)
    (home / "config.toml").write_text(text.replace(f"port = {port}", "enabled = false"))

    async def work(clock):
        async with Lab(home, clock) as lab:
            assert lab.gateway.running.wakeup is None
            assert gateway_state(lab.gateway)["wakeup"] is None

    run_virtual(work)


_STORM = """
import socket, sys, time
host, port, seconds, rate = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
packets = [bytes.fromhex(line) for line in sys.stdin.read().split()]
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect((host, port))
start, sent = time.perf_counter(), 0
while (now := time.perf_counter() - start) < seconds:
    while sent < now * rate:
        try:
            out.send(packets[sent % len(packets)])
        except OSError:
            pass
        sent += 1
    time.sleep(0.001)
print(sent)
"""


@pytest.mark.timeout(120)
@pytest.mark.req("WAN-05")
def test_a_storm_of_invalid_packets_leaves_the_gateway_serving(home):
    """Scenario W05 with 10 000 a second: processor bounded, consumer served, meters read, log small.

    Mixed: foreign devices, stale ones, wrong signatures. Processor time of the gateway's process is
    compared with the time that passed; the port's own share is a tenth.
    """
    import re

    import httpx

    from smgw_emu.bench.consumer import HanClient

    with program(COMMAND, "run", str(home), "--clock", "system", wait_for="ready") as process:
        access = read_access(home)
        state = httpx.get(f"{access.control.url}/state", trust_env=False).json()
        host, port = state["wakeup"]["address"]
        gwa = administrator(home)
        from smgw_emu.core.config import load_config

        device = load_config(home / "config.toml").device_id
        now = int(time.time())
        good = wakeup_packet(gwa, device, now)
        packets = [
            good[:-1] + bytes((good[-1] ^ 1,)),
            wakeup_packet(gwa, device, now - 3600),
            good[:6] + b"\xff" + good[7:],
            os.urandom(108),
        ]
        before, began = _cpu(process.pid), time.monotonic()
        storm = subprocess.Popen(
            [sys.executable, "-c", _STORM, host, str(port), "4", "10000"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        storm.stdin.write("\n".join(packet.hex() for packet in packets))
        storm.stdin.close()

        async def ask() -> int:
            client = HanClient(
                f"https://{access.han.host}:{access.han.port}",
                _consumer_context(home),
                (access.han.user, access.han.password),
            )
            answered = 0
            async with client:
                while storm.poll() is None:
                    await client.call("smgw-info")
                    answered += 1
                    await asyncio.sleep(0.1)
            return answered

        answered = asyncio.run(ask())
        passed, used = time.monotonic() - began, _cpu(process.pid) - before
        sent = int(storm.stdout.read())
        storm.stdout.close()
        state = httpx.get(f"{access.control.url}/state", trust_env=False).json()
        logs = httpx.get(f"{access.control.url}/logs/system?count=1000", trust_env=False).json()
    assert sent > 20_000
    assert answered > 10
    assert used / passed < 0.5, (used, passed)
    refused = state["wakeup"]["refused"]
    assert state["wakeup"]["accepted"] == 0
    assert set(refused) >= {"addressed to another device", "timestamp outside the window"}
    assert refused.get("signature is wrong", 0) <= 10 * (passed / 10 + 2)
    noted = [entry for entry in logs["entries"] if entry["event"] == "EMU.60.1"]
    assert 3 <= len(noted) <= 10
    assert re.search(r"bisher \d+", noted[0]["message"])


def _consumer_context(home):
    from smgw_emu.bench.consumer import client_context as consumer_context

    return consumer_context(home / "certs" / "han.pem")


def _cpu(pid: int) -> float:
    """Processor seconds of a process so far (proc(5): fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- NTP inside TLS ------------------------------------------------------------------------------


class Poller:
    """The gateway's end of an NTP-TLS channel, as a channel of issue 6 will use it."""

    def __init__(self, clock, device_clock, keeper) -> None:
        self.clock = clock
        self.device_clock = device_clock
        self.keeper = keeper
        self.client = NtpClient(PROFILE.time, os.urandom)
        self.stream: TlsStream | None = None
        self.results: list = []
        self.events: list = []
        self.end: TlsEnd | None = None

    def established(self, stream) -> None:
        self.stream = stream

    def received(self, stream, data) -> None:
        now = self.clock.now()
        result = self.client.receive(
            data, self.device_clock.read(now), synchronised=self.keeper.valid
        )
        if result is None:
            return
        self.results.append(result)
        if isinstance(result, Sample):
            for event in self.keeper.on_sample(result, now):
                self.events.append(event)
                if event.step:
                    shown = self.device_clock.read(now) + event.step
                    self.device_clock.set(now, shown, valid=event.valid)

    def ended(self, stream, reason, detail) -> None:
        self.end = reason

    def poll(self) -> None:
        now = self.clock.now()
        assert self.stream is not None
        self.stream.write(self.client.request(now, self.device_clock.read(now)))


async def ntp_pair(clock, faults, *, error_ms=0, valid=True):
    """A time server in TLS and a gateway's poller connected to it."""
    made = material()
    server = NtpTlsServer(
        clock,
        server_context(
            "wan", identity(made.administrator.tls), peers=[made.gateway.tls.certificate_der]
        ),
        PROFILE.wan_tls,
        TimeServer(faults),
    )
    host, port = await server.start()
    device_clock = DeviceClock(clock.now(), valid=valid)
    device_clock.set(clock.now(), device_clock.read(clock.now()) + error_ms * MILLISECOND)
    poller = Poller(clock, device_clock, TimeKeeper(PROFILE.time, clock.now(), valid=valid))
    context = client_context(
        "wan", identity(made.gateway.tls), [made.administrator.tls.certificate_der]
    ).context

    def device_time():
        return device_clock.read(clock.now()).datetime() if device_clock.valid else None

    def stream() -> TlsStream:
        return TlsStream(clock, context, PROFILE.wan_tls, poller,
                         watcher=lambda: ValidityWatcher(device_time))  # fmt: skip

    await asyncio.get_running_loop().create_connection(stream, host, port)
    await until(lambda: poller.stream is not None or poller.end is not None)
    return server, poller


REAL_START = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))


@pytest.mark.req("WAN-N03", "WAN-N04")
def test_time_over_tls():
    """WKS5 on loopback: the clock is set at once, then corrected each minute; faults are ignored."""

    async def work(clock):
        faults = TimeFaults()
        server, poller = await ntp_pair(clock, faults, error_ms=-5 * 365 * 86_400_000, valid=False)
        poller.poll()
        await until(lambda: poller.results)
        assert poller.events[0].kind.name == "SET"
        assert abs(poller.device_clock.deviation(clock.now())) < MILLISECOND
        faults.offset_ms = 400
        await clock.advance(60 * SECOND)
        poller.poll()
        await until(lambda: len(poller.results) == 2)
        assert poller.device_clock.deviation(clock.now()) == pytest.approx(
            400 * MILLISECOND, abs=MILLISECOND
        )
        faults.leap = 3
        await clock.advance(60 * SECOND)
        poller.poll()
        await until(lambda: len(poller.results) == 3)
        assert poller.results[-1] is Ignored.LEAP
        faults.leap, faults.delay_ms = 0, 9500
        await clock.advance(60 * SECOND)
        poller.poll()
        await until(lambda: server.server.requests == 4)
        await clock.advance(9500 * MILLISECOND)
        await until(lambda: len(poller.results) == 4)
        assert poller.results[-1] is Ignored.ROUND_TRIP
        faults.silent = True
        await clock.advance(60 * SECOND)
        poller.poll()
        await until(lambda: server.server.requests == 5)
        assert poller.client.on_deadline(clock.now() + 10 * SECOND)
        poller.stream.close()
        await until(lambda: server.ends)
        assert server.ends == [TlsEnd.PEER_CLOSED]
        await server.stop()

    run_virtual(work, REAL_START)


@pytest.mark.req("WAN-N04")
def test_a_channel_lives_48_hours_at_most():
    """Scenario W08 up to the close: close_notify from the gateway, on virtual time."""

    async def work(clock):
        server, poller = await ntp_pair(clock, TimeFaults())
        await clock.advance(48 * HOUR - SECOND)
        assert poller.end is None
        await clock.advance(SECOND)
        await until(lambda: server.ends and poller.end)
        # both ends keep the limit; whoever is first says close_notify
        assert {poller.end, *server.ends} <= {TlsEnd.TOO_OLD, TlsEnd.PEER_CLOSED}
        assert TlsEnd.TOO_OLD in {poller.end, *server.ends}
        await server.stop()

    run_virtual(work, REAL_START)


def test_an_expired_server_by_the_devices_clock():
    """HSM-10 on the wire: three years on, the pinned certificate is refused; without time it is not."""

    async def work(clock):
        server, poller = await ntp_pair(clock, TimeFaults())
        assert poller.end is None
        poller.stream.abort()
        await until(lambda: poller.end is not None)
        await server.stop()
        await clock.advance(3 * 365 * 24 * HOUR)
        server, poller = await ntp_pair(clock, TimeFaults())
        assert poller.end is TlsEnd.HANDSHAKE_FAILED
        assert poller.stream is None
        await server.stop()
        server, poller = await ntp_pair(clock, TimeFaults(), valid=False)
        assert poller.end is None
        await server.stop()

    run_virtual(work, REAL_START)


def test_a_slow_reader_stops_the_writer():
    """Back-pressure reaches the stream's user, and goes away again."""

    async def work(clock):
        server, poller = await ntp_pair(clock, TimeFaults())
        stream = poller.stream
        stream._transport.set_write_buffer_limits(high=1000)
        (peer,) = server.streams
        peer._transport.pause_reading()
        for _ in range(2000):
            stream.write(b"x" * 5000)
            if stream.paused:
                break
        assert stream.paused
        server.received = lambda _stream, _data: None
        peer._transport.resume_reading()
        await until(lambda: not stream.paused)
        poller.stream.close()
        await server.stop()

    run_virtual(work, REAL_START)


def test_an_answer_made_by_ntplib():
    """Our request read, and the answer written, by other people's codec."""
    import ntplib

    client = NtpClient(PROFILE.time, os.urandom)
    request = client.request(NOW, DeviceTime(NOW.ns))
    theirs = ntplib.NTPPacket()
    theirs.from_data(request)
    assert (theirs.version, theirs.mode, theirs.leap, theirs.stratum) == (4, 3, 0, 0)
    answer = ntplib.NTPPacket(version=4, mode=4)
    answer.stratum, answer.leap = 1, 0
    moment = NOW.ns / 1e9 + 2_208_988_800
    answer.recv_timestamp = answer.tx_timestamp = moment + 1.5
    data = bytearray(answer.to_data())
    data[24:32] = request[40:48]
    result = client.receive(bytes(data), DeviceTime(NOW.ns), synchronised=True)
    assert isinstance(result, Sample)
    assert result.offset == pytest.approx(1.5 * SECOND, abs=1000)


def test_memory_stays_flat_under_packets(home):
    """50 000 packets through the service: no growth beyond its bounded memory."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            line = lab.gateway.running.wakeup
            gwa = administrator(home)
            packets = [wakeup_packet(gwa, lab.device.id, clock.now().seconds + n) for n in range(3)]
            for packet in packets:
                line.port.deliver(packet)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for number in range(50_000):
                line.port.deliver(packets[number % 3][:-1] + bytes((number % 251,)))
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            assert grown < 8192
            assert len(line.service._accepted) == 3

    run_virtual(work)
