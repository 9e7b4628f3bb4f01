"""A TCP port of the active EMT: any client of the lab talks through the channel to the plant."""

from __future__ import annotations

import asyncio

import structlog

from smgw_emu.core.errors import SmgwError
from smgw_emu.transport.stream import TlsStream
from smgw_emu.transport.tls import TlsEnd

_log = structlog.get_logger("aemt")


class LocalPort:
    """Pairs TCP clients with channels, one to one, in the order they come."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._clients: list[_Client] = []
        self._channels: list[_Channel] = []

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns the address.

        Raises:
            SmgwError: it is in use.
        """
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Client(self), host, port)
        except OSError as error:
            raise SmgwError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        bound = self._server.sockets[0].getsockname()
        return bound[0], bound[1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
        for client in tuple(self._clients):
            client.close()
        await asyncio.sleep(0)

    def channel(self) -> _Channel:
        """Return what runs on a new channel."""
        return _Channel(self)

    def pair(self) -> None:
        """Bring together who waits; a client is not read before."""
        while self._clients and self._channels:
            client, channel = self._clients.pop(0), self._channels.pop(0)
            client.channel, channel.client = channel, client
            client.resume()
            if channel.early:
                client.write(channel.early)
                channel.early = b""

    def waits(self, item: _Client | _Channel) -> None:
        """Somebody is there."""
        (self._clients if isinstance(item, _Client) else self._channels).append(item)  # type: ignore[arg-type]
        self.pair()

    def gone(self, item: _Client | _Channel) -> None:
        """Somebody waits no more."""
        for waiting in (self._clients, self._channels):
            if item in waiting:
                waiting.remove(item)  # type: ignore[arg-type]


class _Client(asyncio.Protocol):
    """A TCP client of the lab."""

    def __init__(self, port: LocalPort) -> None:
        self._port = port
        self._transport: asyncio.Transport | None = None
        self.channel: _Channel | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.pause_reading()
        self._port.waits(self)

    def data_received(self, data: bytes) -> None:
        if self.channel is not None and self.channel.stream is not None:
            self.channel.stream.write(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._port.gone(self)
        if self.channel is not None and self.channel.stream is not None:
            self.channel.stream.close()

    def write(self, data: bytes) -> None:
        """Pass octets of the plant on."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def resume(self) -> None:
        """The channel is there."""
        if self._transport is not None:
            self._transport.resume_reading()

    def close(self) -> None:
        """The channel is over."""
        if self._transport is not None:
            self._transport.close()


class _Channel:
    """One channel, for the stream's eyes."""

    def __init__(self, port: LocalPort) -> None:
        self._port = port
        self.client: _Client | None = None
        self.stream: TlsStream | None = None
        self.early = b""

    def established(self, stream: TlsStream) -> None:
        """Find a client."""
        self.stream = stream
        _log.info("channel stands")
        self._port.waits(self)

    def received(self, stream: TlsStream, data: bytes) -> None:
        """Pass octets on; a plant that talks before anybody listens is kept short."""
        if self.client is not None:
            self.client.write(data)
        elif len(self.early) < 65_536:
            self.early += data
        else:
            stream.close()

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:  # noqa: ARG002
        """Close the client."""
        self._port.gone(self)
        if self.client is not None:
            self.client.close()
