"""smgw-emu: a firmware-grade emulator of a German Smart Meter Gateway (BSI TR-03109)."""

__version__ = "0.1.0"
