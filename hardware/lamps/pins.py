"""The pin map: which lamp is on which line or kernel LED.

A TOML file::

    chip = "/dev/gpiochip0"

    [lamp.pwr]
    line = 17             # offset on the chip (BCM number on a Raspberry Pi)
    active_low = false    # true: the lamp is lit while the line is low
    safe = false          # lit or dark after the program has ended

    [lamp.tls]
    led = "ACT"           # an LED of the kernel, below /sys/class/leds

Lamps: ``pwr``, ``tls``, ``lmc``, ``wmt``, ``han``, ``han_activity``, ``cls``, ``cls_activity``.
What the map does not name is not shown.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from hardware.lamps.gpio import GpioLeds, Line
from hardware.lamps.sink import LedSink, SeveralSinks
from hardware.lamps.sysfs import SysfsLeds
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.leds import Leds


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where one lamp is: a ``line`` of the chip or an ``led`` of the kernel."""

    line: Annotated[int, msgspec.Meta(ge=0, le=1023)] | None = None
    led: str = ""
    active_low: bool = False
    safe: bool = False


class PinMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    lamp: dict[str, Pin]
    chip: str = "/dev/gpiochip0"


def read_pins(path: Path) -> PinMap:
    """Read and check a pin map.

    Raises:
        ConfigError: unreadable, or with the lamp and the reason.
    """
    try:
        pins = msgspec.convert(tomllib.loads(path.read_text("utf-8")), PinMap)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.MsgspecError) as error:
        raise ConfigError(f"pin map {path}: {error}") from error
    lines: dict[int, str] = {}
    for name, pin in pins.lamp.items():
        if name not in Leds._fields:
            raise ConfigError(f"pin map {path}: no lamp {name!r}; there are: "
                              f"{', '.join(Leds._fields)}")  # fmt: skip
        if (pin.line is None) == (not pin.led):
            raise ConfigError(f"pin map {path}: lamp {name}: either line or led")
        if pin.led and (pin.active_low or "/" in pin.led or pin.led.startswith(".")):
            raise ConfigError(f"pin map {path}: lamp {name}: led is a name below /sys/class/leds"
                              " that knows its level itself")  # fmt: skip
        if pin.line is not None and pin.line in lines:
            raise ConfigError(
                f"pin map {path}: line {pin.line} is of {lines[pin.line]} and of {name}"
            )
        if pin.line is not None:
            lines[pin.line] = name
    return pins


def open_pins(pins: PinMap, leds: Path = Path("/sys/class/leds")) -> LedSink:
    """Open what a pin map names.

    Raises:
        ConfigError: the chip or an LED cannot be used; the text says which.
    """
    sinks: list[LedSink] = []
    lines = {
        name: Line(pin.line, pin.active_low, pin.safe)
        for name, pin in pins.lamp.items()
        if pin.line is not None
    }
    if lines:
        sinks.append(GpioLeds(pins.chip, lines))
    names = {name: (pin.led, pin.safe) for name, pin in pins.lamp.items() if pin.led}
    if names:
        try:
            sinks.append(SysfsLeds(names, leds))
        except ConfigError:
            SeveralSinks(*sinks).close()
            raise
    return SeveralSinks(*sinks)
