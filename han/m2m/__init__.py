"""IF_GW_CON, the consumer's machine-to-machine interface (Theben interface description v1.4)."""

from han.m2m.service import M2mService

__all__ = ["M2mService"]
