"""Checking the gateway's signature of each value (``docs/signatures.md``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from smgw_emu.bench.emt.checks import Finding, Quality, Value
from smgw_emu.core.billing import billing_clock
from smgw_emu.core.instants import DeviceTime
from smgw_emu.core.legal_time import next_day_start
from smgw_emu.core.obis import Obis
from smgw_emu.core.signature import SIGNATURE_OCTETS, signature_input
from smgw_emu.core.values import Reading

_EXTREMES = 8
_LONGEST_PERIOD_DAYS = 367  # a billing period has at most twelve months
_ECDSA = ec.ECDSA(hashes.SHA256())


def check_signatures(
    values: Iterable[Value], key: ec.EllipticCurvePublicKey, taf: int = 7
) -> tuple[list[Value], list[Finding]]:
    """Make values with a wrong signature unusable; those without one pass (repeated values)."""
    checked: list[Value] = []
    findings: list[Finding] = []
    for value in values:
        if not value.entry.signature or _right(value, key, taf):
            checked.append(value)
            continue
        checked.append(replace(value, quality=Quality.UNUSABLE))
        findings.append(Finding("signature", value.column, value.target.iso()))
    return checked, findings


def _right(value: Value, key: ec.EllipticCurvePublicKey, taf: int) -> bool:
    """A registered value is signed with its target, one read on demand with its capture time.

    An extreme value (TAF8) is signed with the end of its billing period, which the delivery does
    not name: a start of a billing day.
    """
    signature = value.entry.signature
    if len(signature) != SIGNATURE_OCTETS:
        return False
    half = SIGNATURE_OCTETS // 2
    r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
    for target in _targets(value, taf):
        try:
            key.verify(encode_dss_signature(r, s), _signed(value, target), _ECDSA)
        except InvalidSignature:
            continue
        return True
    return False


def _targets(value: Value, taf: int) -> Iterator[DeviceTime]:
    yield value.target
    yield value.entry.capture
    edge = value.entry.capture
    clock = billing_clock([Obis.parse(value.column.partition(".")[0])])
    for _ in range(_LONGEST_PERIOD_DAYS if taf == _EXTREMES else 0):
        edge = next_day_start(edge, clock)
        yield edge


def _signed(value: Value, target: DeviceTime) -> bytes:
    name, _, rest = value.column.partition(".")
    owner, entry = rest.removesuffix(".sm"), value.entry
    reading = Reading(
        meter=owner,
        obis=Obis.parse(name),
        target=target,
        capture=entry.capture,
        value=entry.value,
        scaler=entry.scaler,
        unit=entry.unit,
        smgw_word=int(entry.status[:8], 16),
        meter_word=int(entry.status[8:], 16),
        repeated=False,
    )
    return signature_input(reading, owner)
