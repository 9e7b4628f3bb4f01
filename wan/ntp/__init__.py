"""Time over the WAN: NTP inside TLS (WKS5) and the rules that keep legal time (WAN-N03)."""

from wan.ntp.client import Ignored, NtpClient, Sample
from wan.ntp.keeper import TimeEvent, TimeEventKind, TimeKeeper
from wan.ntp.packet import NtpError, NtpPacket, Timestamp, decode

__all__ = [
    "Ignored",
    "NtpClient",
    "NtpError",
    "NtpPacket",
    "Sample",
    "TimeEvent",
    "TimeEventKind",
    "TimeKeeper",
    "Timestamp",
    "decode",
]
