"""The CLS side of SOCKS-TLS (Detailspezifikation v2.0 11.2) around a TLS stream."""

from __future__ import annotations

import asyncio
import ssl

from cls_proxy.socks import (
    METHOD_TLS,
    VERSION,
    FrameReader,
    Reply,
    SocksError,
    State,
    split_records,
    write_frame,
)
from smgw_emu.profiles import Tls as TlsLimits
from smgw_emu.transport.clock import Clock
from smgw_emu.transport.stream import StreamHandler, TlsStream
from smgw_emu.transport.tls import TlsEnd

_REPLY_LENGTH = 10


class SocksStream(TlsStream):
    """A TLS stream to the SOCKS server of a gateway; established when the channel stands.

    Args:
        clock, context, limits: as for any stream.
        handler: who uses the channel.
        name: what is asked for.
        length: whether frames have a LEN field.
    """

    __slots__ = ("_frames", "_greeting", "_length", "_says", "_started", "reply")

    def __init__(
        self,
        clock: Clock,
        context: ssl.SSLContext,
        limits: TlsLimits,
        handler: StreamHandler,
        name: str,
        *,
        length: bool = True,
    ) -> None:
        super().__init__(clock, context, limits, _Asking(handler, name))
        self._length = length
        self._frames = FrameReader(length=length)
        self._greeting = b""
        self._started = False
        self._says = State.HANDSHAKE
        self.reply: Reply | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Offer the TLS method and nothing else."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(bytes((VERSION, 1, METHOD_TLS)))

    def data_received(self, data: bytes) -> None:
        """Take octets of the wire."""
        if not self._started:
            self._greeting += data
            if len(self._greeting) < 2:
                return
            data = self._greeting[2:]
            if self._greeting[:2] != bytes((VERSION, METHOD_TLS)):
                self.abort()  # InitiateAuthNegotiation.20
                return
            self._started = True
            self._handle(self.tls.start(self._clock.now()))
        try:
            for _, content in self._frames.receive(data):
                super().data_received(content)
        except SocksError:
            self.abort()

    def flows(self) -> None:
        """TLS stands: what is said from now on is data."""
        self._says = State.DATA

    def close(self) -> None:
        """End with close_notify in a closing frame."""
        self._flush()
        self._says = State.CLOSING
        super().close()

    def _flush(self) -> None:
        out = self.tls.output()
        if out and self._transport is not None and not self._transport.is_closing():
            for record in split_records(out):
                self._transport.write(write_frame(self._says, record, length=self._length))


class _Asking:
    """Asks for the channel, then steps aside."""

    def __init__(self, handler: StreamHandler, name: str) -> None:
        self._handler = handler
        self._name = name
        self._buffer = b""
        self._open = False

    def established(self, stream: TlsStream) -> None:
        assert isinstance(stream, SocksStream)
        stream.flows()
        name = self._name.encode("ascii")
        stream.write(bytes((VERSION, 1, 0, 3, len(name))) + name + b"\x01\xbb")

    def received(self, stream: TlsStream, data: bytes) -> None:
        assert isinstance(stream, SocksStream)
        if self._open:
            self._handler.received(stream, data)
            return
        self._buffer += data
        if len(self._buffer) < _REPLY_LENGTH:
            return
        stream.reply = Reply(self._buffer[1])
        if stream.reply is not Reply.OK:
            stream.close()  # ConnectRequest.70
            return
        self._open = True
        self._handler.established(stream)
        if self._buffer[_REPLY_LENGTH:]:
            self._handler.received(stream, self._buffer[_REPLY_LENGTH:])

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:
        assert isinstance(stream, SocksStream)
        if stream.reply not in {None, Reply.OK}:
            assert stream.reply is not None
            detail = f"refused with reply {stream.reply:02x}"
        self._handler.ended(stream, reason, detail)
