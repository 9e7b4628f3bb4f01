"""Direction control of RS-485 transceivers, and what a failing port probably means.

The kernel switches the driver by RTS if the UART's driver can (``TIOCSRS485``). Drivers differ in
which polarity they accept and some accept a setting without doing it, so it is read back
(``field-notes.md`` 8.2). Where the kernel cannot, an adapter that switches by itself is needed;
that is the common case (USB adapters, boards with automatic direction) and no error.
"""

from __future__ import annotations

import errno
import fcntl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TIOCGRS485, TIOCSRS485 = 0x542E, 0x542F  # linux/serial.h, asm-generic/ioctls.h
ENABLED, RTS_ON_SEND, RTS_AFTER_SEND, RX_DURING_TX = 1, 2, 4, 16
_STRUCT = struct.Struct("8I")  # flags, delay before, delay after (ms), five words of padding

Ioctl = Callable[[int, int, bytes], bytes]


def _ioctl(descriptor: int, request: int, data: bytes) -> bytes:
    return fcntl.ioctl(descriptor, request, data)


@dataclass(frozen=True, slots=True)
class Direction:
    """Who switches the transceiver.

    Attributes:
        kernel: the UART's driver does.
        text: in words.
    """

    kernel: bool
    text: str


def switch_on(descriptor: int, ioctl: Ioctl = _ioctl) -> Direction:
    """Let the kernel switch the direction if it can.

    Args:
        descriptor: an open serial port.
        ioctl: ``fcntl.ioctl``, or a stand-in for a kernel.
    """
    try:
        ioctl(descriptor, TIOCGRS485, bytes(_STRUCT.size))
    except OSError as error:
        return Direction(kernel=False, text=_without(error))
    refused = "refused"
    # RTS high while sending first; sc16is7xx since 6.x accepts only the other (linux#6539)
    for polarity in (RTS_ON_SEND, RTS_AFTER_SEND):
        wanted = ENABLED | polarity
        try:
            ioctl(descriptor, TIOCSRS485, _STRUCT.pack(wanted, *(0,) * 7))
            got = _flags(ioctl(descriptor, TIOCGRS485, bytes(_STRUCT.size)))
        except OSError as error:
            refused = error.strerror or "refused"
            continue
        if got & (ENABLED | RTS_ON_SEND | RTS_AFTER_SEND) == wanted:
            level = "high" if polarity == RTS_ON_SEND else "low"
            return Direction(kernel=True, text=f"the kernel switches the direction, RTS {level}")
        refused = f"read back as {got:#x} instead of {wanted:#x}"
    return Direction(
        kernel=False,
        text=f"the kernel knows RS-485 on this port but does not do it ({refused}): the adapter"
        " must switch the direction itself",
    )


def _flags(data: bytes) -> int:
    return int(_STRUCT.unpack(data)[0])


def _without(error: OSError) -> str:
    if error.errno in {errno.ENOTTY, errno.EINVAL}:
        return "no direction control by the kernel: the adapter must switch by itself"
    return f"direction control cannot be asked for: {error.strerror}"


_BY_ID = Path("/dev/serial/by-id")


def explain(path: str, error: OSError, by_id: Path = _BY_ID) -> str:
    """Return why a port cannot be opened, and what usually helps (``field-notes.md`` 8.2)."""
    text = error.strerror or str(error)
    number = error.errno
    if number == errno.ENOENT and "ttySC" in path:
        return f"{text}: is the SPI UART there? dtparam=spi=on, dtoverlay=sc16is752-spi1,int_pin=24"
    if number == errno.ENOENT:
        there = sorted(item.name for item in by_id.iterdir()) if by_id.is_dir() else []
        found = (
            f"; there are: {', '.join(there[:8])}" if there else "; no USB adapter is plugged in"
        )
        return f"{text}{found}"
    if number in {errno.EACCES, errno.EPERM}:
        return f"{text}: the user must be in the group dialout"
    if number in {errno.EBUSY, errno.EWOULDBLOCK}:
        return f"{text}: another program, or the serial console (enable_uart, getty), holds it"
    return text
