"""Firmware: signed packages, two partitions, the chain of checks at start, the update."""
