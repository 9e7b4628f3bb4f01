"""A real meter on a real serial port; needs SMGW_HW_PORT (for example /dev/ttyUSB0)."""

from __future__ import annotations

import asyncio
import os

import pytest

from hardware.ports import PortEvents, open_port
from lmn.sml import SmlFile, SmlReceiver
from lmn.sml.transport import START
from smgw_emu.transport.clock import SystemClock

PORT = os.environ.get("SMGW_HW_PORT", "")


@pytest.mark.hw
@pytest.mark.skipif(not PORT, reason="SMGW_HW_PORT names no serial port with a meter")
def test_a_meter_on_a_real_port_is_understood_within_30_seconds():
    """Three good frames, whatever the meter."""

    async def work():
        receiver, good = SmlReceiver(), []
        clock = SystemClock(asyncio.get_running_loop())

        def take(data: bytes) -> None:
            good.extend(e for e in receiver.receive(data) if isinstance(e, SmlFile))

        port = open_port(PORT, clock, PortEvents(take, lambda: None, print), START)
        port.start()
        async with asyncio.timeout(30):
            while len(good) < 3:
                await asyncio.sleep(0.1)
        port.stop()

    asyncio.run(work())
