"""The wake-up service: the only way to make a gateway open a connection from outside."""

from wan.wakeup.packet import ByteOrder, Packet, WakeupError, compose, decode, expected_length
from wan.wakeup.service import Rejection, WakeupService

__all__ = [
    "ByteOrder",
    "Packet",
    "Rejection",
    "WakeupError",
    "WakeupService",
    "compose",
    "decode",
    "expected_length",
]
