"""Where a virtual meter's octets go: a pty, TCP clients, a file, a stream in this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import WorldTime
from smgw_emu.transport.clock import Clock, Timer


class Output(Protocol):
    """A way out for octets."""

    name: str

    def write(self, data: bytes) -> None:
        """Send; octets nobody can take now are lost, as on a real line."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class FileOutput:
    """Appends to a file."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._file = path.open("ab")

    def write(self, data: bytes) -> None:
        """Append and flush."""
        self._file.write(data)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class PtyOutput:
    """A pseudo terminal in raw mode; ``name`` is the path to open as a serial port."""

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.name = os.ttyname(self._slave)

    def write(self, data: bytes) -> None:
        """Write what fits into the terminal's buffer."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, data)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._master)
        os.close(self._slave)


class SocketOutput:
    """One end of a socket pair; the gateway reads the other."""

    def __init__(self, end: socket.socket) -> None:
        self.name = "socket pair"
        self._socket = end
        end.setblocking(False)

    def write(self, data: bytes) -> None:
        """Send what the socket takes."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            self._socket.send(data)

    def close(self) -> None:
        """Close our end."""
        self._socket.close()


class TcpOutput:
    """A TCP server that sends the same to every client."""

    def __init__(self) -> None:
        self.name = ""
        self._clients: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen; ``name`` becomes ``tcp://host:port``."""
        self._server = await asyncio.start_server(self._serve, host, port)
        bound = self._server.sockets[0].getsockname()
        self.name = f"tcp://{bound[0]}:{bound[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while await reader.read(1024):
                pass  # what a client says does not matter to a pushing meter
        self._clients.discard(writer)
        writer.close()

    def write(self, data: bytes) -> None:
        """Send to every client that is there and not far behind."""
        for writer in self._clients:
            if writer.transport.get_write_buffer_size() < 65_536:
                writer.write(data)

    def close(self) -> None:
        """Stop listening and drop the clients."""
        if self._server is not None:
            self._server.close()
        for writer in self._clients:
            writer.transport.abort()


class Transmitter:
    """Sends a frame every ``interval`` nanoseconds of world time, on the raster of the interval."""

    def __init__(
        self, frame: Callable[[WorldTime], bytes], output: Output, clock: Clock, interval: int
    ) -> None:
        self._frame = frame
        self._output = output
        self._clock = clock
        self._interval = interval
        self._timer: Timer | None = None
        self.sent = 0

    def start(self) -> None:
        """Begin with the next raster point."""
        self._arm()

    def stop(self) -> None:
        """Send no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        now = self._clock.now()
        due = WorldTime((now.ns // self._interval + 1) * self._interval)
        self._timer = self._clock.call_at(due, self._send)

    def _send(self) -> None:
        self._output.write(self._frame(self._clock.now()))
        self.sent += 1
        self._arm()


async def open_output(url: str) -> Output:
    """Open ``pty``, ``tcp://host:port`` or a file path.

    Raises:
        ConfigError: the address cannot be used.
    """
    try:
        if url == "pty":
            return PtyOutput()
        if url.startswith("tcp://"):
            host, _, port = url.removeprefix("tcp://").rpartition(":")
            output = TcpOutput()
            await output.start(host or "127.0.0.1", int(port))
            return output
        return FileOutput(Path(url))
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(f"cannot send to {url!r}: {error}") from error
