"""The examples do what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def test_read_values_prints_a_day(live):
    """96 lines with kWh and status word."""
    home, _ = live
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            str(EXAMPLES / "read_values.py"),
            str(home / "access.json"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 96
    assert all(" kWh a0000000" in line for line in lines)


def test_seal_and_wake():
    """The example of the WAN pieces runs and prints what it promises."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "seal_and_wake.py")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert "1234.5" in first
    assert second.startswith("wake-up, 108 octets: 575501")
