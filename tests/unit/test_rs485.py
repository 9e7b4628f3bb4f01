"""Direction control of RS-485 ports, and what a failing port is told to be (field-notes.md 8.2)."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from hardware import rs485
from hardware.rs485 import ENABLED, RTS_AFTER_SEND, RTS_ON_SEND, TIOCGRS485, TIOCSRS485


class Kernel:
    """What a UART's driver does with the two calls."""

    def __init__(self, accepts: int | None, *, obeys: bool = True, number: int = errno.ENOTTY):
        self.accepts, self.obeys, self.number = accepts, obeys, number
        self.flags = 0

    def __call__(self, _descriptor: int, request: int, data: bytes) -> bytes:
        if self.accepts is None:
            raise OSError(self.number, os.strerror(self.number))
        flags = struct.unpack("8I", data)[0]
        if request == TIOCSRS485:
            if not flags & self.accepts:
                raise OSError(errno.EINVAL, "Invalid argument")
            self.flags = flags if self.obeys else 0
        assert request in {TIOCGRS485, TIOCSRS485}
        return struct.pack("8I", self.flags, *(0,) * 7)


def test_a_driver_that_switches_is_used():
    kernel = Kernel(RTS_ON_SEND | RTS_AFTER_SEND)
    found = rs485.switch_on(3, kernel)
    assert found.kernel
    assert kernel.flags == ENABLED | RTS_ON_SEND
    assert "RTS high" in found.text


def test_a_driver_that_knows_only_the_other_polarity():
    """sc16is7xx since 6.x accepts only SER_RS485_RTS_AFTER_SEND (raspberrypi/linux#6539)."""
    kernel = Kernel(RTS_AFTER_SEND)
    found = rs485.switch_on(3, kernel)
    assert found.kernel
    assert kernel.flags == ENABLED | RTS_AFTER_SEND
    assert "RTS low" in found.text


def test_a_driver_that_accepts_but_does_nothing_is_found_out():
    """Read back: a setting that is not there is told, not believed."""
    found = rs485.switch_on(3, Kernel(RTS_ON_SEND | RTS_AFTER_SEND, obeys=False))
    assert not found.kernel
    assert "read back" in found.text
    assert "adapter" in found.text


@pytest.mark.parametrize("number", [errno.ENOTTY, errno.EINVAL, errno.EIO])
def test_without_kernel_support_the_adapter_must_do_it(number):
    found = rs485.switch_on(3, Kernel(None, number=number))
    assert not found.kernel
    assert "direction" in found.text


def test_a_pty_has_no_direction_control():
    """The real call on a real terminal: ENOTTY, and no failure."""
    master, slave = os.openpty()
    try:
        found = rs485.switch_on(slave)
    finally:
        os.close(master)
        os.close(slave)
    assert not found.kernel
    assert "adapter must switch by itself" in found.text


@pytest.mark.parametrize(
    ("path", "number", "hint"),
    [
        ("/dev/ttySC0", errno.ENOENT, "dtoverlay=sc16is752-spi1"),
        ("/dev/ttyUSB0", errno.ENOENT, "usb-FTDI"),
        ("/dev/ttyUSB0", errno.EACCES, "dialout"),
        ("/dev/ttyAMA0", errno.EBUSY, "serial console"),
        ("/dev/ttyAMA0", errno.EIO, "Input/output error"),
    ],
)
def test_why_a_port_cannot_be_opened(tmp_path, path, number, hint):
    (tmp_path / "usb-FTDI_FT232R-if00-port0").touch()
    text = rs485.explain(path, OSError(number, os.strerror(number)), tmp_path)
    assert hint in text


def test_no_adapter_at_all(tmp_path):
    text = rs485.explain("/dev/ttyUSB0", OSError(errno.ENOENT, "No such file"), tmp_path / "none")
    assert "no USB adapter" in text
