"""Windows on lists and selective access to buffers (Anlage II 7.8.1, 7.8.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from wan.cosem.address import Query
from wan.cosem.data import EMPTY, SEQUENCES, Data, parse_literal
from wan.cosem.errors import CosemError

T = TypeVar("T")


def window(items: Sequence[T], query: Query) -> Sequence[T]:
    """Return the items ``first`` to ``last``, at most ``count`` (1-based)."""
    first = max(1, query.first or 1)
    last = len(items) if query.last is None else min(query.last, len(items))
    if query.count is not None:
        last = min(last, first - 1 + query.count)
    return items[first - 1 : max(last, first - 1)]


def select(buffer: Data, captured: Sequence[tuple[int, str, int]], query: Query) -> Data:
    """Return the part of an array attribute a query asks for; other values pass unchanged.

    Args:
        buffer: the attribute.
        captured: (class, logical name in hex, attribute) of each column of a buffer.
        query: the filters.

    Raises:
        CosemError: 400, a descriptor or value cannot be read or names no column.
    """
    if buffer.kind != "array" or not isinstance(buffer.value, tuple):
        return buffer
    rows = buffer.value
    if query.filter_column and (query.least or query.most):
        column = _column(query.filter_column, captured)
        least = parse_literal(query.least) if query.least else None
        most = parse_literal(query.most) if query.most else None
        rows = tuple(row for row in rows if _within(_cell(row, column), least, most))
    rows = tuple(window(rows, query))
    columns = _columns(captured, query)
    if columns is not None:
        rows = tuple(_narrow(row, columns) for row in rows)
    return Data("array", rows)


def _columns(captured: Sequence[tuple[int, str, int]], query: Query) -> list[int] | None:
    if query.columns:
        wanted = parse_literal(f"[{query.columns}]").value
        assert isinstance(wanted, tuple)
        return [_described(item, captured) for item in wanted]
    if query.first_column is None and query.last_column is None:
        return None
    first = max(1, query.first_column or 1)
    return list(range(first - 1, min(query.last_column or len(captured), len(captured))))


def _column(text: str, captured: Sequence[tuple[int, str, int]]) -> int:
    return _described(parse_literal(text), captured)


def _described(data: Data, captured: Sequence[tuple[int, str, int]]) -> int:
    """Find the column of ``{class, logical name[, attribute[, data index]]}``."""
    parts = [item.value for item in data.value] if isinstance(data.value, tuple) else []
    if len(parts) >= 2 and isinstance(parts[0], int) and isinstance(parts[1], bytes):
        wanted = (parts[0], parts[1].hex(), parts[2] if len(parts) > 2 else None)
        for number, (class_id, name, attribute) in enumerate(captured):
            if (class_id, name) == wanted[:2] and wanted[2] in {None, attribute}:
                return number
    raise CosemError(400, "the descriptor names no column of this buffer")


def _cell(row: Data, column: int) -> Data | None:
    if isinstance(row.value, tuple) and column < len(row.value):
        return row.value[column]
    return None


def _within(cell: Data | None, least: Data | None, most: Data | None) -> bool:
    if cell is None:
        return False
    for bound in (least, most):
        if bound is None:
            continue
        if bound.kind != cell.kind or cell.kind in {*SEQUENCES, *EMPTY, "compact-array"}:
            return False
        low, high = (bound, cell) if bound is least else (cell, bound)
        if low.value > high.value:  # type: ignore[operator]  # same kind, ordered values
            return False
    return True


def _narrow(row: Data, columns: list[int]) -> Data:
    if not isinstance(row.value, tuple):
        return row
    return Data(row.kind, tuple(row.value[n] for n in columns if n < len(row.value)))
