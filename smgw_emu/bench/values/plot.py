"""A contract's values as a picture: mean power of each registration period, or the registers.

Needs matplotlib (extra ``plot``); nothing else of this project does.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from smgw_emu.bench.values.bundle import Bundle, Row
from smgw_emu.bench.values.table import UNITS
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.obis import Obis
from smgw_emu.core.status import PtbStatus, ptb_status

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ZONE = ZoneInfo("Europe/Berlin")
_WATT_HOURS = 30
_COLOURS = ("#1f5fa8", "#c2571a", "#3a7d44", "#7a4a9c", "#8a6d1d", "#555555")
_MARKED = "#b00020"


@dataclass(frozen=True, slots=True)
class Curve:
    """Steps of one register: begins, values, and which of them are marked (PTB 2 and worse)."""

    name: str
    edges: list[datetime]
    values: list[float]
    marked: list[bool]


def load_profile(rows: list[Row]) -> Curve:
    """Return the mean power in kW between consecutive readings of an energy register."""
    edges = [rows[0].target]
    values, marked = [], []
    for before, after in pairwise(rows):
        seconds = (after.target - before.target).total_seconds()
        if seconds <= 0:
            continue
        energy = (after.value - before.value) * 10.0**after.scaler
        edges.append(after.target)
        values.append(energy * 3.6 / seconds)
        marked.append(_is_marked(before) or _is_marked(after))
    return Curve(str(Obis.parse(rows[0].obis)), edges, values, marked)


def _is_marked(row: Row) -> bool:
    return ptb_status(*row.words) >= PtbStatus.TEMPORARY_ERROR


def draw(bundle: Bundle, database: str, form: str) -> bytes:
    """Return a picture, ``png`` or ``svg``.

    Raises:
        SmgwError: matplotlib is not installed, or there is nothing to draw.
    """
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError as error:
        raise SmgwError("a plot needs matplotlib: pip install 'smgw-emu[plot]'") from error
    series = _series(bundle, database)
    if not series:
        raise SmgwError(f"no values in list {database!r} from {bundle.begin} to {bundle.end}")
    mpl.rcParams["svg.hashsalt"] = "smgw-emu"  # the same values give the same file
    figure, axes = plt.subplots(figsize=(11, 4.8), layout="constrained")
    try:
        energy = database == "origin" and all(rows[0].unit == _WATT_HOURS for rows in series)
        unit = _draw_power(axes, series) if energy else _draw_values(axes, series)
        _dress(axes, bundle, database, unit)
        out = io.BytesIO()
        hidden: dict[str, Any] = {"Date": None} if form == "svg" else {"Software": None}
        figure.savefig(out, format=form, dpi=110, metadata=hidden)
    finally:
        plt.close(figure)
    return out.getvalue()


def _series(bundle: Bundle, database: str) -> list[list[Row]]:
    by_code: dict[str, list[Row]] = {}
    for row in bundle.rows():
        if row.database == database:
            by_code.setdefault(row.obis, []).append(row)
    series = [rows for rows in by_code.values() if len(rows) > 1]
    return [rows for rows in series if rows[0].unit == series[0][0].unit]  # one axis, one unit


def _draw_power(axes: Axes, series: list[list[Row]]) -> str:
    for number, rows in enumerate(series):
        curve = load_profile(rows)
        if not curve.values:
            continue
        colour = _COLOURS[number % len(_COLOURS)]
        axes.stairs(curve.values, _dates(curve.edges), label=curve.name, color=colour, fill=True,
                    alpha=0.25)  # fmt: skip
        axes.stairs(curve.values, _dates(curve.edges), color=colour, linewidth=1.2)
        bad = [
            (edge, value)
            for edge, value, marked in zip(curve.edges[1:], curve.values, curve.marked, strict=True)
            if marked
        ]
        if bad:
            axes.plot(_dates([edge for edge, _ in bad]), [value for _, value in bad], "x",
                      color=_MARKED, label=f"{curve.name}: gekennzeichnet")  # fmt: skip
    return "mittlere Leistung in kW"


def _draw_values(axes: Axes, series: list[list[Row]]) -> str:
    for number, rows in enumerate(series):
        values = [row.value * 10.0**row.scaler for row in rows]
        axes.plot(_dates([row.target for row in rows]), values, marker=".", linewidth=1.2,
                  color=_COLOURS[number % len(_COLOURS)],
                  label=str(Obis.parse(rows[0].obis)))  # fmt: skip
    return UNITS.get(series[0][0].unit, "") or "Wert"


def _dates(moments: list[datetime]) -> Any:
    from matplotlib.dates import date2num

    return date2num(moments)  # type: ignore[no-untyped-call]


def _dress(axes: Axes, bundle: Bundle, database: str, unit: str) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(tz=_ZONE)  # type: ignore[no-untyped-call]
    axes.xaxis_date(_ZONE)
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, tz=_ZONE)  # type: ignore[no-untyped-call]
    formatter.formats[1:3] = ["%m.%Y", "%d.%m."]  # the axis is German, whatever the locale
    formatter.zero_formats[2:4] = ["%m.%Y", "%d.%m."]
    formatter.offset_formats = ["", "%Y", "%Y", "%m.%Y", "%d.%m.%Y", "%d.%m.%Y"]
    axes.xaxis.set_major_formatter(formatter)
    axes.set_ylabel(unit)
    axes.set_xlabel("gesetzliche Zeit")
    point = bundle.point
    axes.set_title(
        f"{point['usage-point-name']} · {point['usage-point-id']} · {database} · TEST",
        fontsize=10, loc="left",
    )  # fmt: skip
    axes.grid(visible=True, alpha=0.3)
    axes.margins(x=0)
    axes.legend(fontsize=8, loc="best")
