"""What a gateway does with a wake-up packet (TR-03109-1 v1.0 3.2.5.4; WAN-N01).

Theory of operation. The checks run in the order of the text, the first failure ends them:

a. the first three octets are ``57 55 01``: nothing else is looked at before;
b. the RecipientId is the gateway's own;
c. the timestamp is at most 30 s from the device clock; without valid time the check cannot be made
   and the packet is dropped (own choice [I], switch ``without_time``);
d. the packet was not accepted before. Remembered are the 32 signed octets of the last accepted
   packet and of all accepted in the last 60 s. Not the whole packet: of an ECDSA signature (r, s)
   anyone can make (r, -s), which verifies too;
e. padding, signature format and OID are those of version 1, and the signature is the GWA's. Only
   this calls the security module, and only so often: the text limits *signature checks* per time.

Good or bad, the sender hears nothing. The one effect is ``accepted``: open MANAGEMENT, unless it
stands already.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from smgw_emu.core.ids import DeviceId
from smgw_emu.core.instants import SECOND, DeviceTime, WorldTime
from smgw_emu.profiles import Wakeup as Limits
from wan.wakeup.packet import (
    ECDSA_PLAIN_SHA256,
    MARKER,
    PADDING,
    PLAIN_FORMAT,
    SIGNED_OCTETS,
    ByteOrder,
    Packet,
    WakeupError,
    decode,
)

Verify = Callable[[bytes, bytes], bool]
"""(SHA-256 digest, DER signature) -> right; asks the security module."""


class Rejection(StrEnum):
    """Why a packet was dropped, in the order of the checks."""

    SWITCHED_OFF = "service is switched off"
    NOT_A_WAKEUP = "not a wake-up packet of version 1"
    OTHER_DEVICE = "addressed to another device"
    NO_TIME = "device time is not valid"
    OUTSIDE_WINDOW = "timestamp outside the window"
    SEEN_BEFORE = "packet was accepted before"
    MALFORMED = "malformed"
    UNKNOWN_SIGNATURE = "signature format or algorithm not known"
    RATE_LIMITED = "too many signature checks"
    WRONG_SIGNATURE = "signature is wrong"


@dataclass(frozen=True, slots=True)
class _Seen:
    signed: bytes
    at: WorldTime


class WakeupService:
    """The wake-up service of one gateway.

    Args:
        device: the gateway's id.
        limits: window, memory and rate of the profile.
        verify: signature check with GWA_WAN_SIG_CRT.
        field_octets: L of that certificate's curve.
    """

    def __init__(
        self, device: DeviceId, limits: Limits, verify: Verify, field_octets: int = 32
    ) -> None:
        self._recipient = device.server_id[1:]
        self._limits = limits
        self._order = ByteOrder(limits.byte_order)
        self._verify = verify
        self._field_octets = field_octets
        self._accepted: deque[_Seen] = deque()
        self._checks: deque[WorldTime] = deque()
        self.enabled = True
        self.accepted = 0
        self.rejected: Counter[Rejection] = Counter()

    def receive(
        self, data: bytes, now: WorldTime, device_time: DeviceTime | None
    ) -> Rejection | None:
        """Take a packet; None: it is good, the management channel is wanted.

        Args:
            data: one datagram, or one packet of a stream.
            now: world time, for the rate of signature checks.
            device_time: the device clock, None while it is not valid.
        """
        reason = self._check(data, now, device_time)
        if reason is not None:
            self.rejected[reason] += 1
            return reason
        self._forget(now)
        self._accepted.append(_Seen(data[:SIGNED_OCTETS], now))
        self.accepted += 1
        return None

    def _check(
        self, data: bytes, now: WorldTime, device_time: DeviceTime | None
    ) -> Rejection | None:
        if not self.enabled:
            return Rejection.SWITCHED_OFF
        if data[:3] != MARKER:
            return Rejection.NOT_A_WAKEUP
        if data[3:12] != self._recipient:
            return Rejection.OTHER_DEVICE
        try:
            packet = decode(data)
        except WakeupError:
            return Rejection.MALFORMED
        if device_time is None and not self._limits.without_time:
            return Rejection.NO_TIME
        if device_time is not None and not self._in_window(packet, device_time):
            return Rejection.OUTSIDE_WINDOW
        if any(item.signed == data[:SIGNED_OCTETS] for item in self._accepted):
            return Rejection.SEEN_BEFORE
        return self._check_signature(packet, data, now)

    def _in_window(self, packet: Packet, device_time: DeviceTime) -> bool:
        """A deviation of more than 30 s refuses: 30.0 s passes, 30.001 s does not."""
        window = self._limits.window_s * SECOND
        return any(abs(time * SECOND - device_time.ns) <= window
                   for time in packet.times(self._order))  # fmt: skip

    def _check_signature(self, packet: Packet, data: bytes, now: WorldTime) -> Rejection | None:
        size = self._field_octets
        if packet.padding != PADDING or len(packet.signature) != 2 * size:
            return Rejection.MALFORMED
        if packet.signature_format != PLAIN_FORMAT or packet.oid != ECDSA_PLAIN_SHA256:
            return Rejection.UNKNOWN_SIGNATURE
        if not self._may_check(now):
            return Rejection.RATE_LIMITED
        r = int.from_bytes(packet.signature[:size], "big")
        s = int.from_bytes(packet.signature[size:], "big")
        digest = hashlib.sha256(data[:SIGNED_OCTETS]).digest()
        if not self._verify(digest, encode_dss_signature(r, s)):
            return Rejection.WRONG_SIGNATURE
        return None

    def _may_check(self, now: WorldTime) -> bool:
        """At most ``signature_checks`` in any ``rate_s`` seconds."""
        while self._checks and now - self._checks[0] >= self._limits.rate_s * SECOND:
            self._checks.popleft()
        if len(self._checks) >= self._limits.signature_checks:
            return False
        self._checks.append(now)
        return True

    def _forget(self, now: WorldTime) -> None:
        """Keep the last accepted packet, and all of the last minute."""
        keep = self._limits.memory_s * SECOND
        while len(self._accepted) > 1 and now - self._accepted[0].at > keep:
            self._accepted.popleft()
