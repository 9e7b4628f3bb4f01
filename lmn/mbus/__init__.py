"""M-Bus application layer (EN 13757-3), as meters send it over radio or wire."""

from lmn.mbus.header import Function, Header
from lmn.mbus.obis import ObisMap
from lmn.mbus.profiles import CompactProfile, expand
from lmn.mbus.records import Application, Record, decode_records
from lmn.mbus.values import MeterTime

__all__ = [
    "Application",
    "CompactProfile",
    "Function",
    "Header",
    "MeterTime",
    "ObisMap",
    "Record",
    "decode_records",
    "expand",
]
