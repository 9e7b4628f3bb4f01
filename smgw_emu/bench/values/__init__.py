"""What a consumer does with his values: fetch, export, check, plot."""

from smgw_emu.bench.values.bundle import Bundle, Row, fetch, read_bundle

__all__ = ["Bundle", "Row", "fetch", "read_bundle"]
