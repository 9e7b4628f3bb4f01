"""The port of the wake-up service: UDP, TCP or both, cheap under a storm.

The text asks that the service runs below value processing and never blocks it (TR-03109-1 v1.0
3.2.5.4). So it may use a tenth of the processor: datagrams are taken for at most 2 ms out of every
20 ms, what does not fit stays with the kernel, which drops it. Nothing is ever answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

SLOT_S = 0.02
SHARE_S = 0.002
_MAX_DATAGRAM = 2048
_TCP_TIMEOUT_S = 5.0
_TCP_CONNECTIONS = 16

Receive = Callable[[bytes], None]
"""Takes one packet."""
Length = Callable[[bytes], int | None]
"""How long is the packet that begins so; None: not known yet."""


class PacketPort:
    """Listens for packets.

    Args:
        receive: takes each packet.
        length: cuts packets out of a TCP stream.
        max_octets: longest packet; more on a TCP connection is dropped.
    """

    def __init__(self, receive: Receive, length: Length, max_octets: int) -> None:
        self._receive = receive
        self._length = length
        self._max_octets = max_octets
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._connections: dict[_TcpPacket, None] = {}
        self.taken = 0

    async def start(self, transport: str, host: str, port: int) -> int:
        """Listen; returns the port (the same for UDP and TCP).

        Raises:
            OSError: the address is in use or not ours.
        """
        if transport in {"udp", "both"}:
            port = self._start_udp(host, port)
        if transport in {"tcp", "both"}:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _TcpPacket(self), host, port)
            port = self._server.sockets[0].getsockname()[1]
        return port

    def _start_udp(self, host: str, port: int) -> int:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            self._socket = None
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._readable)
        return int(self._socket.getsockname()[1])

    def stop(self) -> None:
        """Stop listening."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in tuple(self._connections):
            connection.drop()

    def _readable(self) -> None:
        """Take what is there, for the share of this slot at most, then rest until the next.

        Resting after an empty queue too makes a storm cost one wake-up of the loop per slot.
        """
        assert self._socket is not None
        end = time.perf_counter() + SHARE_S
        with contextlib.suppress(BlockingIOError, OSError):
            while time.perf_counter() < end:
                self.deliver(self._socket.recv(_MAX_DATAGRAM))
        self._rest()

    def _rest(self) -> None:
        if self._socket is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        self._timer = loop.call_later(SLOT_S - SHARE_S, self._resume)

    def _resume(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def deliver(self, data: bytes) -> None:
        """Hand a packet on."""
        self.taken += 1
        self._receive(data)

    def admit(self, connection: _TcpPacket) -> None:
        """Register a connection; if there are too many the oldest makes room."""
        if len(self._connections) >= _TCP_CONNECTIONS:
            oldest = next(iter(self._connections))
            self.forget(oldest)
            oldest.drop()
        self._connections[connection] = None

    def cut(self, data: bytes, *, ended: bool) -> bytes | None:
        """Return the packet in a stream, None while it is not complete."""
        length = self._length(data)
        if ended or len(data) >= self._max_octets or (length is not None and len(data) >= length):
            return data if length is None else data[:length]
        return None

    def forget(self, connection: _TcpPacket) -> None:
        """Unregister a connection."""
        self._connections.pop(connection, None)


class _TcpPacket(asyncio.Protocol):
    """One TCP connection: one packet, no answer, closed."""

    def __init__(self, port: PacketPort) -> None:
        self._port = port
        self._data = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._port.admit(self)
        self._timer = asyncio.get_running_loop().call_later(_TCP_TIMEOUT_S, self.drop)

    def data_received(self, data: bytes) -> None:
        self._data += data
        self._try(ended=False)

    def eof_received(self) -> bool:
        self._try(ended=True)
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's name
        if self._timer is not None:
            self._timer.cancel()
        self._port.forget(self)

    def _try(self, *, ended: bool) -> None:
        packet = self._port.cut(self._data, ended=ended)
        if packet is not None:
            self._data = b""
            self.drop()
            if packet:
                self._port.deliver(packet)

    def drop(self) -> None:
        """Close without a word."""
        if self._transport is not None:
            self._transport.abort()
