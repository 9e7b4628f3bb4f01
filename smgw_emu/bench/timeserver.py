"""A time server with faults: offset, jitter, stratum, leap, silence and every broken field.

:class:`TimeServer` is the machine (request in, answer out); :class:`NtpTlsServer` serves it inside
TLS as a GWA does (WKS5).
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from smgw_emu.core.instants import MILLISECOND, WorldTime
from smgw_emu.profiles import Tls as TlsLimits
from smgw_emu.transport.clock import Clock
from smgw_emu.transport.presets import TlsContext
from smgw_emu.transport.stream import TlsStream
from smgw_emu.transport.tls import TlsEnd
from wan.ntp.packet import OCTETS, SERVER, NtpError, NtpPacket, Timestamp, decode

Leap = Literal[0, 1, 2, 3]


@dataclass(slots=True)
class TimeFaults:
    """How the server misbehaves; all zero is a good server.

    Attributes:
        offset_ms: its clock against world time.
        jitter_ms: uniform random part of every answer's times, plus and minus.
        delay_ms: how long an answer is held back.
        stratum: what it claims.
        leap: leap indicator, 3 is "not synchronised".
        version: NTP version of the answer.
        mode: mode of the answer.
        wrong_origin: sends another origin timestamp.
        silent: no answer.
        extra: octets appended to the header.
    """

    offset_ms: int = 0
    jitter_ms: int = 0
    delay_ms: int = 0
    stratum: int = 2
    leap: Leap = 0
    version: int = 4
    mode: int = SERVER
    wrong_origin: bool = False
    silent: bool = False
    extra: bytes = b""


@dataclass(slots=True)
class TimeServer:
    """Answers requests.

    Attributes:
        faults: may be changed at any time.
        seed: of the jitter.
        requests: how many came.
        refused: how many were no request.
    """

    faults: TimeFaults = field(default_factory=TimeFaults)
    seed: int = 1
    requests: int = 0
    refused: int = 0
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  # jitter, not a secret

    def answer(self, data: bytes, now: WorldTime) -> bytes:
        """Return the answer to a request that arrived at ``now``; empty: none."""
        faults = self.faults
        try:
            request = decode(data)
        except NtpError:
            self.refused += 1
            return b""
        self.requests += 1
        if faults.silent:
            return b""
        shift = faults.offset_ms + self._random.uniform(-faults.jitter_ms, faults.jitter_ms)
        shown = now.ns + round(shift * MILLISECOND)
        origin = Timestamp(bytes(8)) if faults.wrong_origin else request.transmit
        return (
            NtpPacket(
                leap=faults.leap,
                version=faults.version,
                mode=faults.mode,
                stratum=faults.stratum,
                poll=6,
                precision=-20,
                root_delay=(1 << 6).to_bytes(4, "big"),
                root_dispersion=(1 << 6).to_bytes(4, "big"),
                reference_id=b"TEST",
                reference=Timestamp.from_ns(shown),
                origin=origin,
                receive=Timestamp.from_ns(shown),
                transmit=Timestamp.from_ns(shown + faults.delay_ms * MILLISECOND),
            ).encode()
            + faults.extra
        )


class NtpTlsServer:
    """The time server behind TLS.

    Args:
        clock: world time.
        context: a server's, with the gateway pinned.
        limits: of the WAN.
        server: the machine.
    """

    def __init__(
        self, clock: Clock, context: TlsContext, limits: TlsLimits, server: TimeServer
    ) -> None:
        self._clock = clock
        self._context = context
        self._limits = limits
        self.server = server
        self._listener: asyncio.Server | None = None
        self.streams: dict[TlsStream, bytes] = {}
        self.ends: list[TlsEnd] = []

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> tuple[str, int]:
        """Listen; returns the address."""

        def stream() -> TlsStream:
            return TlsStream(
                self._clock, self._context.context, self._limits, self, server_side=True
            )

        self._listener = await asyncio.get_running_loop().create_server(stream, host, port)
        bound = self._listener.sockets[0].getsockname()
        return bound[0], bound[1]

    async def stop(self) -> None:
        """Stop listening, end every connection."""
        if self._listener is not None:
            self._listener.close()
        for stream in tuple(self.streams):
            stream.close()
        await asyncio.sleep(0)

    def established(self, stream: TlsStream) -> None:
        """Register a client."""
        self.streams[stream] = b""

    def received(self, stream: TlsStream, data: bytes) -> None:
        """Answer each 48 octets."""
        pending = self.streams.get(stream, b"") + data
        while len(pending) >= OCTETS:
            answer = self.server.answer(pending[:OCTETS], self._clock.now())
            pending = pending[OCTETS:]
            if answer:
                delay = self.server.faults.delay_ms * MILLISECOND
                if delay:
                    self._clock.call_at(self._clock.now() + delay, partial(stream.write, answer))
                else:
                    stream.write(answer)
        self.streams[stream] = pending

    def ended(self, stream: TlsStream, reason: TlsEnd, detail: str) -> None:  # noqa: ARG002
        """Forget a client."""
        self.streams.pop(stream, None)
        self.ends.append(reason)
