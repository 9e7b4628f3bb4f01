"""Write docs/secure-states.md from the table in the code, the lamp model and the firmware tables."""

# ruff: noqa: E501  # sentences of the page, as they stand there

from __future__ import annotations

import sys
from pathlib import Path

from firmware.update import TABLE as UPDATE
from secure_state.machine import SEVERITY, SIGNAL, TABLE, Exit, Function
from smgw_emu.core.instants import MILLISECOND, SECOND, WorldTime
from smgw_emu.core.leds import (
    AdminChannel,
    BootPhase,
    Leds,
    LedState,
    MobileSignal,
    SecureState,
    leds,
)
from smgw_emu.profiles import load

PAGE = Path(__file__).resolve().parent.parent / "docs" / "secure-states.md"
T0 = WorldTime(1_800_000_000 * SECOND)
_EXITS = {
    Exit.TERMINAL: "none documented: the manufacturer's workbench (`smgw firmware repair`)",
    Exit.RESTART: "the next start that finds everything right",
    Exit.SELF_TEST: "the next self-test that finds the fault gone",
    Exit.ADMINISTRATOR: "an action of the administrator (`secure_state.application_exit`)",
    Exit.AUTOMATIC: "by itself, as soon as the fault is gone",
}
_READY = LedState(since=T0, phase=BootPhase.READY, secure_since=T0)
_ROWS: tuple[tuple[str, str, str, LedState, int, int], ...] = (
    ("PWR", "end of boot until ready", "HW-11",
     LedState(since=T0, phase=BootPhase.STARTING), 2000, 100),
    ("PWR", "normal operation", "HW-12", _READY, 2000, 100),
    ("PWR", "Secure State Application", "HW-13",
     LedState(T0, BootPhase.READY, SecureState.APPLICATION, T0), 400, 10),
    ("PWR", "cyclic restart, one turn", "SEC-41",
     LedState(T0, BootPhase.STARTING, SecureState.CYCLIC_RESTART, T0), 20_000, 500),
    ("TLS", "channel being built, or on Gütesiegel certificates", "HW-15, HW-16",
     LedState(T0, BootPhase.READY, channel=AdminChannel.GUETESIEGEL, channel_since=T0), 2000, 50),
    ("TLS", "channel on Wirk certificates", "HW-17",
     LedState(T0, BootPhase.READY, channel=AdminChannel.WIRK, channel_since=T0), 2000, 50),
    ("TLS", "valid wake-up, without a channel", "HW-19",
     LedState(T0, BootPhase.READY, wakeup_at=T0), 4000, 125),
    ("LMC", "a station on the bus and time from the administrator", "HW-21",
     LedState(T0, BootPhase.READY, hdlc_station=True, synchronised=True), 2000, 100),
    ("wMT", "a telegram", "HW-23", LedState(WorldTime(0), BootPhase.READY, telegram_at=T0), 1000, 50),
    *(
        ("wMT", f"first minute, mobile signal {signal.value}", "HW-25, HW-N01",
         LedState(since=T0, phase=BootPhase.READY, mobile=signal), 3000, 100)
        for signal in (MobileSignal.GOOD, MobileSignal.MEDIUM, MobileSignal.POOR,
                       MobileSignal.NO_SIGNAL)
    ),
    ("PWR", "Secure State Boot (TLS, LMC, wMT the same)", "SEC-07",
     LedState(T0, BootPhase.STARTING, SecureState.BOOT, T0), 400, 10),
    ("HAN", "port on, cable in", "HW-08",
     LedState(T0, BootPhase.READY, han=True), 2000, 100),
    ("HAN", "Secure State Connectivity or Application", "HW-08, SEC-32", _READY, 2000, 100),
)  # fmt: skip


def wave(lamp: str, state: LedState, length_ms: int, step_ms: int) -> str:
    """Return what a lamp does, a character per step."""
    times = load().leds
    name = lamp.lower()
    lit = (
        getattr(leds(state, T0 + at * MILLISECOND, times), name)
        for at in range(0, length_ms, step_ms)
    )
    return "".join("█" if on else "·" for on in lit)


def render() -> str:
    """Return the page."""
    served = [f for f in Function if f is not Function.UNMARKED]
    lines = [
        "# Secure states, lamps",
        "",
        "Generated from the code by `python tools/states_page.py`. States, triggers and lamps are those of the consumer manual, chapters D and",
        "B-3; what it leaves open is a setting of the profile, named here.",
        "",
        "## What leads to which state, what ends it",
        "",
        "Causes hold independently of each other; shown is the gravest state, forbidden is what any cause forbids. `GET secure-state` of the",
        "control endpoint and `smgw status` show them; every transition is logged and reported to the administrator.",
        "",
        "| cause | state | found when | ends by | source |",
        "|---|---|---|---|---|",
    ]
    for cause, rule in TABLE.items():
        lines.append(
            f"| `{cause}` | {rule.state} | {rule.trigger} | {_EXITS[rule.exit]} | {rule.source} |"
        )
    lines += ["", "## What is served", "", f"| state | {' | '.join(served)} | values | signal |",
              "|---|" + "---|" * (len(served) + 2)]  # fmt: skip
    for state in reversed(SEVERITY):
        rules = [rule for rule in TABLE.values() if rule.state is state]
        cells = []
        for function in served:
            forbid = {function in rule.forbids for rule in rules}
            cells.append("no" if forbid == {True} else "yes" if not any(forbid) else "by cause")
        marked = {Function.UNMARKED in rule.forbids for rule in rules}
        gone = "no" in cells[served.index(Function.METERING)]
        word = "none" if gone else "marked" if True in marked else "unmarked"
        lines.append(f"| {state} | {' | '.join(cells)} | {word} | {SIGNAL[state]} |")
    lines += [
        "",
        "`metering` in Secure State Application: full storage stops it; a clock beyond its limit does not, values are then marked (TR-03109-1",
        "v1.0 3.2.6.3 no. 7).",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> normal",
    ]
    for cause, rule in TABLE.items():
        state = rule.state.replace("-", "_")
        lines.append(f"    normal --> {state}: {cause}")
        if rule.exit is not Exit.TERMINAL:
            lines.append(f"    {state} --> normal: {cause} ends, {rule.exit}")
    lines += ["```", "", "## Lamps", "",
              '█ lit, · dark; one character is the step in the fourth column. A blink begins with "on" and is on as long as off (A1, A2).', "",
              "| lamp | when | pattern | step | source |", "|---|---|---|---:|---|"]  # fmt: skip
    for lamp, when, source, state, length, step in _ROWS:
        lines.append(
            f"| {lamp} | {when} | `{wave(lamp, state, length, step)}` | {step} ms | {source} |"
        )
    lines += [
        "",
        f"All lamps: {', '.join(Leds._fields)}. Priorities: off and boot, Secure State Boot, cyclic restart, then each lamp by itself; a wake-up",
        "goes before the channel (HW-27). Secure States Connectivity and Measurement show on no front lamp (HW-26).",
        "",
        "## Firmware update (`firmware/update.py`)",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> idle",
    ]
    lines += [f"    {at} --> {then}: {event}" for (at, event), then in UPDATE.items()]
    return "\n".join([*lines, "```", ""])


if __name__ == "__main__":
    PAGE.write_text(render())
    sys.stdout.write(f"{PAGE} written\n")
