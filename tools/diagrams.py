"""Write docs/state-machines.md from the tables in the code, so that it cannot drift."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from hsm_sim.apdu import Ins
from hsm_sim.card import ALLOWED, LifeCycle
from secure_state.selftest import TRANSITIONS

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
    return "\n".join([*lines, "```", ""])


def _label(state: LifeCycle) -> str:
    return state.value.replace("-", "_")


if __name__ == "__main__":
    PAGE.write_text(render())
    sys.stdout.write(f"{PAGE} written\n")
