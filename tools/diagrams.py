"""Write docs/state-machines.md from the tables in the code, so that it cannot drift."""

from __future__ import annotations

import sys
from pathlib import Path

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
    return "\n".join([*lines, "```", ""])


if __name__ == "__main__":
    PAGE.write_text(render())
    sys.stdout.write(f"{PAGE} written\n")
