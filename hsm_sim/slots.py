"""Names of the module's objects.

The TR names certificates (GW_HAN_TLS_CRT, GW_WAN_TLS_CRT, GWA_WAN_SIG_CRT; ``tr-03109-1.md`` 14)
and, in figure F29, GW_WAN_TLS_PRV. The rest follows the pattern. WAN triples carry the number of
their generation: 0 is the Guetesiegel set, 1 and up are Wirk sets (IF_GW_CON cert-index); so a new
set is complete before the old one goes.
"""

from __future__ import annotations

from enum import StrEnum


class Purpose(StrEnum):
    """The three keys of a WAN participant."""

    TLS = "TLS"
    SIG = "SIG"
    ENC = "ENC"


HAN_TLS = "GW_HAN_TLS_PRV"
SEAL = 0


def wan_key(purpose: Purpose, generation: int = SEAL) -> str:
    """Return the slot of a WAN private key of the gateway."""
    return f"GW_WAN_{purpose}_PRV_{generation}"


def wan_certificate(purpose: Purpose, generation: int = SEAL) -> str:
    """Return the file of a WAN certificate of the gateway."""
    return f"GW_WAN_{purpose}_CRT_{generation}"


def lmn_key(meter: str) -> str:
    """Return the slot of the gateway's LMN TLS key towards one meter."""
    return f"GW_LMN_TLS_PRV_{meter.upper()}"


def lmn_certificate_file(meter: str) -> str:
    """Return the file of the gateway's LMN certificate towards one meter."""
    return f"GW_LMN_TLS_CRT_{meter.upper()}"


def meter_certificate_file(meter: str) -> str:
    """Return the file of a meter's certificate (MTR_LMN_TLS_CRT of DS v2.0 9.3.1)."""
    return f"MTR_LMN_TLS_CRT_{meter.upper()}"


def lmn_master_key(meter: str) -> str:
    """Return the file of a meter's master key (own name, after the TR's pattern)."""
    return f"LMN_MK_{meter.upper()}"


def gwa_key(purpose: Purpose) -> str:
    """Return the name of a public key of the administrator."""
    return f"GWA_WAN_{purpose}_PUB"


def gwa_certificate(purpose: Purpose) -> str:
    """Return the file of a certificate of the administrator."""
    return f"GWA_WAN_{purpose}_CRT"


WAN_SIG_SEAL = wan_key(Purpose.SIG)
