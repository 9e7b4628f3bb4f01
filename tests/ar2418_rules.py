"""The rules of AR 2418-6 as ``han-m2m.md`` 10 and 11 describe them; shares no code with us."""

from __future__ import annotations

import re
from datetime import datetime
from xml.etree import ElementTree as ET

AR, ESPI = "{http://vde.de/AR_2418-6.xsd}", "{http://naesb.org/espi}"
UOM = {0, 5, 9, 29, 31, 33, 38, 42, 61, 63, 65, 67, 69, 71, 72, 73, 106, 119, 122, 125, 128, 129}
LIMITS = {
    "smgwId": 32, "vendorId": 32, "obisCode": 32, "FirmwareVersion": 64, "customerId": 64,
    "invoicingPartyId": 64, "meterId": 64, "name": 64, "usagePointId": 256, "tariffName": 256,
    "meterReadingId": 256, "qualifiedLogicalName": 256, "version": 256, "checksum": 256,
    "subjectIdentity": 256, "userIdentity": 256, "statusFNN": 256, "text": 16384,
}  # fmt: skip
KNOWN = {
    f"{AR}{name}" for name in ["UsagePoints", "UsagePoint", "usagePointId", "Customer", "customerId", "InvoicingParty", "invoicingPartyId", "SMGW", "certId", "smgwId", "FirmwareVersion", "FirmwareComponent", "name", "version", "checksum", "VendorConfig", "tafProfile", "Certificate", "certType", "certContent", "tariffName", "LogEntry", "recordNumber", "LogEvent", "type", "eventId", "eventSubId", "vendorId", "level", "outcome", "text", "timestamp", "subjectIdentity", "userIdentity", "MeterReading", "Meter", "meterId", "meterReadingId", "ReadingType", "scaler", "obisCode", "qualifiedLogicalName", "measurementPeriod", "IntervalBlock", "IntervalReading", "targetTime", "signature", "statusFNN", "statusPTB"]
} | {
    f"{ESPI}{name}"
    for name in ["ServiceCategory", "kind", "powerOfTenMultiplier", "uom", "interval", "duration", "start", "value", "timePeriod"]
}  # fmt: skip


def check_ar2418(document: bytes) -> dict[str, int]:
    """Check a document; returns the number of values by qualified logical name."""
    root = ET.fromstring(document)
    for element in root.iter():
        assert element.tag in KNOWN, f"unknown element {element.tag}"
        name = element.tag.rpartition("}")[2]
        assert len(element.text or "") <= LIMITS.get(name, 1 << 20), name
    (point,) = root.findall(f"{AR}UsagePoint")
    for name in ("usagePointId", "tariffName", "Customer/customerId",
                 "InvoicingParty/invoicingPartyId", "SMGW/smgwId"):  # fmt: skip
        assert text(point, name), name
    kind = point.find(f"{ESPI}ServiceCategory/{ESPI}kind")
    assert kind is not None and kind.text in {"0", "1", "2", "4", "5"}
    ids = [e.text for e in point.findall(f"{AR}SMGW/{AR}certId")]
    certificates = point.findall(f"{AR}Certificate")
    assert len(ids) == len(certificates) >= 1
    for certificate in certificates:
        assert text(certificate, "certType") in {"1", "2", "3"}
        assert re.fullmatch(r"([0-9A-F]{2})+", text(certificate, "certContent"))
    profile = text(point, "VendorConfig/tafProfile")
    assert re.fullmatch(r"([0-9a-fA-F]{2})+", profile)
    numbers = [int(text(entry, "recordNumber")) for entry in point.findall(f"{AR}LogEntry")]
    assert numbers == sorted(numbers)
    for event in point.findall(f"{AR}LogEntry/{AR}LogEvent"):
        assert text(event, "level") in {"1", "2", "3", "4", "5"}
        assert text(event, "outcome") in {"0", "1", "2"}
    meter = ""
    counts = {}
    for reading in point.findall(f"{AR}MeterReading"):
        meter = text(reading, "Meter/meterId")
        name, count = check_reading(reading)
        parts = name.split(".")
        assert len(parts) == 3 and (parts[1] == meter or parts[1].startswith("taf")), name
        counts[name] = max(count, counts.get(name, 0))
    return counts


def text(element: ET.Element, path: str) -> str:
    found = element.find("/".join(f"{AR}{part}" for part in path.split("/")))
    assert found is not None, path
    return found.text or ""


def check_reading(reading: ET.Element) -> tuple[str, int]:
    """Check a MeterReading."""
    kind = reading.find(f"{AR}ReadingType")
    assert kind is not None
    assert int(kind.findtext(f"{ESPI}uom", "")) in UOM
    assert kind.findtext(f"{ESPI}powerOfTenMultiplier") == "0"
    assert -128 <= int(text(kind, "scaler")) <= 127
    code, name = text(kind, "obisCode"), text(kind, "qualifiedLogicalName")
    assert re.fullmatch(r"[0-9a-f]{12}", code) and name.startswith(code + ".")
    (block,) = reading.findall(f"{AR}IntervalBlock")
    duration = int(block.findtext(f"{ESPI}interval/{ESPI}duration", ""))
    start = moment(block.findtext(f"{ESPI}interval/{ESPI}start", ""))
    assert duration >= 0
    values = block.findall(f"{AR}IntervalReading")
    assert values
    targets = []
    for value in values:
        assert abs(int(value.findtext(f"{ESPI}value", ""))) < 1 << 47
        begin = moment(value.findtext(f"{ESPI}timePeriod/{ESPI}start", ""))
        assert 0 <= (begin - start).total_seconds() <= duration
        targets.append(moment(text(value, "targetTime")))
        assert 0 <= int(text(value, "statusPTB")) <= 4
        status = value.find(f"{AR}statusFNN")
        if status is not None:
            word = int(status.text or "", 16)
            # identification bits 0 and 2 of the gateway, 2 of the meter
            assert word >> 63 & 1 and word >> 61 & 1 and word >> 29 & 1
        signature = value.find(f"{AR}signature")
        assert signature is None or re.fullmatch(r"[0-9a-f]{128}", signature.text or "")
    assert targets == sorted(targets)
    return name, len(values)


def moment(text: str) -> datetime:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text), text
    return datetime.fromisoformat(text)
