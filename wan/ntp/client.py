"""The gateway as NTP client inside a TLS connection (Detailspezifikation v2.0 14, ``wan.md`` 7.1).

A request is 48 octets with version 4, mode 3, precision 32 (as the text prints it) and a random
transmit timestamp; all else is zero. An answer is used only if every rule holds; otherwise it is
ignored with the rule's name. The channel is up before the first request, so its set-up time never
enters a measurement (TR-03109-1 v1.0 3.2.6.3.3.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from smgw_emu.core.errors import LocalProtocolError
from smgw_emu.core.instants import MILLISECOND, SECOND, DeviceTime, WorldTime
from smgw_emu.profiles import Time as Limits
from wan.ntp.packet import (
    LEAP_UNKNOWN,
    OCTETS,
    SERVER,
    VERSION,
    NtpPacket,
    Timestamp,
    decode,
)

_PRECISION = 32  # sic (wan.md 7.1)


class Ignored(StrEnum):
    """Why an answer was not used."""

    NOT_ASKED = "no request is open"
    LENGTH = "not 48 octets"
    VERSION = "version below 4"
    MODE = "mode is not 4"
    LEAP = "server is not synchronised"
    ORIGIN = "origin timestamp is not ours"
    ROUND_TRIP = "round-trip time too long"
    RANGE = "time outside the declared range"
    JUMP = "deviation of more than 1000 s while synchronised"


@dataclass(frozen=True, slots=True)
class Sample:
    """One good measurement.

    Attributes:
        offset: server minus device clock, nanoseconds (the ZA of the text).
        round_trip: destination minus origin, nanoseconds (RTT).
        max_error: root delay / 2 + root dispersion, nanoseconds.
        stratum: the server's.
        leap: its leap indicator, 0 to 2.
    """

    offset: int
    round_trip: int
    max_error: int
    stratum: int
    leap: int


@dataclass(frozen=True, slots=True)
class _Open:
    transmit: Timestamp
    sent: DeviceTime
    sent_at: WorldTime


class NtpClient:
    """Requests and answers of one NTP-TLS channel.

    Args:
        limits: of the profile.
        random: random octets from the security module.
    """

    def __init__(self, limits: Limits, random: Callable[[int], bytes]) -> None:
        self._limits = limits
        self._random = random
        self._open: _Open | None = None
        self._last: WorldTime | None = None
        self._pending = b""
        self._range = tuple(
            int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * SECOND
            for year in (limits.first_year, limits.last_year + 1)
        )

    def may_request(self, now: WorldTime) -> bool:
        """Tell whether the poll rate (one a minute) allows a request."""
        return self._last is None or now - self._last >= self._limits.min_poll_s * SECOND

    def request(self, now: WorldTime, device_time: DeviceTime) -> bytes:
        """Return the octets of a request.

        Raises:
            LocalProtocolError: the last one was less than a minute ago.
        """
        if not self.may_request(now):
            raise LocalProtocolError("at most one NTP request a minute")
        transmit = Timestamp(self._random(8))
        self._open, self._last = _Open(transmit, device_time, now), now
        self._pending = b""
        return NtpPacket(precision=_PRECISION, transmit=transmit).encode()

    def next_deadline(self) -> WorldTime | None:
        """Return when an open request is given up."""
        if self._open is None:
            return None
        return self._open.sent_at + self._limits.timeout_s * SECOND

    def on_deadline(self, now: WorldTime) -> bool:
        """Forget a request nobody answered; returns whether there was one."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return False
        self._open = None
        return True

    def receive(
        self, data: bytes, device_time: DeviceTime, *, synchronised: bool
    ) -> Sample | Ignored | None:
        """Take octets of the TLS stream; None: the answer is not complete yet.

        Args:
            data: octets as they come.
            device_time: the device clock at their arrival.
            synchronised: whether the device clock is valid; then jumps of more than 1000 s are
                refused.
        """
        if self._open is None:
            return Ignored.NOT_ASKED
        self._pending += data
        if len(self._pending) < OCTETS:
            return None
        octets, self._pending = self._pending, b""
        if len(octets) > OCTETS:
            self._open = None
            return Ignored.LENGTH
        opened, self._open = self._open, None
        return self._judge(decode(octets), opened, device_time, synchronised=synchronised)

    def _judge(
        self, packet: NtpPacket, opened: _Open, arrived: DeviceTime, *, synchronised: bool
    ) -> Sample | Ignored:
        if packet.version < VERSION:
            return Ignored.VERSION
        if packet.mode != SERVER:
            return Ignored.MODE
        if packet.leap == LEAP_UNKNOWN:
            return Ignored.LEAP
        if packet.origin != opened.transmit:
            return Ignored.ORIGIN
        round_trip = arrived - opened.sent
        if not 0 <= round_trip <= self._limits.rtt_limit_ms * MILLISECOND:
            return Ignored.ROUND_TRIP
        middle = sum(self._range) // 2  # the era whose times can lie in the declared range
        sent = packet.transmit.ns(middle)
        received = packet.receive.ns(middle)
        if not all(self._range[0] <= time < self._range[1] for time in (sent, received)):
            return Ignored.RANGE
        offset = ((received - opened.sent.ns) + (sent - arrived.ns)) // 2
        if synchronised and abs(sent - arrived.ns) > self._limits.max_step_s * SECOND:
            return Ignored.JUMP
        return Sample(offset, round_trip, packet.max_error_ns, packet.stratum, packet.leap)
