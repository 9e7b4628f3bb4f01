"""What every asyncio shell around a TLS connection does: flush, close, keep one deadline timer."""

from __future__ import annotations

import asyncio

from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.transport import tls
from smgw_emu.transport.clock import Clock, Timer


class TlsProtocol(asyncio.Protocol):
    """Base of the shells.

    Args:
        clock: world time.
        connection: the sans-IO TLS connection.
        close_s: seconds the transport may take to close after our farewell (DS2 Close.80/.90).
    """

    __slots__ = ("_clock", "_close_s", "_closing_at", "_timer", "_transport", "tls")

    def __init__(self, clock: Clock, connection: tls.TlsConnection, close_s: int) -> None:
        self._clock = clock
        self._close_s = close_s
        self.tls = connection
        self._transport: asyncio.Transport | None = None
        self._timer: Timer | None = None
        self._closing_at: WorldTime | None = None

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        out = self.tls.output()
        if out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(out)

    def _close(self) -> None:
        """Close after what is queued; never before (a fatal alert must arrive)."""
        if self._transport is not None and self._closing_at is None:
            self._closing_at = self._clock.now() + self._close_s * SECOND
            self._transport.close()

    def _lost(self) -> None:
        """Forget the transport."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    # -- deadlines -------------------------------------------------------------------------

    def _deadline(self) -> WorldTime | None:
        return self._closing_at if self._closing_at is not None else self.tls.next_deadline()

    def _due(self, now: WorldTime) -> None:
        """Do what the deadline asks for, unless it was the closing one."""
        raise NotImplementedError

    def _watch(self) -> None:
        """Keep one timer that fires no later than the next deadline."""
        deadline = self._deadline()
        if deadline is None or self._transport is None:
            return
        timer = self._timer
        if timer is not None and timer.callback is not None:
            if timer.when <= deadline:
                return
            timer.cancel()
        self._timer = self._clock.call_at(deadline, self._on_deadline)

    def _on_deadline(self) -> None:
        deadline, now = self._deadline(), self._clock.now()
        if self._transport is None or deadline is None:
            return
        if now >= deadline:
            if self._closing_at is not None:
                self.abort()  # 20 s after close_notify
                return
            self._due(now)
        self._watch()
