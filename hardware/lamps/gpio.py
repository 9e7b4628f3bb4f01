"""Lamps on lines of a GPIO chip, through libgpiod version 2 (extra ``gpio``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import WorldTime
from smgw_emu.core.leds import Leds

CONSUMER = "smgw-emu"  # what `gpioinfo` shows beside the lines


@dataclass(frozen=True, slots=True)
class Line:
    """One line: offset, polarity, and whether the lamp is lit after the end."""

    offset: int
    active_low: bool = False
    safe: bool = False


class GpioLeds:
    """Lines that are outputs while this object lives.

    Args:
        chip: device file.
        lines: by lamp.
        request: ``gpiod.request_lines``; another one for tests without a chip.

    Raises:
        ConfigError: no library, no chip, no right, or a line is in use.
    """

    live = True

    def __init__(
        self, chip: str, lines: Mapping[str, Line], request: Callable[..., Any] | None = None
    ) -> None:
        try:
            import gpiod
            from gpiod.line import Direction, Value
        except ImportError as error:
            raise ConfigError("GPIO lamps need the extra: pip install smgw-emu[gpio]") from error
        self._values = {False: Value.INACTIVE, True: Value.ACTIVE}
        self._lines = dict(lines)
        settings: dict[Any, Any] = {
            line.offset: gpiod.LineSettings(
                direction=Direction.OUTPUT,
                active_low=line.active_low,
                output_value=Value.INACTIVE,
            )
            for line in lines.values()
        }
        ask = request if request is not None else gpiod.request_lines
        try:
            self._request: Any = ask(chip, consumer=CONSUMER, config=settings)
        except (OSError, ValueError) as error:
            raise ConfigError(f"GPIO {chip}: {error}") from error

    def show(self, now: WorldTime, lamps: Leds) -> None:  # noqa: ARG002
        """Set the lines."""
        self._set({name: getattr(lamps, name) for name in self._lines})

    def close(self) -> None:
        """Set the safe levels, then give the lines back."""
        if self._request is not None:
            self._set({name: line.safe for name, line in self._lines.items()})
            self._request.release()
            self._request = None

    def _set(self, lit: Mapping[str, bool]) -> None:
        if self._request is not None:
            self._request.set_values(
                {self._lines[name].offset: self._values[on] for name, on in lit.items()}
            )
