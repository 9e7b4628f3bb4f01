"""The commands of power, lamps and firmware on a gateway that runs as a program of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import time

import pytest
from support import SMGW, new_gateway, program
from support import smgw as run


def smgw(*arguments, code=0):
    result = run(*arguments)
    assert result.returncode == code, (arguments, result.stdout, result.stderr)
    return result.stdout + result.stderr


FRAME = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def gateway(tmp_path):
    folder = tmp_path / "gateway"
    new_gateway(folder)
    trace = tmp_path / "lamps.vcd"
    with program(SMGW, "run", str(folder), "--lamp-trace", str(trace), wait_for="ready"):
        yield folder
    assert trace.read_text().startswith("$date")


def status(folder):
    return json.loads(smgw("status", str(folder), "--json"))


@pytest.mark.req("HW-01", "HW-09", "SEC-02", "SEC-08", "F08")
def test_power_firmware_and_repair_on_the_command_line(gateway, tmp_path):
    """Off, on, brown-out, battery; a corrupt kernel, and the way out the manufacturer has."""
    where, key = str(gateway), str(gateway / "lab-pki")
    assert smgw("power", "off", where).startswith("off  normal")
    assert smgw("power", "on", where).startswith("starting  normal")
    assert "100 V" in smgw("power", "supply", where, "100")
    assert status(gateway)["phase"] == "off"
    assert smgw("power", "supply", where, "230").startswith("starting")
    assert "battery EMPTY" in smgw("power", "battery", where, "empty")
    assert "measurement" in smgw("power", "cycle", where)
    package = str(tmp_path / "new.fw")
    out = smgw("firmware", "build", package, "--version", "v3.90.0-cc", "--kind", "security")
    assert "NOT signed" in out
    assert smgw("firmware", "sign", package, "--key", key).endswith("signed\n")
    shown = json.loads(smgw("firmware", "show", package, "--key", key))
    assert (shown["version"], shown["kind"], shown["images_whole"]) == (
        "v3.90.0-cc",
        "security",
        True,
    )
    assert shown["signature"] == "the manufacturer's" and len(shown["hash"]) == 64
    assert "A  active   v3.87.0-cc    whole" in smgw("firmware", "status", where)
    smgw("firmware", "corrupt", where, "a", "kernel")
    assert "kernel: SHA-256" in smgw("firmware", "status", where)
    assert "boot  loader: kernel" in smgw("power", "cycle", where)
    assert "LATCHED image" in smgw("firmware", "status", where)
    assert "flash written anew" in smgw("firmware", "repair", where, package, "--wipe")
    smgw("power", "battery", where, "good")
    assert smgw("power", "cycle", where).startswith("starting")
    assert status(gateway)["firmware"] == "v3.90.0-cc"
    assert "v3.90.0-cc" in smgw("status", where)


def test_repair_of_a_running_device_is_refused(gateway, tmp_path):
    """One line that says what to do."""
    package, key = str(tmp_path / "new.fw"), str(gateway / "lab-pki")
    smgw("firmware", "build", package, "--version", "v3.90.0-cc", "--key", key)
    assert "smgw power off" in smgw("firmware", "repair", str(gateway), package, code=2)
    smgw("power", "off", str(gateway))
    assert "anew" in smgw("firmware", "repair", str(gateway), package)


def test_wrong_packages_and_keys_are_told_in_one_line(gateway, tmp_path):
    """Exit codes 1 and 2, no traceback."""
    bad, key = tmp_path / "bad.fw", str(gateway / "lab-pki")
    bad.write_bytes(b"noise")
    assert "no firmware package" in smgw("firmware", "show", str(bad), code=1)
    assert "no firmware package" in smgw("firmware", "sign", str(bad), "--key", key, code=1)
    assert "no manufacturer's key" in smgw(
        "firmware", "build", str(bad), "--key", str(tmp_path), code=2
    )
    assert "not a version" in smgw("firmware", "build", str(bad), "--version", "new", code=2)
    assert "no profile" in smgw("firmware", "build", str(bad), "--profile", "x/y", code=2)
    smgw("firmware", "build", str(bad))
    assert "not signed" in smgw("firmware", "show", str(bad), "--key", key, code=1)
    assert "no gateway" in smgw("power", "off", str(tmp_path / "none"), code=2)
    assert "does not run" in smgw("leds", str(stopped(tmp_path)), "--once", code=3)


def stopped(tmp_path):
    folder = tmp_path / "stopped"
    new_gateway(folder, control_port=1)
    return folder


@pytest.mark.req("HW-10", "HW-11")
def test_the_front_is_drawn_live_in_a_terminal(gateway):
    """A real pseudo-terminal: frames redrawn in place, PWR seen lit and dark, cursor given back."""
    main, side = pty.openpty()
    process = subprocess.Popen([SMGW, "leds", str(gateway)], stdout=side, stderr=side, stdin=side)
    os.close(side)
    data, end = b"", time.monotonic() + 20
    while time.monotonic() < end and data.count(b"\x1b[H") < 6:
        if select.select([main], [], [], 0.2)[0]:
            data += os.read(main, 65536)
    process.terminate()
    process.wait(10)
    os.close(main)
    text = data.decode(errors="replace")
    assert "\x1b[?25l" in text
    frames = [FRAME.sub("", part) for part in text.split("\x1b[H")[1:]]
    assert any("PWR ●" in frame for frame in frames) and any("PWR ○" in frame for frame in frames)
    assert "CONEXA 3.0" in frames[0] and "starting, normal" in frames[0]
    once = smgw("leds", str(gateway), "--once")
    assert "┌" in once and "HAN      link ●" in once and "\x1b" not in once


def test_edges_are_lines_for_programs(gateway):
    """Without a terminal: world time, phase, state, lamps that are lit."""
    with program(SMGW, "leds", str(gateway), "--edges", wait_for="17") as leds:
        assert re.match(r"\d+  starting  normal +(pwr han|han)", leds.lines[-1])
