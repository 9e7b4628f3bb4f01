"""Write docs/state-machines.md from the tables in the code, so that it cannot drift."""

from __future__ import annotations

import itertools
import sys
from enum import StrEnum
from pathlib import Path

from cls_proxy.life import TABLE as CLS
from cls_proxy.life import State as ClsState
from hsm_sim.apdu import Ins
from hsm_sim.card import ALLOWED, LifeCycle
from lmn.hdlc.primary import TABLE as PRIMARY
from lmn.hdlc.secondary import TABLE as SECONDARY
from lmn.sym.pairing import CryptoReset, Pairing
from secure_state.selftest import TRANSITIONS
from smgw_emu.bench.cls.box import TABLE as BOX
from smgw_emu.core.life import TABLE as LIFE
from smgw_emu.core.life import Life
from wan.channel.machine import TABLE as CHANNEL

PAGE = Path(__file__).resolve().parent.parent / "docs" / "state-machines.md"


def render() -> str:
    """Return the page."""
    lines = [
        "# State machines",
        "",
        "Generated from the tables in the code by `python tools/diagrams.py`.",
        "",
        "## Self-test (`secure_state/selftest.py`)",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> untested",
    ]
    for (state, event), (following, action) in TRANSITIONS.items():
        lines.append(
            f"    {state} --> {following}: {event} / {action}".replace("refuse: ", "refuse ")
        )
    lines += ["```", "", "## Security module (`hsm_sim/card.py`)", "", "```mermaid"]
    lines += ["stateDiagram-v2", f"    [*] --> {_label(LifeCycle.MANUFACTURING)}"]
    states = list(LifeCycle)
    for state, following in itertools.pairwise(states[:-1]):
        if Ins.ACTIVATE in ALLOWED[state]:
            lines.append(f"    {_label(state)} --> {_label(following)}: ACTIVATE")
    for state in states:
        if Ins.TERMINATE in ALLOWED[state]:
            lines.append(f"    {_label(state)} --> {_label(LifeCycle.END_OF_LIFE)}: TERMINATE")
    lines += ["```", "", "## WAN channel (`wan/channel/machine.py`)", "", "```mermaid"]
    lines += ["stateDiagram-v2", "    [*] --> closed"]
    for (at, happens), (then, does) in CHANNEL.items():
        text = happens.value if does.value == "-" else f"{happens.value} / {does.value}"
        lines.append(f"    {at} --> {then}: {text}")
    lines += ["```", "", "## Life of a gateway (`smgw_emu/core/life.py`)", "", "```mermaid"]
    lines += ["stateDiagram-v2", f"    [*] --> {_label(Life.PRE_PERSONALISED)}"]
    for (stage, step), later in LIFE.items():
        lines.append(f"    {_label(stage)} --> {_label(later)}: {step}")
    return "\n".join([*lines, "```", "", *_wired(), "", *_cls(), ""])


def _cls() -> list[str]:
    """Channels between CLS and EMT, and the bench's Steuerbox."""
    lines = []
    for scenario, table in CLS.items():
        lines += [f"## Transparent channel, {scenario} (`cls_proxy/life.py`)", "", "```mermaid"]
        lines += ["stateDiagram-v2", "    [*] --> s0"]
        names = {state: f"s{number}" for number, state in enumerate(ClsState)}
        lines += [f'    state "{state}" as {name}' for state, name in names.items()]
        for (state, event), (after, actions) in table.items():
            does = f" / {', '.join(actions)}" if actions else ""
            lines.append(f"    {names[state]} --> {names[after]}: {event}{does}")
        lines += ["```", ""]
    lines += ["## Steuerbox (`smgw_emu/bench/cls/box.py`)", "", "```mermaid", "stateDiagram-v2"]
    lines += ["    [*] --> init"]
    lines += [f"    {state} --> {after}: {event}" for (state, event), after in BOX.items()]
    return [*lines, "```"]


def _wired() -> list[str]:
    """Return the lines of the wired LMN."""
    lines: list[str] = []
    for title, table in (
        ("HDLC link, gateway's side (`lmn/hdlc/primary.py`)", PRIMARY),
        ("HDLC link, meter's side (`lmn/hdlc/secondary.py`)", SECONDARY),
    ):
        lines += [f"## {title}", "", "```mermaid", "stateDiagram-v2", "    [*] --> closed"]
        for (link, frame), (next_link, step) in table.items():
            lines.append(f"    {link} --> {next_link}: {frame} / {step}")
        lines += ["```", ""]
    lines += ["## SYM (`lmn/sym/pairing.py`)", ""]
    for name, sequence in (("Pairing", Pairing), ("Crypto reset", CryptoReset)):
        steps = " -> ".join(
            f"{one:02x} {one.name.lower().replace('_', ' ')}" for one in sequence.steps
        )
        lines += [f"* {name}: {steps}"]
    return lines


def _label(state: StrEnum) -> str:
    return state.value.replace("-", "_")


if __name__ == "__main__":
    PAGE.write_text(render())
    sys.stdout.write(f"{PAGE} written\n")
