"""Power cuts: ``kill -9`` at random moments loses nothing that was acknowledged."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.store import Store

KILLS = 200
WRITER = Path(__file__).with_name("crash_writer.py")


def acknowledged(path: Path, chance: random.Random) -> int:
    """Run the writer, kill it at a random point; return the last number it called durable."""
    process = subprocess.Popen([sys.executable, str(WRITER), str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    output = b""
    while b"ready" not in output:
        select.select([process.stdout], [], [], 30)
        output += process.stdout.read() or b""
    end = time.monotonic() + chance.uniform(0, 0.03)
    while (left := end - time.monotonic()) > 0:
        select.select([process.stdout], [], [], left)
        output += process.stdout.read() or b""
    process.send_signal(signal.SIGKILL)
    process.wait()
    output += process.stdout.read() or b""
    process.stdout.close()
    complete = output[: output.rfind(b"\n") + 1].split()[1:]
    return int(complete[-1]) if complete else -1


@pytest.mark.timeout(900)
def test_two_hundred_kills_lose_no_committed_reading_and_no_log_entry(tmp_path):
    """After each kill: every acknowledged number is there, value list and log agree, no gaps."""
    path = tmp_path / "state.db"
    Store(path).close()
    chance = random.Random(20_260_331)
    last = -1
    for _ in range(KILLS):
        last = max(last, acknowledged(path, chance))
        store = Store(path)
        lines = store.readings("origin", "m", 900, DeviceTime(0), DeviceTime(1 << 62))
        entries = Logbooks(store, {"anna": "A"}).entries("consumer", "anna", count=10**6)
        store.close()
        assert len(lines) > last
        assert [line.value for line in lines] == list(range(len(lines)))
        assert all(line.signature == line.value.to_bytes(64, "big") for line in lines[-3:])
        assert [entry.number for entry in entries] == list(range(1, len(lines) + 1))
    assert last > KILLS // 4  # the kills really hit a writing process, on a slow disk too
