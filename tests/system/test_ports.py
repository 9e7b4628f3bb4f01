"""Meter ports: what arrives, what is lost, what the log says; real ptys, sockets and files."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import subprocess
import tty

import pytest
from support import Lab, run_virtual

from hardware.ports import PortEvents, RecordingPort, SerialPort, TcpPort, open_port
from lmn.sml.transport import START as MARKER
from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.bench.meters.outputs import FileOutput, PtyOutput, TcpOutput, open_output
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import DAY, HOUR, MINUTE, SECOND, WorldTime


class Listener:
    """Collects what a port tells."""

    def __init__(self) -> None:
        self.data = b""
        self.ready = 0
        self.lost: list[str] = []
        self.events = PortEvents(self._take, self._ready, self.lost.append)

    def _take(self, data: bytes) -> None:
        self.data += data

    def _ready(self) -> None:
        self.ready += 1


async def settle(condition, seconds: float = 5) -> None:
    """Let the loop run until something is true (kernel-side delivery of ptys and sockets)."""
    for _ in range(int(seconds / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never happened")


def frames(count: int) -> bytes:
    meter = ElectricityMeter("1EMU0000000001", WorldTime(0))
    return b"".join(meter.frame(WorldTime(n * SECOND)) for n in range(1, count + 1))


@pytest.mark.req("LMN-21")
def test_damage_on_the_line_is_logged_but_never_floods(home):
    """A thousand damaged frames: one entry now, one with the count a quarter of an hour later."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            bad = bytearray(lab.meter.frame(clock.now()))
            bad[40] ^= 1
            for _ in range(500):
                lab.output.write(bytes(bad))
                await asyncio.sleep(0)
            line = lab.gateway.running.lmn.lines[0]
            await settle(lambda: line.damaged == 500)
            await clock.advance(16 * MINUTE)
            lab.output.write(bytes(bad))
            await settle(lambda: line.damaged == 501)
            lab.output.write(b"\x1b" * 4 + b"\x01" * 4 + lab.meter.frame(clock.now()))
            entries = lab.device.logbooks.entries("system")
            return [e.message for e in entries if e.event == "EMU.42.1"], line.frames

    messages, good = run_virtual(work)
    assert len(messages) == 2
    assert "wrong checksum" in messages[0] and "(seit der letzten Meldung 1)" in messages[0]
    assert "(seit der letzten Meldung 500)" in messages[1]
    assert good >= 16


def test_a_frame_that_is_no_sml_inside_is_damage_too(home):
    """A good transport checksum around nonsense: named, counted, logged."""
    from lmn.sml import encode_frame

    async def work(clock):
        async with Lab(home, clock) as lab:
            lab.output.write(encode_frame(b"\x76\x05nonsense"))
            line = lab.gateway.running.lmn.lines[0]
            await settle(lambda: line.damaged == 1)
            return [e.event for e in lab.device.logbooks.entries("system")]

    assert "EMU.42.1" in run_virtual(work)


