"""Meter ports: octets of a meter from a serial line, a TCP server, a socket or a recording.

A port is named by a URL: a device path (``/dev/ttyUSB0``, a pty; ``?baud=9600``, ``&rs485=off``),
``tcp://host:port``, or the path of a recording (``?interval=1`` seconds between frames,
``&loop=1`` to begin again). A lost port is opened again with a growing pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import serial

from hardware.rs485 import explain, switch_on
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import SECOND
from smgw_emu.transport.clock import Clock, Timer

DEFAULT_BAUD = 9600  # optical port, DIN EN 62056-21
_READ_SIZE = 4096
_FIRST_PAUSE_S = 1  # own choice: a port is tried again after 1, 2, 4 ... 30 s
_LAST_PAUSE_S = 30
_MAX_UNSENT = 65_536  # own choice: far above one frame


@dataclass(frozen=True, slots=True)
class PortEvents:
    """Whom a port tells.

    Attributes:
        on_data: octets arrived.
        on_ready: the port is open.
        on_lost: it cannot be used, with the reason; it is tried again.
    """

    on_data: Callable[[bytes], None]
    on_ready: Callable[[], None]
    on_lost: Callable[[str], None]


class MeterPort(ABC):
    """Base of the ports: opens, keeps trying, closes."""

    def __init__(self, name: str, clock: Clock, events: PortEvents) -> None:
        self.name = name
        self._clock = clock
        self._events = events
        self._timer: Timer | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._stopped = False

    def start(self) -> None:
        """Open the port, now or as soon as it can be."""
        self._stopped = False
        self._open()

    def write(self, data: bytes) -> None:
        """Send octets; those a port cannot take are lost, as on a line nobody listens to.

        A recording takes none.
        """
        del data

    def stop(self) -> None:
        """Close the port for good."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._close()

    @abstractmethod
    def _open(self) -> None:
        """Open; end in :meth:`_ready` or :meth:`_lost`."""

    @abstractmethod
    def _close(self) -> None:
        """Give the resource back; harmless when it is not open."""

    def _ready(self) -> None:
        self._pause_s = _FIRST_PAUSE_S
        self._events.on_ready()

    def _lost(self, reason: str) -> None:
        self._close()
        if self._stopped:
            return
        self._events.on_lost(reason)
        self._timer = self._clock.call_at(self._clock.now() + self._pause_s * SECOND, self._open)
        self._pause_s = min(2 * self._pause_s, _LAST_PAUSE_S)


