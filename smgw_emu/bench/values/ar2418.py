"""A contract's values as AR 2418-6 XML, the form of the transparency software (``han-m2m.md`` 10).

Elements and their order follow the output of the vendor's adapter as described there; the schema
itself is not in our sources. Unlike the adapter we write the real registration period, and PTB
status by the full mapping (GW-N07), meter word included.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

from smgw_emu.bench.values.bundle import Bundle, Row, parse_time, write_time
from smgw_emu.core.status import bit, ptb_status

AR = "http://vde.de/AR_2418-6.xsd"
ESPI = "http://naesb.org/espi"
_UOM = {27: 38, 28: 61, 29: 63, 30: 72, 31: 71, 32: 73, 33: 5, 34: 31, 35: 29, 44: 33}
_KIND = {1: 0, 7: 1, 8: 2, 6: 4, 5: 5}
_LEVEL = {0: 4, 1: 4, 2: 4, 3: 3, 4: 2, 5: 1, 6: 1, 7: 1}  # syslog-like -> AR (han-m2m.md 6.5)
_TLS, _SIG, _SUB_CA = 3, 1, 2  # certType
_PERIOD = 900


def write_ar2418(bundle: Bundle) -> bytes:
    """Return the document in UTF-8."""
    ET.register_namespace("espi", ESPI)  # for the whole process, so no empty prefix
    root = ET.Element(_ar("UsagePoints"))
    point = ET.SubElement(root, _ar("UsagePoint"))
    info, about = bundle.info, bundle.point
    origin = next(iter(bundle.channels("origin") or bundle.channels("daily")), "010000000000")
    category = _sub(point, _espi("ServiceCategory"))
    _sub(category, _espi("kind"), _KIND.get(int(origin[:2], 16), 0))
    _sub(point, _ar("usagePointId"), about["usage-point-id"])
    _sub(_sub(point, _ar("Customer")), _ar("customerId"), bundle.user or "consumer")
    party = (about["emts"] or [bundle.contract["delivery-id"]])[0]
    _sub(_sub(point, _ar("InvoicingParty")), _ar("invoicingPartyId"), party)
    certificates = list(_certificates(info))
    _gateway(point, bundle, len(certificates))
    if about["taf-profile"]:
        config = _sub(point, _ar("VendorConfig"))
        _sub(config, _ar("tafProfile"), about["taf-profile"])
    for number, (kind, content) in enumerate(certificates, 1):
        certificate = _sub(point, _ar("Certificate"))
        _sub(certificate, _ar("certId"), number)
        _sub(certificate, _ar("certType"), kind)
        _sub(certificate, _ar("certContent"), content.upper())
    _sub(point, _ar("tariffName"), about["usage-point-name"])
    for entry in bundle.log:
        _log_entry(point, entry)
    for database, channels in bundle.readings.items():
        for channel in channels:
            rows = [r for r in bundle.rows() if (r.database, r.obis) == (database, channel["obis"])]
            if rows:
                _meter_reading(point, bundle, rows)
    return bytes(ET.tostring(root, "utf-8", xml_declaration=True, default_namespace=AR))


def _ar(name: str) -> str:
    return f"{{{AR}}}{name}"


def _espi(name: str) -> str:
    return f"{{{ESPI}}}{name}"


def _sub(parent: ET.Element, name: str, text: object = None) -> ET.Element:
    element = ET.SubElement(parent, name)
    if text is not None:
        element.text = str(text)
    return element


def _certificates(info: dict[str, Any]) -> Iterable[tuple[int, str]]:
    yield _TLS, info["certificates"]["han"]["tls"]
    for entry in info["certificates"]["wan"]:
        yield _SIG, entry["sig"]
        yield _SUB_CA, entry["sub-ca"]


def _gateway(point: ET.Element, bundle: Bundle, certificates: int) -> None:
    gateway = _sub(point, _ar("SMGW"))
    for number in range(1, certificates + 1):
        _sub(gateway, _ar("certId"), number)
    _sub(gateway, _ar("smgwId"), bundle.info["smgw-id"])
    firmware = bundle.info["firmware-info"]
    _sub(gateway, _ar("FirmwareVersion"), firmware["version"])
    for name, version, checksum in (
        (firmware["component"], firmware["version"], firmware["hash"]),
        ("M2M-Interface", bundle.version, ""),
    ):
        component = _sub(gateway, _ar("FirmwareComponent"))
        _sub(component, _ar("name"), name)
        _sub(component, _ar("version"), version)
        if checksum:
            _sub(component, _ar("checksum"), checksum)


def _log_entry(point: ET.Element, entry: dict[str, Any]) -> None:
    log = _sub(point, _ar("LogEntry"))
    _sub(log, _ar("recordNumber"), entry["index"])
    event = _sub(log, _ar("LogEvent"))
    kind = _sub(event, _ar("type"))
    _sub(kind, _ar("eventId"), entry["event-id"])
    _sub(kind, _ar("eventSubId"), entry["event-sub-id"])
    _sub(kind, _ar("vendorId"), entry["vendor-id"])
    _sub(event, _ar("level"), _LEVEL.get(int(entry["level"]), 5))
    _sub(event, _ar("outcome"), entry["outcome"])
    _sub(event, _ar("text"), entry["message"])
    _sub(event, _ar("timestamp"), entry["time"])
    _sub(event, _ar("subjectIdentity"), entry["subject-identity"])
    _sub(event, _ar("userIdentity"), entry["user-identity"])


def _meter_reading(point: ET.Element, bundle: Bundle, rows: list[Row]) -> None:
    first, reading = rows[0], _sub(point, _ar("MeterReading"))
    meter = bundle.contract["meter"][0]["meter-id"]
    _sub(_sub(reading, _ar("Meter")), _ar("meterId"), meter)
    _sub(reading, _ar("meterReadingId"), bundle.contract["metering-point-id"])
    period = _period(rows)
    kind = _sub(reading, _ar("ReadingType"))
    _sub(kind, _espi("powerOfTenMultiplier"), 0)
    _sub(kind, _espi("uom"), _UOM.get(first.unit, 0))
    _sub(kind, _ar("scaler"), first.scaler)
    _sub(kind, _ar("obisCode"), first.obis)
    name = bundle.point["usage-point-id"].partition(".")[2]
    owner = f"{meter}.sm" if first.database == "origin" else name
    _sub(kind, _ar("qualifiedLogicalName"), f"{first.obis}.{owner}")
    _sub(kind, _ar("measurementPeriod"), period)
    captures = [parse_time(row.item["capture-time"]) for row in rows]
    block = _sub(reading, _ar("IntervalBlock"))
    interval = _sub(block, _espi("interval"))
    _sub(interval, _espi("duration"), int((max(captures) - captures[0]).total_seconds()))
    _sub(interval, _espi("start"), write_time(captures[0]))
    for row in rows:
        _interval_reading(block, row, period)


def _period(rows: list[Row]) -> int:
    """Return the shortest distance of two targets, the registration period of a series."""
    targets = sorted({row.target for row in rows})
    steps = [int((b - a).total_seconds()) for a, b in pairwise(targets)]
    return min(steps) if steps else _PERIOD


def _interval_reading(block: ET.Element, row: Row, period: int) -> None:
    item, (gateway, meter) = row.item, row.words
    value = _sub(block, _ar("IntervalReading"))
    _sub(value, _espi("value"), row.value)
    time = _sub(value, _espi("timePeriod"))
    _sub(time, _espi("duration"), period)
    _sub(time, _espi("start"), item["capture-time"])
    _sub(value, _ar("targetTime"), item["target-time"])
    if item["signature"]:
        _sub(value, _ar("signature"), item["signature"])
    if not gateway & bit(1) and meter & bit(2):
        _sub(value, _ar("statusFNN"), item["cosem-status"])
    _sub(value, _ar("statusPTB"), int(ptb_status(gateway, meter)))
