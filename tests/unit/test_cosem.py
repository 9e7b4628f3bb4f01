"""COSEM documents, URIs, selection, block transfer (Anlage II; WAN-N05)."""

from __future__ import annotations

import contextlib
import zlib
from xml.etree.ElementTree import Element, tostring

import pytest
from fuzz import fuzz
from hypothesis import example, given
from hypothesis import strategies as st
from wan_lab import SCHEMA

from wan.cosem import documents
from wan.cosem.address import Query, Resource, parse_path, parse_query
from wan.cosem.classes import load_classes
from wan.cosem.data import (
    INTEGERS,
    NULL,
    OCTETS,
    SIMPLE,
    CompactArray,
    Data,
    TypeDescription,
    array,
    octets,
    parse_data,
    parse_literal,
    structure,
    text,
    write_data,
)
from wan.cosem.documents import Container, CosemObject, MethodResponse
from wan.cosem.errors import CosemError, XmlError
from wan.cosem.media import accepts, inflate, parse_media_type
from wan.cosem.selection import select, window
from wan.cosem.transfer import Block, Transfers, parse_content_range, parse_range
from wan.cosem.xml import MAX_DEPTH, parse, write

# XML 1.0 characters; a carriage return becomes a line feed in any XML parser
_TEXT = st.text(
    st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="￾￿"), max_size=20
)


def _simple() -> st.SearchStrategy[Data]:
    numbers = [
        st.integers(*bounds).map(lambda value, kind=kind: Data(kind, value))
        for kind, bounds in INTEGERS.items()
    ]
    blobs = [
        st.binary(min_size=size or 0, max_size=size or 40).map(
            lambda value, kind=kind: Data(kind, value)
        )
        for kind, size in OCTETS.items()
    ]
    texts = [
        _TEXT.map(lambda value, kind=kind: Data(kind, value))
        for kind in ("visible-string", "UTF8-string")
    ]
    rest = [
        st.sampled_from([NULL, Data("dont-care")]),
        st.booleans().map(lambda value: Data("boolean", value)),
        st.text("01", max_size=12).map(lambda value: Data("bit-string", value)),
    ]
    return st.one_of(*numbers, *blobs, *texts, *rest)


_DESCRIPTIONS = st.recursive(
    st.sampled_from(list(SIMPLE)).map(TypeDescription),
    lambda inner: st.one_of(
        st.tuples(st.integers(0, 65535), inner).map(
            lambda p: TypeDescription("array", p[0], (p[1],))
        ),
        st.lists(inner, max_size=3).map(lambda p: TypeDescription("structure", 0, tuple(p))),
    ),
    max_leaves=5,
)
# Hypothesis strategies other suites may import too
DATA = st.recursive(
    st.one_of(
        _simple(),
        st.tuples(_DESCRIPTIONS, st.binary(max_size=10)).map(
            lambda pair: Data("compact-array", CompactArray(*pair))
        ),
    ),
    lambda inner: st.tuples(
        st.sampled_from(["array", "structure"]), st.lists(inner, max_size=4)
    ).map(lambda pair: Data(pair[0], tuple(pair[1]))),
    max_leaves=10,
)
NAMES = st.binary(min_size=6, max_size=6).map(bytes.hex)
OBJECTS = st.builds(
    CosemObject,
    st.integers(0, 65535),
    st.integers(0, 255),
    NAMES,
    st.dictionaries(st.integers(-128, 127).filter(bool), DATA, max_size=4),
    st.lists(st.integers(1, 127), max_size=3, unique=True).map(tuple),
)


def _data_root(data: Data) -> bytes:
    return documents.write_request(data)


@given(DATA)
def test_data_survives_xml_and_fits_the_schema(data):
    document = _data_root(data)
    assert documents.read_request(document) == data
    SCHEMA.validate(document.decode())


@given(OBJECTS)
def test_objects_and_containers_survive_xml_and_fit_the_schema(item):
    container = Container(item.name, (item,))
    document = documents.write_container(container)
    assert documents.read_container(document) == container
    SCHEMA.validate(document.decode())
    wrapped = write(documents.list_element("containers", [parse(document)]))
    assert documents.read_container(wrapped) == container
    SCHEMA.validate(wrapped.decode())


