"""The lamps of the device as a pure function of device state and time (HW-10 to HW-27).

Theory of operation (consumer manual B-3; priorities HW-27):

1. No power or still booting: all dark (A4).
2. Secure State Boot: all four blink with 50 ms.
3. Cyclic restart: PWR never gets steady (SEC-41): dark, then the 500 ms blink, again and again.
4. PWR: 50 ms blink in Secure State Application; 500 ms blink after boot until ready; then steady.
5. TLS: 3 s of 125 ms blink after a valid wake-up; else 250 ms blink while the channel to the GWA is
   being built or stands on Guetesiegel certificates; steady on Wirk certificates; else dark.
6. LMC: steady iff a meter has an HDLC address and the time is synchronised with the GWA's NTP.
7. wMT: in the first minute the mobile signal in a 3 s cycle (if a modem is fitted, A5); else
   500 ms per complete wM-Bus telegram.

8. Ports HAN and [HAN]CLS (manual D-2.3, HW-08): link while the port is switched on and a cable is
   in, activity for a moment per transfer; dark when the interface is disabled.

Secure States Connectivity and Measurement show on no front lamp (HW-26). A blink begins with "on"
and is on as long as off (A1, A2). :func:`next_edge` tells a sink when to look again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from smgw_emu.core.instants import MILLISECOND, WorldTime
from smgw_emu.profiles import Leds as LedTimes


class Leds(NamedTuple):
    """Which lamps are lit: four on the front, link and activity of the two ports."""

    pwr: bool
    tls: bool
    lmc: bool
    wmt: bool
    han: bool = False
    han_activity: bool = False
    cls: bool = False
    cls_activity: bool = False


_EPOCH = WorldTime(0)
DARK = Leds(pwr=False, tls=False, lmc=False, wmt=False)


class BootPhase(StrEnum):
    """Progress after power-up."""

    OFF = "off"
    BOOTING = "booting"
    STARTING = "starting"
    READY = "ready"


class SecureState(StrEnum):
    """States of the consumer manual, chapter D (SEC-01)."""

    NORMAL = "normal"
    BOOT = "boot"
    APPLICATION = "application"
    CONNECTIVITY = "connectivity"
    MEASUREMENT = "measurement"
    CYCLIC_RESTART = "cyclic-restart"


class AdminChannel(StrEnum):
    """TLS channel to the administrator (HW-15 to HW-18)."""

    NONE = "none"
    BUILDING = "building"
    GUETESIEGEL = "guetesiegel"
    WIRK = "wirk"


class MobileSignal(StrEnum):
    """What the wMT lamp shows in the first minute; ``ABSENT``: no modem fitted."""

    ABSENT = "absent"
    GOOD = "gut"
    MEDIUM = "mittel"
    POOR = "schlecht"
    NO_SIGNAL = "kein-empfang"


# Field notes 7.3: 0.3 s gaps in a 3 s cycle, at 1.0 s, 1.6 s and 2.2 s.
MOBILE_CYCLE_MS = 3000
_GAP_MS = 300
MOBILE_GAPS_MS: dict[MobileSignal, tuple[int, ...]] = {
    MobileSignal.GOOD: (1000, 1600, 2200),
    MobileSignal.MEDIUM: (1000, 1600),
    MobileSignal.POOR: (1000,),
    MobileSignal.NO_SIGNAL: (),
}
# Cyclic restart, one turn: dark while the loader works, then blinking until it gives up (OWN).
RESTART_CYCLE_MS = 20_000
RESTART_DARK_MS = 10_000


@dataclass(frozen=True, slots=True)
class LedState:
    """Everything the lamps depend on.

    Attributes:
        phase: progress after power-up, and since when.
        secure: secure state, and since when.
        channel: administrator channel, and since when.
        wakeup_at: when the last valid wake-up arrived.
        telegram_at: when the last complete wM-Bus telegram arrived.
        hdlc_station: a meter has an HDLC address.
        synchronised: legal time from the GWA's NTP.
        mobile: signal shown in the first minute.
        han, cls: the port is switched on and a cable is in.
        han_at, cls_at: last transfer on the port.
    """

    since: WorldTime
    phase: BootPhase = BootPhase.OFF
    secure: SecureState = SecureState.NORMAL
    secure_since: WorldTime = _EPOCH
    channel: AdminChannel = AdminChannel.NONE
    channel_since: WorldTime = _EPOCH
    wakeup_at: WorldTime | None = None
    telegram_at: WorldTime | None = None
    hdlc_station: bool = False
    synchronised: bool = False
    mobile: MobileSignal = MobileSignal.ABSENT
    han: bool = False
    han_at: WorldTime | None = None
    cls: bool = False
    cls_at: WorldTime | None = None


class _Lamp(NamedTuple):
    """A lamp now, and the moment it may change (None: only when the state changes)."""

    lit: bool
    until: WorldTime | None


_ON = _Lamp(lit=True, until=None)
_OFF = _Lamp(lit=False, until=None)


def _blink(since: WorldTime, now: WorldTime, pulse_ms: int) -> _Lamp:
    pulse = pulse_ms * MILLISECOND
    slot = (now - since) // pulse
    return _Lamp(slot % 2 == 0, since + (slot + 1) * pulse)


def _window(start: WorldTime | None, length_ms: int, now: WorldTime) -> WorldTime | None:
    """Return the end of the window that began at ``start``, None when outside it."""
    if start is None or now < start:
        return None
    end = start + length_ms * MILLISECOND
    return end if now < end else None


def _pwr(state: LedState, now: WorldTime, times: LedTimes) -> _Lamp:
    if state.secure is SecureState.APPLICATION:
        return _blink(state.secure_since, now, times.secure_state_ms)
    if state.phase is BootPhase.STARTING:
        return _blink(state.since, now, times.pwr_boot_ms)
    return _ON


def _tls(state: LedState, now: WorldTime, times: LedTimes) -> _Lamp:
    flash_end = _window(state.wakeup_at, times.wakeup_total_ms, now)
    if flash_end is not None and state.wakeup_at is not None:
        lamp = _blink(state.wakeup_at, now, times.wakeup_ms)
        return _Lamp(lamp.lit, min(lamp.until or flash_end, flash_end))
    if state.channel in {AdminChannel.BUILDING, AdminChannel.GUETESIEGEL}:
        return _blink(state.channel_since, now, times.tls_ms)
    return _ON if state.channel is AdminChannel.WIRK else _OFF


def _wmt(state: LedState, now: WorldTime, times: LedTimes) -> _Lamp:
    minute_end = _window(state.since, times.mobile_total_ms, now)
    if minute_end is not None and state.mobile is not MobileSignal.ABSENT:
        return _mobile(state, now, minute_end)
    end = _window(state.telegram_at, times.telegram_ms, now)
    return _OFF if end is None else _Lamp(lit=True, until=end)


def _mobile(state: LedState, now: WorldTime, minute_end: WorldTime) -> _Lamp:
    cycle = MOBILE_CYCLE_MS * MILLISECOND
    into = (now - state.since) % cycle
    start = now + -into
    edges = [start + cycle]
    lit = True
    for gap in MOBILE_GAPS_MS[state.mobile]:
        begin, end = gap * MILLISECOND, (gap + _GAP_MS) * MILLISECOND
        lit = lit and not begin <= into < end
        edges += [start + edge for edge in (begin, end) if edge > into]
    return _Lamp(lit, min([*edges, minute_end]))


_FRONT_DARK = (_OFF, _OFF, _OFF, _OFF)


def _lamps(state: LedState, now: WorldTime, times: LedTimes) -> tuple[_Lamp, ...]:
    """Return the lamps; ports that are dark may be missing at the end."""
    if state.phase is BootPhase.OFF:
        return _FRONT_DARK
    if state.secure is SecureState.BOOT:
        lamp = _blink(state.secure_since, now, times.secure_state_ms)
        return lamp, lamp, lamp, lamp
    if state.secure is SecureState.CYCLIC_RESTART:
        return _restarting(state, now, times), _OFF, _OFF, _OFF
    if state.phase is BootPhase.BOOTING:
        return _FRONT_DARK
    lmc = _ON if state.hdlc_station and state.synchronised else _OFF
    front = _pwr(state, now, times), _tls(state, now, times), lmc, _wmt(state, now, times)
    if not (state.han or state.cls):
        return front
    return (
        *front,
        *_port(state.han_at, now, times, on=state.han),
        *_port(state.cls_at, now, times, on=state.cls),
    )


def _port(
    at: WorldTime | None, now: WorldTime, times: LedTimes, *, on: bool
) -> tuple[_Lamp, _Lamp]:
    if not on:
        return _OFF, _OFF
    end = _window(at, times.activity_ms, now)
    return _ON, _OFF if end is None else _Lamp(lit=True, until=end)


def _restarting(state: LedState, now: WorldTime, times: LedTimes) -> _Lamp:
    cycle = RESTART_CYCLE_MS * MILLISECOND
    start = now + -((now - state.secure_since) % cycle)
    blinking = start + RESTART_DARK_MS * MILLISECOND
    if now < blinking:
        return _Lamp(lit=False, until=blinking)
    lamp = _blink(blinking, now, times.pwr_boot_ms)
    return _Lamp(lamp.lit, min(lamp.until or start + cycle, start + cycle))


def leds(state: LedState, now: WorldTime, times: LedTimes) -> Leds:
    """Return which lamps are lit at ``now``."""
    return Leds(*[lamp.lit for lamp in _lamps(state, now, times)])


def next_edge(state: LedState, now: WorldTime, times: LedTimes) -> WorldTime | None:
    """Return the next moment after ``now`` at which a lamp may change by itself."""
    moments = [lamp.until for lamp in _lamps(state, now, times) if lamp.until is not None]
    return min(moments) if moments else None
