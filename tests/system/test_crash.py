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
MODULE_KILLS = 40
MODULE_WRITER = Path(__file__).with_name("module_writer.py")
WRITER = Path(__file__).with_name("crash_writer.py")


def acknowledged(path: Path, chance: random.Random) -> int:
    """Return the last number the store's writer called durable before it was killed."""
    lines = killed(WRITER, path, chance.uniform(0, 0.03))
    return int(lines[-1]) if lines else -1


def killed(writer: Path, path: Path, seconds: float) -> list[bytes]:
    """Run a writer, kill it after some time; return the complete lines after "ready"."""
    process = subprocess.Popen([sys.executable, str(writer), str(path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    output = b""
    while b"ready" not in output:
        select.select([process.stdout], [], [], 30)
        output += process.stdout.read() or b""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        select.select([process.stdout], [], [], left)
        output += process.stdout.read() or b""
    process.send_signal(signal.SIGKILL)
    process.wait()
    output += process.stdout.read() or b""
    process.stdout.close()
    return output[: output.rfind(b"\n") + 1].splitlines()[1:]


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
        lines = store.readings("origin", "m", "900", DeviceTime(0), DeviceTime(1 << 62))
        entries = Logbooks(store, {"anna": "A"}).entries("consumer", "anna", count=10**6)
        store.close()
        assert len(lines) > last
        assert [line.value for line in lines] == list(range(len(lines)))
        assert all(line.signature == line.value.to_bytes(64, "big") for line in lines[-3:])
        assert [entry.number for entry in entries] == list(range(1, len(lines) + 1))
    assert last > KILLS // 4  # the kills really hit a writing process, on a slow disk too


@pytest.mark.timeout(600)
@pytest.mark.req("HSM-01")
def test_kills_leave_the_security_module_whole(tmp_path):
    """After each kill: every acknowledged key is there and signs, files are whole, the PIN opens."""
    from hsm_sim import SecurityModule
    from hsm_sim.curves import point_octets

    folder = tmp_path / "hsm"
    SecurityModule(folder)
    chance = random.Random(20_261_121)
    keys: dict[str, str] = {}
    for _ in range(MODULE_KILLS):
        for line in killed(MODULE_WRITER, folder, chance.uniform(0, 0.15)):
            kind, number, point = line.decode().split()
            if kind == "key":
                keys[f"K{number}"] = point
        module = SecurityModule(folder)
        slots = module.slots()
        assert set(keys) <= set(slots)
        assert module.pin_tries == 3
        for slot in slots[-3:]:
            point = point_octets(module.public_key(slot)).hex()
            assert keys.get(slot, point) == point
        module.check(tuple(slots[-1:]))
        for name in module.files():
            data = module.read_file(name)
            assert data == data[:65] * 20
    assert len(keys) > 20
