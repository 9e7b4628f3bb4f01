"""Write docs/tls.md: conformance statement from the presets, test cases with their names."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from smgw_emu import profiles
from smgw_emu.transport.presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "tls.md"
_TESTS = ("client", "server")
_ROLES = {"wan": "client", "lmn": "client, server", "han-conexa": "server", "han-tr2025": "server"}


def _cases(side: str) -> list[tuple[str, str]]:
    """Return (id, first line of the docstring) of every case of one side."""
    path = ROOT / "tests" / "interop" / f"test_tr03116ts_{side}.py"
    found = []
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_TLS_"):
            identity = "_".join(node.name.removeprefix("test_").split("_")[:4])
            found.append((identity, (ast.get_docstring(node) or "").splitlines()[0]))
    return sorted(found)


def _statement() -> list[str]:
    lines = ["| | " + " | ".join(f"`{name}`" for name in PRESETS) + " |", "|---" * 5 + "|"]
    for label, value in (
        ("interface", lambda preset: preset.interface),
        ("role of the gateway", lambda preset: _ROLES[preset.name]),
        ("versions", lambda _: "TLS 1.2 only"),
        ("suites", lambda preset: "<br>".join(preset.suites.split(":"))),
        ("groups", lambda preset: "<br>".join(preset.groups.split(":"))),
        (
            "signature algorithms",
            lambda preset: "<br>".join(preset.signature_algorithms.split(":")),
        ),
        ("source", lambda preset: preset.source),
    ):
        lines.append(f"| {label} | " + " | ".join(value(item) for item in PRESETS.values()) + " |")
    return lines


def _limits() -> list[str]:
    profile = profiles.load()
    lines = [
        "| limit | WAN | LMN | HAN |",
        "|---|---|---|---|",
    ]
    tables = (profile.wan_tls, profile.lmn_tls, profile.tls)
    for label, key in (
        ("session, s", "max_session_s"),
        ("idle, s (0: off)", "idle_s"),
        ("payload octets (0: off)", "max_octets"),
        ("after close_notify, s", "close_s"),
        ("handshake, s", "handshake_s"),
    ):
        lines.append(f"| {label} | " + " | ".join(str(getattr(t, key)) for t in tables) + " |")
    return lines


def render() -> str:
    """Return the page."""
    cases: list[str] = []
    for side in _TESTS:
        cases += [f"### Gateway as {side}", "", "| case | what is expected |", "|---|---|"]
        cases += [f"| {identity} | {text} |" for identity, text in _cases(side)]
        cases.append("")
    template = PAGE.parent.parent / "tools" / "tls_page.md"
    return template.read_text("utf-8").format(
        statement="\n".join(_statement()),
        limits="\n".join(_limits()),
        cases="\n".join(cases).rstrip(),
    )


if __name__ == "__main__":
    PAGE.write_text(render(), "utf-8")
    sys.stdout.write(f"{PAGE} written\n")
