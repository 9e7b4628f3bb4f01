"""The market participant's checks: gaps, plausibility, substitutes (WAN-52, WAN-53, O11, O12)."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from fuzz import fuzz
from hypothesis import given
from hypothesis import strategies as st
from support import START, world

from smgw_emu.bench.emt import Quality, ValueStore, check_delivery
from smgw_emu.bench.emt.checks import Raster, raster_of, substitutes, taf_of, target_of
from smgw_emu.core.instants import SECOND, DeviceTime
from wan.cosem.errors import XmlError
from wan.delivery import Column, Entry, ValueList, read_event, read_value_list, write_value_list

PERIOD = 900
NAME = "0100010800ff.1emu0000000001.sm"
GOOD, TAMPERED, NO_VALUE = "a000000020000000", "a000000020600000", "e004000000000000"
BEGIN = DeviceTime(world(START).ns)


def entry(step, value, status=GOOD, late=0, capture=None):
    moment = BEGIN + (step * PERIOD + late) * SECOND if capture is None else capture
    return Entry(value, -1, 30, status, moment)


ENTRIES = st.builds(
    Entry,
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(-128, 127),
    st.integers(0, 255),
    st.binary(min_size=8, max_size=8).map(bytes.hex),
    st.integers(0, 4_000_000_000).map(DeviceTime.from_seconds),
    st.sampled_from([b"", bytes(64), b"\xff" * 128]),
)
OWNERS = st.from_regex(r"[0-9a-z][0-9a-z-]{0,20}", fullmatch=True)


@given(
    st.lists(
        st.builds(
            Column,
            st.tuples(st.binary(min_size=6, max_size=6), OWNERS).map(
                lambda p: f"{p[0].hex()}.{p[1]}.sm"
            ),
            st.lists(ENTRIES, max_size=5).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=30),
)
def test_value_lists_survive_xml(columns, contract):
    document = ValueList(contract, "ethe0300000000.sm", columns)
    assert read_value_list(write_value_list(document)) == document


_DOCUMENT = write_value_list(ValueList("x.sm", "g.sm", (Column(NAME, (entry(1, 5), entry(2, 7))),)))


@fuzz(_DOCUMENT)
def test_any_delivery_is_read_or_refused_by_name(data):
    for read in (read_value_list, read_event):
        try:
            read(data)
        except XmlError as error:
            assert error.reason


@given(st.sets(st.integers(1, 40)), st.integers(-8, 8))
def test_gaps_are_what_a_naive_reader_would_count(present, late):
    rows = tuple(entry(step, step * 10, late=late) for step in sorted(present))
    values, findings = check_delivery(Column(NAME, rows), Raster(PERIOD))
    missing = [
        s for s in range(min(present, default=0), max(present, default=0)) if s not in present and s
    ]
    gaps = [finding for finding in findings if finding.kind == "gap"]
    assert sum(int(finding.detail.split()[0]) for finding in gaps) == len(missing)
    assert [value.target for value in values] == [
        BEGIN + s * PERIOD * SECOND for s in sorted(present)
    ]
    formed = substitutes(values, PERIOD)
    assert [value.target for value in formed] == [BEGIN + s * PERIOD * SECOND for s in missing]
    for value in formed:
        step = (value.target - BEGIN) // (PERIOD * SECOND)
        assert value.entry.value == step * 10 and value.quality is Quality.SUBSTITUTE
        assert not value.entry.signature


@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([GOOD, TAMPERED, NO_VALUE])), max_size=20)
)
def test_substitutes_never_leave_the_usable_values_around_them(rows):
    value, entries = 0, []
    for step, (rise, status) in enumerate(rows, 1):
        value += rise
        entries.append(entry(step, value, status))
    values, _ = check_delivery(Column(NAME, tuple(entries)), Raster(PERIOD))
    good = [v for v in values if v.quality is Quality.MEASURED]
    for formed in substitutes(values, PERIOD):
        before = [v for v in good if v.target < formed.target]
        after = [v for v in good if v.target > formed.target]
        assert before and after, "never extrapolated"
        assert before[-1].entry.value <= formed.entry.value <= after[0].entry.value


def test_status_decides_what_is_usable():
    """O11: PTB status 2 usable, 3 not."""
    rows = (entry(1, 10), entry(2, 20, NO_VALUE), entry(3, 30, TAMPERED), entry(4, 25))
    values, findings = check_delivery(Column(NAME, rows), Raster(PERIOD))
    assert [v.quality for v in values] == ["measured", "measured", "unusable", "measured"]
    assert [f.kind for f in findings] == ["unusable"]


def test_a_repeated_value_takes_the_next_place_and_is_no_measurement():
    first = entry(1, 10)
    repeated = entry(2, 10, NO_VALUE, capture=first.capture)
    values, _ = check_delivery(Column(NAME, (first, repeated, entry(3, 30))), Raster(PERIOD))
    assert [v.quality for v in values] == ["measured", "unusable", "measured"]
    assert [v.target for v in values] == [BEGIN + n * PERIOD * SECOND for n in (1, 2, 3)]
    assert [v.entry.value for v in substitutes(values, PERIOD)] == [20]


def test_a_counter_that_falls_is_found():
    _, findings = check_delivery(Column(NAME, (entry(1, 10), entry(2, 5))), Raster(PERIOD))
    assert [f.kind for f in findings] == ["decreased"]


@given(st.integers(0, 10_000_000), st.integers(-449, 449))
def test_a_capture_belongs_to_the_nearest_quarter_hour(step, shift):
    moment = DeviceTime.from_seconds(step * PERIOD + shift)
    assert target_of(Entry(0, 0, 0, GOOD, moment), PERIOD) == DeviceTime.from_seconds(step * PERIOD)


def test_a_measured_value_replaces_a_substitute_and_never_the_other_way():
    store = ValueStore()
    values, findings = check_delivery(Column(NAME, (entry(1, 10), entry(3, 30))), Raster(PERIOD))
    store.add("uuid:1", "g", "c", START, values, findings)
    store.add_substitutes("c", substitutes(values, PERIOD))
    assert store.quality("c") == {"measured": 2, "substitute": 1}
    late, _ = check_delivery(Column(NAME, (entry(2, 21),)), Raster(PERIOD))
    store.add("uuid:2", "g", "c", START, late, [])
    store.add_substitutes("c", substitutes(values, PERIOD))
    assert [v.entry.value for v in store.values("c")] == [10, 21, 30]
    assert store.quality("c") == {"measured": 3}
    assert store.known("uuid:1") and not store.known("uuid:9")
    out = io.StringIO()
    assert store.export_csv(out) == 3
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert rows[1]["value"] == "21" and rows[1]["quality"] == "measured"
    assert rows[1]["target"] == (BEGIN + 2 * PERIOD * SECOND).iso()


@given(
    st.integers(-(1 << 40), 1 << 40),
    st.sampled_from(["value", "scaler", "status", "signature", "none"]),
)
def test_a_forged_value_is_found_by_its_signature(value, forged):
    """The key is the gateway's; what it signed is docs/signatures.md."""
    from dataclasses import replace

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    from smgw_emu.bench.emt.checks import Value
    from smgw_emu.bench.emt.signatures import _signed, check_signatures

    key = ec.derive_private_key(12345, ec.BrainpoolP256R1())
    plain = Value(NAME, BEGIN, entry(0, value), Quality.MEASURED)
    r, s = decode_dss_signature(key.sign(_signed(plain, BEGIN), ec.ECDSA(hashes.SHA256())))
    signed = replace(
        plain, entry=replace(plain.entry, signature=r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    )
    changes = {"value": value + 1, "scaler": 0, "status": TAMPERED, "signature": bytes(64)}
    shown = signed
    if forged != "none":
        shown = replace(signed, entry=replace(signed.entry, **{forged: changes[forged]}))
    checked, findings = check_signatures([shown], key.public_key())
    assert (checked[0].quality is Quality.UNUSABLE) == (forged != "none") == bool(findings)


@pytest.mark.parametrize(
    ("contract", "step", "raster"),
    [
        ("01005e318027.taf7-1.sm", 900, Raster(900)),
        ("01005e318027.taf7-60.sm", 60, Raster(60)),
        ("01005e318021.taf1-1.sm", 2_678_400, Raster(900, series=False)),
        ("01005e318022.taf2-1.sm", 28_800, Raster(900, series=False)),
        ("01005e31802a.grid.sm", 60, Raster(1, series=False)),
        ("of nobody", 300, Raster(300)),
    ],
)
def test_a_contract_tells_how_its_values_lie_in_time(contract, step, raster):
    """Only series have gaps; their period is read off the values, a few seconds early or late."""
    jitter = (0, 2, -3, 1, 0)
    rows = tuple(
        Entry(n, 0, 30, GOOD, DeviceTime.from_seconds(1_800_000_000 + n * step + late))
        for n, late in enumerate(jitter)
    )
    assert raster_of(contract, Column(NAME, rows), PERIOD) == raster
    assert taf_of(contract) == (0 if "nobody" in contract else int(contract[10:12], 16) - 0x20)


@pytest.mark.parametrize(("code", "clock"), [("0100010601ff", 22), ("0700030601ff", 4)])
def test_an_extreme_of_a_year_is_checked_with_the_end_of_its_period(code, clock):
    """TAF8: signed with a target the delivery does not name; gas days begin at 06:00."""
    from cryptography.hazmat.primitives.asymmetric import ec

    from smgw_emu.bench.emt.checks import Value
    from smgw_emu.bench.emt.signatures import _signed, check_signatures

    capture = DeviceTime.from_datetime(datetime(2026, 8, 1, 10, tzinfo=UTC))
    end = DeviceTime.from_datetime(datetime(2027, 6, 30, clock, tzinfo=UTC))
    entry_of = Entry(4000, -3, 27, GOOD, capture)
    value = Value(f"{code}.taf8-1.sm", capture, entry_of, Quality.MEASURED)
    key = ec.generate_private_key(ec.BrainpoolP256R1())
    der = key.sign(_signed(value, end), ec.ECDSA(hashes.SHA256()))
    raw = b"".join(part.to_bytes(32, "big") for part in decode_dss_signature(der))
    signed = replace(value, entry=replace(entry_of, signature=raw))
    assert check_signatures([signed], key.public_key(), 8)[1] == []
    assert len(check_signatures([signed], key.public_key(), 1)[1]) == 1