@pytest.mark.req("LMN-13")
def test_an_unplugged_meter_is_logged_and_its_values_repeat(home):
    """The plug pulled: port lost in the system log, missing values marked in the consumer log."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            await clock.advance(HOUR)
            lab.transmitter.stop()
            lab.output.close()
            await clock.advance(HOUR)
            system = [e.event for e in lab.device.logbooks.entries("system")]
            consumer = [e.event for e in lab.device.logbooks.entries("consumer", "consumer1")]
            return system, consumer

    system, consumer = run_virtual(work)
    assert "EMU.42.2" in system
    assert consumer.count("EMU.40.0") == 1


def test_a_serial_port_over_a_pty(tmp_path):
    """Opened like /dev/ttyUSB0; when the other side goes, it is lost and tried again."""

    async def work(clock):
        clock.set_factor(1)
        master, slave = pty.openpty()
        tty.setraw(slave)
        link = tmp_path / "ttyTEST"
        link.symlink_to(os.ttyname(slave))
        port_side = Listener()
        port = open_port(f"{link}?baud=921600", clock, port_side.events, MARKER)
        assert isinstance(port, SerialPort)
        port.start()
        os.write(master, b"hello")
        await settle(lambda: port_side.data == b"hello")
        os.close(slave)
        os.close(master)
        await settle(lambda: bool(port_side.lost))
        assert port_side.ready == 1
        other = PtyOutput()
        link.unlink()
        link.symlink_to(other.name)
        clock.set_factor(1000)
        await settle(lambda: port_side.ready == 2)
        other.write(b" again")
        await settle(lambda: port_side.data == b"hello again")
        port.stop()
        other.close()

    run_virtual(work)


def test_a_real_serial_pair_made_by_socat(home):
    """Two ttys joined by socat, as a null-modem cable would: meter on one, gateway on the other."""
    socat = shutil.which("socat")
    assert socat, "socat is needed: apt-get install socat"

    async def work(clock, first, second):
        clock.set_factor(1)
        listener = Listener()
        port = open_port(second, clock, listener.events, MARKER)
        port.start()
        data = frames(3)
        with open(first, "wb", buffering=0) as line:  # noqa: PTH123
            line.write(data)
            await settle(lambda: len(listener.data) == len(data))
        port.stop()
        return listener.data == data

    process = subprocess.Popen(
        [socat, "-d", "-d", "pty,raw,echo=0", "pty,raw,echo=0"], stderr=subprocess.PIPE, text=True
    )
    try:
        names = []
        while len(names) < 2:
            line = process.stderr.readline()
            if "PTY is" in line:
                names.append(line.split()[-1])
        assert run_virtual(lambda clock: work(clock, *names))
    finally:
        process.terminate()
        process.wait()
        process.stderr.close()


def test_a_tcp_port_reconnects_with_growing_pauses():
    """Refused, accepted, closed, accepted again."""

    async def work(clock):
        server = TcpOutput()
        await server.start("127.0.0.1", 0)
        host, _, number = server.name.removeprefix("tcp://").rpartition(":")
        server.close()
        listener = Listener()
        port = open_port(f"tcp://{host}:{number}", clock, listener.events, MARKER)
        assert isinstance(port, TcpPort)
        port.start()
        await settle(lambda: bool(listener.lost))
        server = TcpOutput()
        await server.start(host, int(number))
        await clock.advance(2 * SECOND)
        await settle(lambda: listener.ready == 1 and len(server._clients) == 1)
        server.write(b"one")
        await settle(lambda: listener.data == b"one")
        server.close()
        await settle(lambda: len(listener.lost) == 2)
        port.stop()
        await clock.advance(HOUR)
        return listener.ready

    assert run_virtual(work) == 1


def test_a_recording_plays_frame_by_frame_and_loops(tmp_path):
    """One frame per interval of the clock; the end is told, or it begins again."""
    path = tmp_path / "meter.sml"
    path.write_bytes(b"noise" + frames(3))

    async def work(clock):
        once, again = Listener(), Listener()
        first = open_port(f"{path}?interval=10", clock, once.events, MARKER)
        second = open_port(f"{path}?interval=10&loop=1", clock, again.events, MARKER)
        assert isinstance(first, RecordingPort)
        first.start()
        second.start()
        await clock.advance(25 * SECOND)
        seen = once.data.count(MARKER)
        await clock.advance(DAY // 24)
        first.stop()
        second.stop()
        return seen, once, again

    seen, once, again = run_virtual(work)
    assert seen == 1  # noise first, then a frame every ten seconds
    assert once.data == b"noise" + frames(3)
    assert once.lost == ["the recording has ended"]
    assert again.data.count(MARKER) > 200


def test_a_recording_that_vanished_is_lost_not_a_crash(tmp_path):
    """Missing file: told, tried again."""

    async def work(clock):
        listener = Listener()
        port = open_port(str(tmp_path / "none.sml"), clock, listener.events, MARKER)
        port.start()
        await clock.advance(MINUTE)
        port.stop()
        return listener.lost

    lost = run_virtual(work)
    assert 2 <= len(lost) <= 8 and "No such file" in lost[0]


@pytest.mark.parametrize("url", ["tcp://nohost", "tcp://:0", "x?interval=soon", "/dev/x?baud=fast"])
def test_a_wrong_source_is_a_configuration_error(url):
    """The text names the source."""

    async def work(clock):
        with pytest.raises(ConfigError, match="meter source"):
            open_port(url, clock, Listener().events, MARKER)

    run_virtual(work)


def test_outputs_of_the_virtual_meter(tmp_path):
    """File, pty and TCP by their addresses; what nobody reads is lost, never blocks."""

    async def work(_clock):
        file = await open_output(str(tmp_path / "out.sml"))
        assert isinstance(file, FileOutput)
        file.write(b"abc")
        file.close()
        assert (tmp_path / "out.sml").read_bytes() == b"abc"
        terminal = await open_output("pty")
        for _ in range(1000):
            terminal.write(b"x" * 1000)
        terminal.close()
        tcp = await open_output("tcp://127.0.0.1:0")
        reader, writer = await asyncio.open_connection("127.0.0.1", int(tcp.name.split(":")[-1]))
        writer.write(b"what a client says does not matter")
        await settle(lambda: len(tcp._clients) == 1)
        tcp.write(b"frame")
        assert await reader.readexactly(5) == b"frame"
        writer.close()
        await settle(lambda: not tcp._clients)
        tcp.close()

    run_virtual(work)


def test_a_device_path_that_is_not_there_yet_is_a_serial_port(tmp_path):
    """/dev/ttyUSB7 may be plugged in later."""

    async def work(clock):
        listener = Listener()
        port = open_port("/dev/ttyUSB77", clock, listener.events, MARKER)
        assert isinstance(port, SerialPort)
        port.start()
        await clock.advance(5 * SECOND)
        port.stop()
        return listener.lost

    assert "No such file" in run_virtual(work)[0]
