"""The evaluation profile of a usage point as XML in the style of the DKE classes.

The real schema is not public (requirements 0.1 no. 5; ``wan.md`` 3.9 shows only the root names
``taf01:object``, ``taf07:object``). This is our own documented stand-in: root
``tafNN:object`` in namespace ``urn:smgw-emu:taf-NN:1`` with one element per parameter of
TR-03109-1 v1.0 T39, in this order: logical_name, taf_number, description, valid_from,
valid_until, consumer, metering_point, meters/meter, registers/register,
registration_period (s), capture_time (local), billing_period, transparency, receivers/emt.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from smgw_emu.core.obis import Obis
from smgw_emu.core.usage_point import UsagePoint

BILLING_PERIOD = "calendar-month"  # TR-03109-1 v1.0 4.2.2.1: not shorter than one month


def taf_profile_xml(point: UsagePoint, registers: Sequence[Obis]) -> bytes:
    """Return the profile as UTF-8 XML."""
    prefix, space = f"taf{point.taf:02d}", f"urn:smgw-emu:taf-{point.taf:02d}:1"
    ET.register_namespace(prefix, space)
    root = ET.Element(f"{{{space}}}object", {"test": "true"})

    def add(parent: ET.Element, name: str, text: str | None = None) -> ET.Element:
        element = ET.SubElement(parent, f"{{{space}}}{name}")
        element.text = text
        return element

    for name, text in (
        ("logical_name", point.logical_name),
        ("taf_number", str(point.taf)),
        ("description", point.description or point.name),
        ("valid_from", point.begin.iso()),
        ("valid_until", point.finish.iso() if point.finish else ""),
        ("consumer", point.consumer),
        ("metering_point", point.metering_point),
    ):
        add(root, name, text)
    meters = add(root, "meters")
    for meter in point.meters:
        add(meters, "meter", f"{meter.lower()}.sm")
    registers_element = add(root, "registers")
    for register in registers:
        add(registers_element, "register", register.hex)
    add(root, "registration_period", str(point.period_s))
    add(root, "capture_time", point.capture_time)
    add(root, "billing_period", BILLING_PERIOD)
    add(root, "transparency", "true" if point.transparency else "false")
    receivers = add(root, "receivers")
    for emt in point.emts:
        add(receivers, "emt", emt)
    return bytes(ET.tostring(root, "utf-8", xml_declaration=True))