@given(st.integers(0, 255), st.none() | DATA)
def test_method_responses_survive_xml_and_fit_the_schema(status, data):
    response = MethodResponse(status, data)
    document = documents.write_response(response)
    assert documents.read_response(document) == response
    SCHEMA.validate(document.decode())


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda t: t.encode("utf-8", "ignore")))
@example(b'<?xml version="1.0" encoding="utf-16"?><a/>')
@example(b"<a" * 400)
def test_arbitrary_bytes_are_a_document_or_a_named_refusal(data):
    for read in (documents.read_container, documents.read_request, documents.read_response):
        try:
            read(data)
        except XmlError as error:
            assert error.status == 422 and error.reason


@given(OBJECTS, st.data())
def test_a_damaged_document_is_refused_or_still_valid(item, data):
    document = bytearray(documents.write_container(Container(item.name, (item,))))
    place = data.draw(st.integers(0, len(document) - 1))
    document[place] = data.draw(st.integers(0, 255))
    try:
        documents.read_container(bytes(document))
    except XmlError as error:
        assert error.reason


BOMBS = {
    "billion laughs": b'<!DOCTYPE a [<!ENTITY b "x"><!ENTITY c "&b;&b;">]><a>&c;</a>',
    "external entity": b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    "dtd": b'<!DOCTYPE a SYSTEM "http://127.0.0.1/x.dtd"><a/>',
    "deep": b"<a>" * (MAX_DEPTH + 1) + b"</a>" * (MAX_DEPTH + 1),
    "latin-1": b'<?xml version="1.0" encoding="iso-8859-1"?><a>\xe4</a>',
    "utf-16": "<a/>".encode("utf-16"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_xml_bombs_are_refused_before_a_tree_exists(name):
    with pytest.raises(XmlError):
        parse(BOMBS[name])


def test_the_examples_of_the_annex_are_read():
    """Anlage II 8.2.9, 8.2.14, in the namespaces its schema names."""
    head = 'xmlns="urn:k461-dke-de:cor-1" xmlns:cod="urn:k461-dke-de:cod-1"'
    body = (
        f'<containers count="1" {head}><container id="00005e3101ff">'
        '<object class-id="3" version="0" id="0100010801ff"><attributes count="2">'
        '<attribute id="1"><cod:octet-string>0100010801ff</cod:octet-string></attribute>'
        '<attribute id="2"><cod:integer>1</cod:integer></attribute></attributes></object>'
        '<object class-id="3" version="0" id="0100010802ff"/></container></containers>'
    )
    container = documents.read_container(body.encode())
    assert container.name == "00005e3101ff"
    assert [item.resource for item in container.objects] == ["3-0100010801ff", "3-0100010802ff"]
    assert container.objects[0].attributes[2] == Data("integer", 1)


def test_a_count_that_lies_is_refused():
    body = b'<containers count="2" xmlns="urn:k461-dke-de:cor-1"><container id="00005e3101ff"/></containers>'
    with pytest.raises(XmlError, match="count is 2, there are 1"):
        documents.read_container(body)


# -- URIs ------------------------------------------------------------------------------------

PATHS = {
    "/cosem": (Resource.COSEM, "", -1, "", 0),
    "/cosem/ldevs": (Resource.LDEVS, "", -1, "", 0),
    "/cosem/ldevs/1din0a12345678.sm": (Resource.LDEV, "1din0a12345678.sm", -1, "", 0),
    "/cosem/ldevs/%31x.sm/objects": (Resource.OBJECTS, "1x.sm", -1, "", 0),
    "/cosem/ldevs/a.sm/objects/3-0100010800ff/attributes/3": (
        Resource.ATTRIBUTE, "a.sm", 3, "0100010800ff", 3),
    "/cosem/ldevs/a.sm/objects/3-0100010800ff/attributes/-128": (
        Resource.ATTRIBUTE, "a.sm", 3, "0100010800ff", -128),
    "/cosem/ldevs/a.sm/objects/65535-0100010800ff/methods/1": (
        Resource.METHOD, "a.sm", 65535, "0100010800ff", 1),
    # three spellings of a container: Anlage II 6.7, its XML examples, figure 6 of the TR
    "/cosem/ldevs/a.sm/containers/7-00005e310002": (
        Resource.LDEV_CONTAINER, "a.sm", 7, "00005e310002", 0),
    "/cosem/ldevs/a.sm/containers/00005e310002": (
        Resource.LDEV_CONTAINER, "a.sm", -1, "00005e310002", 0),
    "/cosem/ldevs/a.sm/containers/x00005E310002": (
        Resource.LDEV_CONTAINER, "a.sm", -1, "00005e310002", 0),
    "/cosem/containers/00005e3101ff": (Resource.CONTAINER, "", -1, "00005e3101ff", 0),
}  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_paths_name_what_the_annex_says(path):
    found = parse_path(path)
    assert (found.resource, found.ldev, found.class_id, found.name, found.index) == PATHS[path]
    assert not found.slash
    assert parse_path(path + "/").slash


@pytest.mark.parametrize(
    "path",
    ["/", "/cosemx", "/cosem/x", "/cosem/ldevs/a/objects/3-0100010800FF", "/cosem/ldevs/a/objects/65536-0100010800ff",
     "/cosem/ldevs/a/objects/3-0100010800ff/attributes/128", "/cosem/ldevs/a/objects/3-0100010800ff/attributes/x",
     "/cosem/ldevs/%ff", "/cosem/ldevs/" + "a" * 81, "/cosem/ldevs//objects"],
)  # fmt: skip
def test_paths_that_name_nothing_are_404(path):
    with pytest.raises(CosemError) as refused:
        parse_path(path)
    assert refused.value.status == 404


@given(st.text(max_size=120))
def test_any_path_and_query_is_answered(value):
    for read in (parse_path, parse_query):
        try:
            read(value)
        except CosemError as error:
            assert error.status in {400, 404}


def test_the_first_of_equal_query_names_counts_and_numbers_may_be_hex():
    query = parse_query("q.count=xA&q.count=3&q.fromtime=2026-03-31T10:00:00Z&unknown=1")
    assert query.count == 10
    assert query.begin is not None
    assert query.begin.iso() == "2026-03-31T10:00:00Z"


LITERALS = {
    "long:-12345": Data("long", -12345),
    "boolean:1": Data("boolean", True),
    "bit-string:1234": Data("bit-string", "0001001000110100"),
    "visible-string:31323334": Data("visible-string", "1234"),
    "[integer:1,integer:2]": array(Data("integer", 1), Data("integer", 2)),
    "{boolean:1,octet-string:1234}": structure(Data("boolean", True), octets(b"\x12\x34")),
    "null-data:": NULL,
    "date:1122334455": Data("date", bytes.fromhex("1122334455")),
}


@pytest.mark.parametrize("literal", LITERALS)
def test_literals_of_table_13(literal):
    assert parse_literal(literal) == LITERALS[literal]


@given(st.text("long:integr{}[],0123456789abcdef-", max_size=40))
def test_any_literal_is_a_value_or_a_refusal(value):
    with contextlib.suppress(XmlError):
        parse_literal(value)


# -- selection -------------------------------------------------------------------------------

_BOUND = st.none() | st.integers(0, 12)


@given(st.lists(st.integers(), max_size=10), _BOUND, _BOUND, _BOUND)
def test_a_window_is_what_a_naive_reader_would_pick(items, first, count, last):
    picked = [
        item
        for number, item in enumerate(items, 1)
        if number >= (first or 1) and (last is None or number <= last)
    ]
    if count is not None:
        picked = picked[:count]
    assert list(window(items, Query(first=first, count=count, last=last))) == picked


ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=8)
COLUMNS = ((1, "000000000101", 2), (1, "000000000102", 2))


@given(ROWS, st.none() | st.integers(0, 9), st.none() | st.integers(0, 9), st.booleans())
def test_selective_access_is_what_a_naive_reader_would_pick(rows, least, most, narrow):
    buffer = array(*(structure(Data("unsigned", a), Data("unsigned", b)) for a, b in rows))
    query = Query(
        filter_column="{long-unsigned:1,octet-string:000000000102,integer:2}",
        least=f"unsigned:{least}" if least is not None else "",
        most=f"unsigned:{most}" if most is not None else "",
        columns="{long-unsigned:1,octet-string:000000000101}" if narrow else "",
    )
    wanted = [
        (a, b) for a, b in rows if (least is None or b >= least) and (most is None or b <= most)
    ]
    found = select(buffer, COLUMNS, query)
    shown = [tuple(cell.value for cell in row.value) for row in found.value]
    assert shown == ([(a,) for a, _ in wanted] if narrow else wanted)


def test_a_descriptor_that_names_no_column_is_refused():
    with pytest.raises(CosemError) as refused:
        select(array(), COLUMNS, Query(columns="{long-unsigned:9,octet-string:00}"))
    assert refused.value.status == 400


# -- media types, block transfer -----------------------------------------------------------------


def test_media_types_with_the_stray_blank_of_the_print():
    found = parse_media_type("application/vnd.de-dke-k461-cosem +xml; encap=cms-tr03109")
    assert found.xml and found.sealed
    assert not parse_media_type("application/vnd.de-dke-k461-cosem+xml;encap=other").xml
    assert accepts("text/html, application/*", "application/vnd.de-dke-k461-cosem+xml")
    assert not accepts(
        "application/vnd.de-dke-k461-cosem+xml",
        "application/vnd.de-dke-k461-cosem+xml;encap=cms-tr03109",
    )
    assert not accepts("*/*;q=0", "application/x")


@given(st.binary(max_size=200), st.sampled_from([15, 31]))
def test_deflate_and_gzip_bodies_are_read(data, width):
    machine = zlib.compressobj(wbits=width)
    assert inflate(machine.compress(data) + machine.flush()) == data


@given(st.binary(max_size=60))
def test_any_compressed_body_is_data_or_a_refusal(data):
    try:
        inflate(data)
    except CosemError as error:
        assert error.status in {413, 422}


def test_a_zip_bomb_is_413():
    with pytest.raises(CosemError) as refused:
        inflate(zlib.compress(bytes(64 << 20)))
    assert refused.value.status == 413


@given(st.binary(min_size=1, max_size=80), st.data())
def test_blocks_in_order_give_the_body_whatever_is_repeated(body, data):
    transfers, have = Transfers(), 0
    while True:
        first = data.draw(st.integers(0, have)) if have else 0
        size = data.draw(st.integers(1, len(body) - first))
        block = parse_content_range(f"bytes {first}-{first + size - 1}/{len(body)}", size)
        whole = transfers.take("/x", block, body[first : first + size])
        have = first + size
        if whole is not None:
            assert whole == body
            return
        assert have < len(body)


def test_a_gap_and_a_lie_about_the_length_are_416_and_too_much_is_413():
    transfers = Transfers()
    for header, octets_, status in (
        ("bytes 5-9/20", 5, 416), ("bytes 0-9/20", 5, 416), ("bytes 0-9/5", 10, 416), ("x", 1, 416),
        ("bytes 0-0/99999999999", 1, 413),
    ):  # fmt: skip
        with pytest.raises(CosemError) as refused:
            transfers.take("/x", parse_content_range(header, octets_), bytes(octets_))
        assert refused.value.status == status, header


@given(st.integers(1, 50), st.integers(0, 60), st.integers(0, 60))
def test_ranges_of_a_get(total, first, last):
    try:
        block = parse_range(f"bytes={first}-{last}", total)
    except CosemError as error:
        assert error.status == 416
        assert first >= total or last < first
    else:
        assert block == Block(first, min(last, total - 1), total)


def test_every_class_of_the_table_has_a_source_and_a_logical_name():
    for spec in load_classes().values():
        assert spec.source and spec.attributes[1].name == "logical_name"


@given(st.binary(max_size=50))
def test_text_never_makes_a_document_that_cannot_be_read(data):
    value = text(data.decode("latin-1"))
    element = Element("x")
    write_data(element, value)
    parse(tostring(element))
    assert parse_data(element[0]).kind == "UTF8-string"


_GOOD = documents.write_container(
    Container(
        "01005e318002",
        (CosemObject(65010, 0, "01005e318002", {2: text("x"), 3: array(octets(b"\1"))}),),
    )
)


@fuzz(_GOOD)
def test_fuzzed_documents_are_read_or_refused_by_name(data):
    try:
        documents.read_container(data)
    except XmlError as error:
        assert error.reason
