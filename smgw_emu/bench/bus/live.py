"""A simulated bus behind a real way in: socket pair, pty, serial port or TCP connection.

Whoever is at the other end (the gateway, a terminal program, a real RS-485 adapter) is one node of
the bus. On a real serial line the octets have already taken their time, so that node is instant.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tty
from collections.abc import Callable
from typing import Protocol

import serial

from hardware.rs485 import switch_on
from smgw_emu.bench.bus.sim import BusSim
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import WorldTime
from smgw_emu.transport.clock import Clock, Timer

_READ_SIZE = 4096


class Wire(Protocol):
    """A way in and out for octets; ``name`` tells people where it is."""

    name: str

    def start(self, on_data: Callable[[bytes], None]) -> None:
        """Begin to read."""

    def write(self, data: bytes) -> None:
        """Send; octets nobody can take now are lost, as on a real line."""

    def close(self) -> None:
        """Give everything back."""


class FileWire:
    """Anything with a file descriptor: pty, serial port, socket."""

    def __init__(self, name: str, descriptor: int, close: Callable[[], None]) -> None:
        self.name = name
        self._descriptor = descriptor
        self._close = close
        self._open = False
        os.set_blocking(descriptor, False)

    def start(self, on_data: Callable[[bytes], None]) -> None:
        """Begin to read."""
        self._open = True

        def read() -> None:
            try:
                data = os.read(self._descriptor, _READ_SIZE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                on_data(data)
            else:
                self._stop()

        asyncio.get_running_loop().add_reader(self._descriptor, read)

    def write(self, data: bytes) -> None:
        """Send what fits."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, data)

    def _stop(self) -> None:
        if self._open:
            self._open = False
            asyncio.get_running_loop().remove_reader(self._descriptor)

    def close(self) -> None:
        """Stop reading and close."""
        self._stop()
        with contextlib.suppress(OSError):
            self._close()


class TcpWire:
    """A TCP server; the newest client is the line's other end."""

    def __init__(self) -> None:
        self.name = ""
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._on_data: Callable[[bytes], None] = lambda _data: None

    async def listen(self, host: str, port: int) -> None:
        """Listen; ``name`` becomes ``tcp://host:port``."""
        self._server = await asyncio.start_server(self._serve, host, port)
        bound = self._server.sockets[0].getsockname()
        self.name = f"tcp://{bound[0]}:{bound[1]}"

    def start(self, on_data: Callable[[bytes], None]) -> None:
        """Begin to read."""
        self._on_data = on_data

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._writer = writer
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while data := await reader.read(_READ_SIZE):
                self._on_data(data)
        if self._writer is writer:
            self._writer = None
        writer.close()

    def write(self, data: bytes) -> None:
        """Send to the client, if there is one."""
        if self._writer is not None:
            self._writer.write(data)

    def close(self) -> None:
        """Stop listening and drop the client."""
        if self._server is not None:
            self._server.close()
        if self._writer is not None:
            self._writer.transport.abort()


async def open_wire(url: str, baud: int) -> tuple[Wire, bool]:
    """Open ``pty``, ``tcp://host:port`` or a serial device; also whether it is a real line.

    Raises:
        ConfigError: it cannot be opened.
    """
    try:
        if url == "pty":
            master, slave = os.openpty()
            tty.setraw(slave)

            def close() -> None:
                os.close(master)
                os.close(slave)

            return FileWire(os.ttyname(slave), master, close), False
        if url.startswith("tcp://"):
            host, _, port = url.removeprefix("tcp://").rpartition(":")
            server = TcpWire()
            await server.listen(host or "127.0.0.1", int(port))
            return server, False
        device = serial.Serial(url, baud, timeout=0, exclusive=True)
        switch_on(device.fileno())
        return FileWire(url, device.fileno(), device.close), True
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(f"cannot open {url!r}: {error}") from error


def socket_wire(end: socket.socket) -> FileWire:
    """Return one end of a socket pair as a wire."""
    return FileWire("socket pair", end.fileno(), end.close)


class _Outside:
    """The other end of the wire, as a node."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._out: list[tuple[WorldTime, bytes]] = []

    def receive(self, data: bytes, _now: WorldTime) -> None:
        self._write(data)

    def next_deadline(self) -> WorldTime | None:
        return None

    def on_deadline(self, _now: WorldTime) -> None:
        return None

    def output(self) -> list[tuple[WorldTime, bytes]]:
        out, self._out = self._out, []
        return out

    def say(self, data: bytes, now: WorldTime) -> None:
        self._out.append((now, data))


class LiveBus:
    """Runs a simulated bus on a clock, with a wire as one of its nodes.

    Args:
        sim: the bus.
        wire: the way in.
        clock: world time.
        real: the wire is a real line: its octets have had their time.
    """

    def __init__(self, sim: BusSim, wire: Wire, clock: Clock, *, real: bool = False) -> None:
        self.sim = sim
        self.wire = wire
        self._clock = clock
        self._outside = _Outside(wire.write)
        self._timer: Timer | None = None
        sim.attach(self._outside, instant=real)

    def start(self) -> None:
        """Begin."""
        self.wire.start(self._heard)
        self._arm()

    def stop(self) -> None:
        """End; gives the wire back."""
        if self._timer is not None:
            self._timer.cancel()
        self.wire.close()

    def touch(self) -> None:
        """Something on the bus was changed from outside."""
        self.sim.run_until(self._clock.now())
        self._arm()

    def _heard(self, data: bytes) -> None:
        now = self._clock.now()
        self.sim.run_until(now)
        self._outside.say(data, now)
        self.sim.collect(self._outside)
        self.touch()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self.sim.next_time()
        self._timer = None if due is None else self._clock.call_at(due, self.touch)
