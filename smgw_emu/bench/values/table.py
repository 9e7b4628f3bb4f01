"""A contract's values as CSV: one line per value, scaled, in UTC."""

from __future__ import annotations

import csv
import io

from smgw_emu.bench.values.bundle import Bundle
from smgw_emu.core.errors import RemoteProtocolError
from smgw_emu.core.obis import Obis
from smgw_emu.core.status import ptb_status
from smgw_emu.core.values import scaled

UNITS = {13: "m3", 14: "m3", 27: "W", 28: "VA", 29: "var", 30: "Wh", 31: "VAh", 32: "varh",
         33: "A", 35: "V", 44: "Hz", 255: ""}  # fmt: skip
"""DLMS unit codes (IEC 62056-62 table 4) as text."""

HEADER = ("contract", "list", "obis", "register", "target_time", "capture_time", "value", "unit",
          "status", "ptb_status", "owner", "signature")  # fmt: skip


def write_csv(bundle: Bundle) -> str:
    """Return the table with a header line, sorted as the gateway gave it."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    name = bundle.point["usage-point-id"]
    for row in bundle.rows():
        item = row.item
        writer.writerow((
            name, row.database, row.obis, _readable(row.obis), item["target-time"],
            item["capture-time"], format(scaled(row.value, row.scaler), "f"),
            UNITS.get(row.unit, str(row.unit)), item["cosem-status"],
            int(ptb_status(*row.words)), item["owner-number"], item["signature"] or "",
        ))  # fmt: skip
    return out.getvalue()


def _readable(code: str) -> str:
    try:
        return str(Obis.parse(code))
    except RemoteProtocolError:
        return code
