"""Where lamps show: GPIO lines, kernel LEDs, traces, several at once; safe levels at the end."""

from __future__ import annotations

import re
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.lamps.gpio import GpioLeds, Line
from hardware.lamps.pins import PinMap, open_pins, read_pins
from hardware.lamps.sink import RecordingLeds, SeveralSinks, recording_of
from hardware.lamps.trace import LampTrace
from smgw_emu.cli.leds_ import draw
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import MILLISECOND, SECOND, WorldTime
from smgw_emu.core.leds import Leds

gpiod = pytest.importorskip("gpiod", reason="no wheel of libgpiod here")

T0 = WorldTime(1_800_000_000 * SECOND)
LIT = Leds(pwr=True, tls=False, lmc=True, wmt=False, han=True)
lamps = st.builds(Leds, *[st.booleans()] * 8)


class Chip:
    """A GPIO chip with real line settings and no silicon."""

    def __init__(self):
        self.levels: dict[int, bool] = {}
        self.released = False

    def request(self, path, consumer, config):
        self.path, self.consumer, self.config = path, consumer, config
        for offset, settings in config.items():
            assert isinstance(settings, gpiod.LineSettings)
            assert settings.direction is gpiod.line.Direction.OUTPUT
            self._level(offset, settings.output_value)
        return self

    def _level(self, offset, value):
        active = value is gpiod.line.Value.ACTIVE
        self.levels[offset] = active != self.config[offset].active_low

    def set_values(self, values):
        for offset, value in values.items():
            self._level(offset, value)

    def release(self):
        self.released = True


@given(st.lists(lamps, max_size=8))
def test_lines_follow_the_lamps_and_end_safe(shown):
    """Polarity is the line's; after the end each has its safe level and is given back."""
    chip = Chip()
    sink = GpioLeds(
        "/dev/gpiochip7", {"pwr": Line(17), "wmt": Line(27, True), "han": Line(5, safe=True)},
        chip.request,
    )  # fmt: skip
    assert (chip.path, chip.consumer) == ("/dev/gpiochip7", "smgw-emu")
    assert chip.levels == {17: False, 27: True, 5: False}, "dark before the first state"
    for number, state in enumerate(shown):
        sink.show(T0 + number, state)
        assert chip.levels == {17: state.pwr, 27: not state.wmt, 5: state.han}
    sink.close()
    assert chip.levels == {17: False, 27: True, 5: True} and chip.released
    sink.show(T0, LIT)
    sink.close()
    assert chip.levels[17] is False


def test_a_chip_that_is_not_there_is_told():
    """The library's own request, one line of error."""
    with pytest.raises(ConfigError, match="GPIO /dev/no-such-chip"):
        GpioLeds("/dev/no-such-chip", {"pwr": Line(17)})


def kernel_led(root, name, full="255"):
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "brightness").write_text("7")
    (folder / "max_brightness").write_text(f"{full}\n")
    (folder / "trigger").write_text("[mmc0] none timer")
    return folder


PINS = """
chip = "/dev/gpiochip0"
[lamp.pwr]
led = "ACT"
safe = true
[lamp.tls]
led = "smgw:green:tls"
"""


