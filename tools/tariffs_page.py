"""Write docs/tariffs.md: the text beside this file, and the table of use cases out of the code."""

from __future__ import annotations

from pathlib import Path

from smgw_emu.core.tariff import USE_CASES

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "tariffs.md"
_TEXT = Path(__file__).with_suffix(".md")
_LEAVES = {
    "daily": "once a day",
    "period": "at the end of a billing period",
    "cycle": "each period, at once",
    "event": "at once, on events",
    "request": "when the administrator retrieves a day",
}


def page() -> str:
    """Return the page."""
    rows = ["| TAF | name | lists | signed | leaves |", "|---:|---|---|---|---|"]
    for number, cls in sorted(USE_CASES.items()):
        lists = ", ".join(f"`{name}`" for name in cls.DATABASES)
        if not cls.STORED and cls.DISPATCH in {"cycle", "event"}:
            lists += " (present value only)"
        signed = "yes" if cls.SIGNED else "no"
        rows.append(f"| {number} | {cls.NAME} | {lists} | {signed} | {_LEAVES[cls.DISPATCH]} |")
    return _TEXT.read_text("utf-8").replace("@USE_CASES@", "\n".join(rows))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
