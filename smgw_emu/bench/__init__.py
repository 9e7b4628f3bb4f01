"""Counterparts a lab needs around the device: meters, PKI, and later administrator and market.

Bench code shares codecs with the gateway but never imports it (architecture, section 3).
"""