def test_kernel_leds_are_taken_from_their_trigger_and_left_safe(tmp_path):
    """Brightness 0 or max_brightness; written only when it changes."""
    act, tls = kernel_led(tmp_path, "ACT"), kernel_led(tmp_path, "smgw:green:tls", "1")
    (tmp_path / "pins.toml").write_text(PINS)
    sink = open_pins(read_pins(tmp_path / "pins.toml"), tmp_path)
    level = lambda folder: (folder / "brightness").read_text()[:3].rstrip("7")  # noqa: E731
    assert (act / "trigger").read_text().startswith("none")
    assert level(act) == level(tls) == "0"
    sink.show(T0, LIT)
    assert level(act) == "255" and level(tls) == "0"
    (act / "brightness").write_text("x")
    sink.show(T0, LIT)
    assert (act / "brightness").read_text() == "x", "no change, no write"
    sink.show(T0, LIT._replace(pwr=False, tls=True))
    assert level(act)[0] == "0" and level(tls)[0] == "1"
    sink.close()
    assert level(act) == "255" and level(tls)[0] == "0"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[lamp.red]\nline = 1", "no lamp 'red'"),
        ("[lamp.pwr]", "either line or led"),
        ('[lamp.pwr]\nline = 1\nled = "x"', "either line or led"),
        ("[lamp.pwr]\nline = 1\n[lamp.tls]\nline = 1", "line 1 is of pwr and of tls"),
        ("[lamp.pwr]\nline = -1", "pin map"),
        ('[lamp.pwr]\nled = "../../x"', "a name below"),
        ("[lamp.pwr", "pin map"),
        ("nonsense = 1", "pin map"),
    ],
)
def test_a_wrong_pin_map_is_told_in_one_line(tmp_path, text, reason):
    """Which lamp, and why."""
    (tmp_path / "pins.toml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(reason)):
        read_pins(tmp_path / "pins.toml")
    with pytest.raises(ConfigError):
        read_pins(tmp_path / "none.toml")


def test_an_led_that_is_not_there_is_told(tmp_path):
    """The folder is named; nothing stays open."""
    pins = PinMap({"pwr": read_pins_pin("gone")})
    with pytest.raises(ConfigError, match="LED gone"):
        open_pins(pins, tmp_path)


def read_pins_pin(name):
    from hardware.lamps.pins import Pin

    return Pin(led=name)


@given(st.lists(st.tuples(st.integers(1, 5000), lamps), min_size=1, max_size=30))
def test_a_trace_read_by_somebody_elses_program_is_the_recording(tmp_path_factory, steps):
    """HW-10: every edge with its time, as vcdvcd reads it."""
    action = signal.getsignal(signal.SIGPIPE)
    from vcdvcd import VCDVCD

    signal.signal(signal.SIGPIPE, action)  # its import lets a closed socket end the process
    path = tmp_path_factory.mktemp("t") / "lamps.vcd"
    recording = RecordingLeds()
    sink = SeveralSinks(LampTrace(path), recording)
    now, states = T0, []
    for ms, state in steps:
        sink.show(now, state)
        states.append((now - T0, state))
        now = now + ms * MILLISECOND
    sink.close()
    found = VCDVCD(str(path))
    for name in Leds._fields:
        levels = found[f"smgw.{name}"]
        for at, state in states:
            assert levels[at] == str(int(getattr(state, name)))
    assert recording_of(sink) is recording and [s for _, s in recording.edges] == [
        s for _, s in states
    ]


def test_closing_goes_through_whatever_fails():
    """One sink that cannot be closed keeps no other open."""

    class Broken(RecordingLeds):
        def close(self):
            raise OSError("unplugged")

    class Counting(RecordingLeds):
        closed = 0

        def close(self):
            self.closed += 1

    last = Counting()
    with pytest.raises(OSError, match="unplugged"):
        SeveralSinks(Broken(), last).close()
    assert last.closed == 1


@given(lamps, st.text(max_size=80))
def test_the_front_keeps_its_shape(state, cause):
    """Every line as wide as the frame, with and without colour."""
    cause = "".join(c for c in cause if c.isprintable() and c.isascii())
    edge = {"leds": state._asdict(), "phase": "ready", "secure_state": "normal", "cause": cause}
    plain = draw(edge, "CONEXA 3.0  ETHE0399000001  v3.87.0-cc", colour=False)
    assert {len(line) for line in plain} == {len(plain[0])}
    colour = draw(edge, "CONEXA 3.0  ETHE0399000001  v3.87.0-cc")
    assert [re.sub(r"\x1b\[\d+m", "", line) for line in colour] == plain
    assert sum(line.count("●") for line in plain) == sum(state)
