"""Meters that send in turn, what they can be told, and the note with their keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hsm_sim.files import write_private
from smgw_emu.bench.meters.wireless import KINDS, Fault, WirelessMeter
from smgw_emu.bench.meters.wireless.meter import Options
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import SECOND, WorldTime
from smgw_emu.core.obis import Obis
from smgw_emu.transport.clock import Clock, Timer

Send = Callable[[WirelessMeter, bytes], None]
_FAULTS = {
    "magnetic": Fault.MAGNETIC, "mechanical": Fault.MECHANICAL, "battery": Fault.BATTERY,
    "leak": Fault.LEAK, "permanent": Fault.PERMANENT, "temporary": Fault.TEMPORARY,
    "abnormal": Fault.ABNORMAL, "removed": Fault.REMOVED,
}  # fmt: skip


def make_meters(
    kinds: tuple[str, ...], count: int, options: Options, *, seed: int = 1
) -> list[WirelessMeter]:
    """Return meters of the given kinds in turn, with numbers and keys from the seed.

    Raises:
        ConfigError: no such kind.
    """
    unknown = [name for name in kinds if name not in KINDS]
    if unknown or not kinds:
        raise ConfigError(f"no meter type {', '.join(unknown)}; there are: {', '.join(KINDS)}")
    return [
        WirelessMeter(
            KINDS[kinds[index % len(kinds)]],
            10_000_000 + seed % 100 * 100_000 + index + 1,
            options,
            seed=seed + index,
            key=None,
        )
        for index in range(count)
    ]


class Broadcaster:
    """Lets meters send, each every ``interval_s`` seconds, one after the other.

    Args:
        meters: who sends.
        send: called with each bare frame.
        clock: world time.
        interval_s: pause of one meter.
    """

    def __init__(
        self, meters: list[WirelessMeter], send: Send, clock: Clock, interval_s: int
    ) -> None:
        self.meters = meters
        self._send = send
        self._clock = clock
        self._interval = interval_s * SECOND
        self._timers: dict[str, Timer] = {}
        self.sent = 0

    def start(self) -> None:
        """Begin; the meters share the interval out among them."""
        now = self._clock.now()
        step = self._interval // len(self.meters)
        for index, meter in enumerate(self.meters):
            self._plan(meter, now + index * step + step // 2)

    def stop(self) -> None:
        """Send no more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _plan(self, meter: WirelessMeter, at: WorldTime) -> None:
        def due() -> None:
            self.transmit(meter)
            self._plan(meter, at + self._interval)

        self._timers[meter.id] = self._clock.call_at(at, due)

    def transmit(self, meter: WirelessMeter) -> None:
        """Let a meter send now."""
        for frame in meter.frames(self._clock.now()):
            self._send(meter, frame)
            self.sent += 1

    def repeat(self, meter: WirelessMeter) -> None:
        """Send a meter's last telegram once more: a replay."""
        for frame in meter.last:
            self._send(meter, frame)

    def command(self, text: str) -> str:
        """Do what a line of text says; returns what was done.

        ``fault METER magnetic`` (mechanical, battery, leak, permanent, temporary, abnormal,
        removed), ``clear METER``, ``send METER``, ``replay METER``, ``install METER on|off``.
        METER is an id or its number from 1.

        Raises:
            ConfigError: no such command or meter.
        """
        words = text.split()
        verb, name, rest = words[0], "".join(words[1:2]), words[2:]
        meter = self._named(name)
        match (verb, *rest):
            case ("fault", kind) if kind in _FAULTS:
                meter.tamper(_FAULTS[kind])
            case ("clear",):
                meter.clear()
            case ("send",):
                self.transmit(meter)
            case ("replay",):
                self.repeat(meter)
            case ("install", ("on" | "off") as state):
                meter.installing = state == "on"
            case _:
                raise ConfigError(
                    f"{text!r}: fault METER {'|'.join(_FAULTS)}, clear METER, send METER,"
                    " replay METER, install METER on|off"
                )
        return " ".join((verb, meter.id, *rest))

    def _named(self, name: str) -> WirelessMeter:
        if name.isdecimal() and 1 <= int(name) <= len(self.meters):
            return self.meters[int(name) - 1]
        found = [meter for meter in self.meters if meter.id == name.upper()]
        if not found:
            raise ConfigError(f"no meter {name!r} here")
        return found[0]


def delivery_note(meters: list[WirelessMeter], path: Path) -> None:
    """Write ids and master keys as the tables of a commissioning plan (TEST keys).

    The file can be given to ``smgw gwa commission --plan`` and ``smgw init --wireless``; like
    every file with keys it is for its owner only.
    """
    lines = ["# TEST meters of `smgw meter wireless`: ids, registers and master keys.", ""]
    for meter in meters:
        kind = meter.kind
        wait = meter.options.spacing_s if meter.options.compact else 0
        lines += [
            "[[meter]]",
            f'id = "{meter.id}"',
            f'obis = ["{Obis.parse(kind.obis).hex}"]',
            f"unit = {kind.unit}",
            f"scaler = {kind.scaler}",
            'word = "wireless"',
            *([f"wait_s = {wait}"] if wait else []),
            f'master_key = "{meter.key.hex()}"',
            "",
            "[[lmn]]",
            f'meter = "{meter.id}"',
            'scenario = "LKS2"',
            'protection = "SYM"',
            'protocol = "M-BUS"',
            f'server_id = "{meter.address.octets.hex()}"',
            "",
        ]
    write_private(path, "\n".join(lines).encode())
