"""A real gateway process with a day of readings, for clients other people wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import SMGW, lab_post, new_gateway, program, run_virtual

from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.core.instants import SECOND
from smgw_emu.lab.access import read_access
from smgw_emu.lab.provision import DEFAULT_METER


@pytest.fixture(scope="session")
def live(tmp_path_factory):
    """``smgw run`` on free ports, fed from a recording, one day ahead; gives directory, access."""
    folder: Path = tmp_path_factory.mktemp("live")
    recording = folder / "meter.sml"
    home = folder / "gateway"
    new_gateway(home)

    async def record(clock):
        meter = ElectricityMeter(DEFAULT_METER, clock.now(), seed=7)
        with recording.open("wb") as file:
            for step in range(1, 1600):
                file.write(meter.frame(clock.now() + step * 60 * SECOND))

    run_virtual(record)
    with program(
        SMGW,
        "run",
        str(home),
        "--meter",
        f"{recording}?interval=60",
        "--start",
        "2026-03-31T10:00:00Z",
        "--speed",
        "1",
        wait_for="ready",
    ):
        access = read_access(home)
        lab_post(access, "clock", {"advance_s": 86_400 + 700})
        yield home, access
