"""The DER writer and the bounded reader, against another library and hostile bytes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from asn1crypto import core
from fuzz import fuzz
from hypothesis import example, given
from hypothesis import strategies as st

from smgw_emu.core import der
from smgw_emu.core.der import DerError, Reader

OIDS = st.builds(
    lambda first, second, rest: ".".join(map(str, (first, second, *rest))),
    st.integers(0, 2),
    st.integers(0, 39),
    st.lists(st.integers(0, 1 << 40), max_size=6),
)


@given(st.integers(-(1 << 300), 1 << 300))
@example(0)
@example(-129)
@example(1 << 255)
def test_integers_as_another_library_writes_them(value):
    """INTEGER in shortest two's complement."""
    assert der.integer(value) == core.Integer(value).dump()
    assert der.parse(der.integer(value)).integer() == value


@given(OIDS)
def test_object_identifiers_as_another_library_writes_them(text):
    """OBJECT IDENTIFIER, base 128 with continuation bits."""
    encoded = der.oid(text)
    assert encoded == core.ObjectIdentifier(text).dump()
    assert der.parse(encoded).oid() == text


@given(st.binary(max_size=70_000).map(lambda data: data * 3))
def test_lengths_are_the_shortest(data):
    """Short and long lengths."""
    assert der.octet_string(data) == core.OctetString(data).dump()
    assert der.parse(der.octet_string(data)).octets() == data


@pytest.mark.parametrize("year", [1999, 2049, 2050, 2120])
def test_time_changes_its_form_in_2050(year):
    """RFC 5280 4.1.2.5."""
    moment = datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)
    tag = der.UTC_TIME if year < 2050 else der.GENERALIZED_TIME
    encoded = der.time(moment)
    assert encoded[0] == tag
    kind = core.UTCTime if year < 2050 else core.GeneralizedTime
    assert kind.load(encoded).native == moment


def test_a_set_is_sorted():
    """X.690 11.6."""
    assert der.set_of(der.integer(2), der.integer(1)) == der.set_of(der.integer(1), der.integer(2))


GOOD = der.sequence(
    der.integer(3),
    der.oid("1.2.840.113549.1.7.2"),
    der.explicit(0, der.octet_string(b"x" * 200)),
    der.set_of(der.bit_string(b"ab"), der.NULL_VALUE),
)
STREAMED = b"\x30\x80\x24\x80\x04\x02ab\x04\x01c\x00\x00\x02\x01\x05\x00\x00"


@fuzz(GOOD, STREAMED)
def test_arbitrary_bytes_are_an_element_or_an_error(data):
    """10 000 inputs: DER that is accepted is exactly what was given."""
    for ber in (False, True):
        try:
            element = der.parse(data, ber=ber)
        except DerError:
            continue
        assert element.raw == data
        if not ber and element.tag & der.CONSTRUCTED:
            assert b"".join(child.raw for child in element.children) == element.content
            assert der.tlv(element.tag, element.content) == data


def test_streamed_strings_are_joined_only_where_ber_is_allowed():
    """Indefinite lengths, as command line tools stream them (crypto.md 3.3)."""
    fields = Reader(der.parse(STREAMED, ber=True), "test")
    assert fields.take(der.OCTET_STRING, "text").octets() == b"abc"
    assert fields.integer("number") == 5
    fields.end()
    with pytest.raises(DerError, match="indefinite"):
        der.parse(STREAMED)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (b"\x02", "truncated"),
        (b"\x02\x02\x01", "truncated"),
        (b"\x02\x81\x01\x01", "shortest"),
        (b"\x02\x85\x00\x00\x00\x00\x01\x01", "out of bounds"),
        (b"\x1f\x81\x01\x00", "above 30"),
        (b"\x02\x01\x01\x00", "after the end"),
        (b"\x30\x80" * 200, "deeply"),
        (b"\x30\x82\x9c\x42" + b"\x05\x00" * 20_001, "too many"),
    ],
)
def test_what_is_refused_is_named(data, reason):
    """Bounded depth, bounded count, no surprises."""
    with pytest.raises(DerError, match=reason):
        der.parse(data, ber=reason == "deeply")


def test_a_reader_names_what_it_misses():
    """Errors say which field of what."""
    fields = Reader(der.parse(GOOD), "Thing")
    with pytest.raises(DerError, match=r"Thing: version expected \(tag 04\), tag 02 found"):
        fields.take(der.OCTET_STRING, "version")
    fields.rest()
    with pytest.raises(DerError, match="ends too early"):
        fields.next()
    with pytest.raises(DerError, match="has tag 02"):
        Reader(der.parse(der.integer(1)), "Number")
    for broken in (b"", b"\x80", b"\x80\x01", b"\x01" * 65):
        with pytest.raises(DerError):
            der.oid_text(broken)
    with pytest.raises(DerError):
        der.parse(b"\x02\x00").integer()
    with pytest.raises(DerError):
        der.parse(b"\x03\x02\x01\x80").bits()
