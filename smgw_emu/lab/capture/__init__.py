"""Packet layers for captures; lab plane only (extra ``capture``, scapy is GPL-2)."""