class SerialPort(MeterPort):
    """A serial device, 8N1.

    Args:
        path: of the device; ``/dev/serial/by-id/...`` stays the same when it is plugged in again.
        baud: octets/s times ten.
        clock, events: as for every port.
        rs485: let the kernel switch the direction if it can.
    """

    def __init__(
        self, path: str, baud: int, clock: Clock, events: PortEvents, *, rs485: bool = False
    ) -> None:
        super().__init__(path, clock, events)
        self._baud = baud
        self._rs485 = rs485
        self._serial: serial.Serial | None = None
        self._unsent = b""
        self.direction = ""

    def _open(self) -> None:
        try:
            self._serial = serial.Serial(self.name, self._baud, timeout=0, exclusive=True)
            asyncio.get_running_loop().add_reader(self._serial.fileno(), self._read)
        except (OSError, ValueError) as error:
            known = isinstance(error, OSError) and error.errno is not None
            self._lost(explain(self.name, error) if known else str(error))  # type: ignore[arg-type]
            return
        if self._rs485:
            self.direction = switch_on(self._serial.fileno()).text
        self._ready()

    def write(self, data: bytes) -> None:
        """Send; what the driver does not take yet follows when it can."""
        if self._serial is None or len(self._unsent) > _MAX_UNSENT:
            return
        waiting = bool(self._unsent)
        self._unsent += data
        if not waiting:
            self._push()

    def _push(self) -> None:
        port = self._serial
        if port is None:
            return
        loop = asyncio.get_running_loop()
        try:
            written = os.write(port.fileno(), self._unsent)
        except BlockingIOError:
            written = 0
        except OSError as error:
            self._lost(error.strerror or str(error))
            return
        self._unsent = self._unsent[written:]
        if self._unsent:
            loop.add_writer(port.fileno(), self._push)
        else:
            loop.remove_writer(port.fileno())

    def _read(self) -> None:
        port = self._serial
        if port is None:
            return
        try:
            data = os.read(port.fileno(), _READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(str(error))
            return
        if data:
            self._events.on_data(data)
        else:
            self._lost("the device is gone")

    def _close(self) -> None:
        port, self._serial = self._serial, None
        self._unsent = b""
        if port is not None:
            with contextlib.suppress(OSError, ValueError):
                asyncio.get_running_loop().remove_reader(port.fileno())
                asyncio.get_running_loop().remove_writer(port.fileno())
            with contextlib.suppress(OSError):
                port.close()


class SocketPort(MeterPort):
    """The gateway's end of a socket pair (a virtual meter or bus in this process).

    The plug outlives the device: what arrived while it was off is lost, as on a real line.
    """

    def __init__(self, plug: socket.socket, clock: Clock, events: PortEvents) -> None:
        super().__init__("socket", clock, events)
        self._plug = plug
        self._socket: socket.socket | None = None

    def _open(self) -> None:
        end = self._socket = self._plug.dup()
        end.setblocking(False)
        with contextlib.suppress(OSError):
            while end.recv(_READ_SIZE):
                pass
        asyncio.get_running_loop().add_reader(end.fileno(), self._read)
        self._ready()

    def _read(self) -> None:
        end = self._socket
        if end is None:
            return
        try:
            data = end.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._events.on_data(data)
        else:
            self.stop()
            self._events.on_lost("the meter is gone")

    def write(self, data: bytes) -> None:
        """Send what the socket takes."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.send(data)

    def _close(self) -> None:
        end, self._socket = self._socket, None
        if end is not None:
            asyncio.get_running_loop().remove_reader(end.fileno())
            end.close()


class TcpPort(MeterPort):
    """A client of a TCP server that sends what a meter sends."""

    def __init__(self, host: str, port: int, clock: Clock, events: PortEvents) -> None:
        super().__init__(f"tcp://{host}:{port}", clock, events)
        self._address = (host, port)
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None

    def write(self, data: bytes) -> None:
        """Send; a peer that does not read loses octets."""
        writer = self._writer
        if writer is not None and writer.transport.get_write_buffer_size() < _MAX_UNSENT:
            writer.write(data)

    def _open(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            reader, writer = await asyncio.open_connection(*self._address)
        except OSError as error:
            self._task = None
            self._lost(str(error))
            return
        self._writer = writer
        self._ready()
        reason = "the peer closed the connection"
        try:
            while data := await reader.read(_READ_SIZE):
                self._events.on_data(data)
        except OSError as error:
            reason = str(error)
        finally:
            self._writer = None
            writer.close()
        self._task = None
        self._lost(reason)

    def _close(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()


class RecordingPort(MeterPort):
    """Plays a recording frame by frame.

    Args:
        marker: octets every frame begins with; the file is cut there. A line end instead: each line
            is a frame.
        interval_s: seconds between frames.
        loop: begin again at the end.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        events: PortEvents,
        *,
        marker: bytes,
        interval_s: int = 1,
        loop: bool = False,
    ) -> None:
        super().__init__(str(path), clock, events)
        self._path = path
        self._marker = marker
        self._interval = interval_s * SECOND
        self._loop = loop
        self._frames: list[bytes] = []

    def _open(self) -> None:
        try:
            self._frames = self._cut(self._path.read_bytes())
        except OSError as error:
            self._lost(str(error))
            return
        self._ready()
        self._arm()

    def _cut(self, data: bytes) -> list[bytes]:
        """Return the frames, the last one first."""
        if self._marker == b"\n":
            return [line + b"\n" for line in reversed(data.splitlines())]
        first, *pieces = data.split(self._marker)
        frames = [self._marker + piece for piece in reversed(pieces)]
        return [*frames, first] if first else frames

    def _arm(self) -> None:
        self._timer = self._clock.call_at(self._clock.now() + self._interval, self._play)

    def _play(self) -> None:
        if self._frames:
            self._events.on_data(self._frames.pop())
        if self._frames:
            self._arm()
        elif self._loop:
            self._open()
        else:
            self._events.on_lost("the recording has ended")

    def _close(self) -> None:
        self._frames = []


def open_port(
    url: str,
    clock: Clock,
    events: PortEvents,
    marker: bytes,
    baud: int = DEFAULT_BAUD,
    *,
    rs485: bool = False,
) -> MeterPort:
    """Return the port a URL names (not yet started).

    Args:
        url: device, ``tcp://host:port`` or recording, with options.
        clock: world time.
        events: whom to tell.
        marker: octets every frame of a recording begins with.
        baud: of a serial device whose URL does not say.
        rs485: let the kernel switch the direction of a serial device if it can.

    Raises:
        ConfigError: the URL names no kind of port.
    """
    try:
        if url.startswith("tcp://"):
            parts = urlsplit(url)
            if not parts.hostname or not parts.port:
                raise ValueError("tcp://host:port expected")
            return TcpPort(parts.hostname, parts.port, clock, events)
        path, _, query = url.partition("?")
        options = {name: values[-1] for name, values in parse_qs(query).items()}
        if _is_device(path):
            speed = int(options.get("baud", baud))
            direction = rs485 and options.get("rs485") != "off"
            return SerialPort(path, speed, clock, events, rs485=direction)
        return RecordingPort(
            Path(path),
            clock,
            events,
            marker=marker,
            interval_s=max(1, int(options.get("interval", 1))),
            loop=options.get("loop") == "1",
        )
    except ValueError as error:
        raise ConfigError(f"meter source {url!r}: {error}") from error


def _is_device(path: str) -> bool:
    """Tell a serial device from a recording; a device that is not plugged in yet is one too."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116  # a device is not a Path
    except OSError:
        return path.startswith("/dev/")
