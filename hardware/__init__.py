"""Wires: meter ports and lamps. Here are the only serial ports and raw files of the device."""
