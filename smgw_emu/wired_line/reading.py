"""What a wired meter is asked, when, and what becomes of the answer.

Theory of operation. A meter is read on the raster of its interval in device time, so that a value
comes right at a registration target; for all registers its profile holds. The capture time is that
of the answer's first octet (DS v2.0 REQ.TLSHDLC.SMGW.50); where the profile says so, less the
time between measuring and sending that the meter tells (REQ .60). A meter whose seconds index falls
is told of (REQ .70).
"""

from __future__ import annotations

from lmn.sml.answers import Registers, registers
from lmn.sml.messages import Message
from smgw_emu.core.device import Device
from smgw_emu.core.instants import SECOND, DeviceTime, WorldTime
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.values import MeterReport
from smgw_emu.core.wan_profiles import LmnProfile
from smgw_emu.profiles import Profile


class Reader:
    """The readings of one meter.

    Args:
        meter: its profile.
        lmn: its communication profile: the interval.
        device: the core.
        profile: which time counts.
    """

    def __init__(
        self, meter: Meter, lmn: LmnProfile | None, device: Device, profile: Profile
    ) -> None:
        self.meter = meter
        self._interval = (lmn or LmnProfile(meter.id)).interval_s * SECOND
        self._device = device
        self._relative = profile.lmn_wired.measuring_time == "ref-minus-val"
        self._reference: int | None = None
        self.due = DeviceTime(0)
        self.read = 0

    def plan(self, now: DeviceTime) -> None:
        """Set the next reading: the next point of the raster after ``now``."""
        self.due = DeviceTime((now.ns // self._interval + 1) * self._interval)

    def take(self, messages: list[Message], arrived: WorldTime) -> Registers:
        """Hand the values of an answer to the core.

        Raises:
            RemoteProtocolError: the answer has another form.
        """
        found = registers(messages, self.meter.channels)
        self._watch_reference(found.reference, arrived)
        if found.values:
            self.read += 1
            measured = arrived
            if self._relative and found.age_s is not None:
                measured = arrived + -found.age_s * SECOND
            self._device.on_report(
                measured, MeterReport(self.meter.key, found.values, found.status)
            )
        return found

    def _watch_reference(self, reference: int | None, at: WorldTime) -> None:
        old, self._reference = self._reference, reference
        if old is not None and reference is not None and reference < old:
            now = self._device.now(at)
            self._device.logbooks.write(
                "meter-time-fell",
                now,
                subject=f"{self.meter.key}.sm",
                outcome="F",
                meter=self.meter.key,
                old=old,
                new=reference,
            )
