"""Tariff use cases, one module each: definition, parameters, source.

``database names`` are those of IF_GW_CON A-2.6. A use case turns the origin readings of one target
time into lines of derived lists; storing, signing and logging is the device's business.
"""

from __future__ import annotations

from types import MappingProxyType

from smgw_emu.core.tariff import taf1, taf7

DATABASES = MappingProxyType({1: taf1.DATABASES, 7: taf7.DATABASES})
"""Value lists of each use case (``han-m2m.md`` 15 no. 9)."""
