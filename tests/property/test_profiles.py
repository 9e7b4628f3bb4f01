"""Evaluation profiles: any record survives XML and container; any bytes give a defined answer."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import xmlschema
from fuzz import fuzz
from hypothesis import given
from hypothesis import strategies as st
from tariff_lab import IMPORT, METER, POWER, SECOND_METER, TariffLab, contract

from smgw_emu.core.errors import ConfigError, SmgwError
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.tariff import USE_CASES
from smgw_emu.core.usage_point import (
    DayProfile,
    Prepaid,
    SpecialDay,
    Stage,
    Switch,
    Trigger,
    UsagePoint,
)
from wan.admin.profiles import ProfileTable
from wan.cosem.classes import load_classes
from wan.cosem.errors import CosemError, XmlError
from wan.profiles import OwnFormat, profile_format

SCHEMA = Path(__file__).parents[2] / "wan" / "profiles" / "schema" / "evaluation.xsd"
START = "2026-05-10T10:00:00Z"

numbers = st.integers(0, 10**9)
texts = st.text("abcXYZ äöü<&>\"'0123", max_size=12)
codes = st.sampled_from([IMPORT, POWER, "0100020800ff"])
clocks = st.builds("{:02}:{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59),
                   st.integers(0, 59))  # fmt: skip
small = st.integers(0, 70)
stages = st.builds(Stage, small, st.just("") | codes, texts, numbers, numbers)
days = st.builds(
    DayProfile, small, st.lists(st.builds(Switch, clocks, small), min_size=1, max_size=4).map(tuple)
)
dates = st.dates().map(lambda day: f"{day:%Y-%m-%d}".rjust(10, "0"))
triggers = st.builds(
    Trigger, st.sampled_from(["above", "below", "status"]), codes, numbers, st.just("00400000")
)
prepaid = st.builds(Prepaid, numbers, st.just(START), numbers, numbers, st.just(("b1", "b2")))


def some(strategy):
    return st.lists(strategy, max_size=3).map(tuple)


points = st.builds(
    UsagePoint,
    name=st.sampled_from(["a", "taf-1", "x9"]),
    taf=st.sampled_from(sorted(USE_CASES)),
    consumer=st.just("anna"),
    meters=st.sampled_from([(METER,), (METER, SECOND_METER)]),
    start=st.just(START),
    end=st.sampled_from(["", "2027-01-01T00:00:00Z"]),
    description=texts,
    capture_time=st.just("") | clocks,
    period_s=st.sampled_from([1, 60, 900, 3600, 86_400, 2_678_400, 7]),
    on_demand=st.booleans(),
    transparency=st.booleans(),
    pseudonym=st.sampled_from(["", "p1"]),
    subtract=st.sampled_from([(), (SECOND_METER,)]),
    obis=some(codes),
    billing_period=st.sampled_from(["1M", "3M", "12M", "1D"]),
    stages=some(stages),
    first_stage=small,
    day_profiles=some(days),
    week=st.sampled_from([(), (1,) * 7, (1, 2, 3)]),
    special_days=some(st.builds(SpecialDay, dates, small)),
    method=st.sampled_from(["mean", "present"]),
    power=st.just("") | codes,
    minima=small,
    maxima=small,
    triggers=some(triggers),
    prepaid=st.none() | prepaid,
    sources=st.sampled_from([(), ("other",)]),
    change_list=st.booleans(),
)


@pytest.fixture(scope="module")
def schema():
    return xmlschema.XMLSchema(SCHEMA)


@pytest.mark.req("TR-03109-1 v1.0 4.4.1")
@given(point=points)
def test_a_profile_is_the_same_after_xml_and_fits_the_schema(schema, point):
    """Written by us, checked by xmlschema against our XSD, read by us."""
    document = OwnFormat().write(point)
    schema.validate(document.decode())
    assert OwnFormat().read(document) == point
    assert b'test="true"' in document


@given(point=points)
def test_a_profile_is_the_same_after_its_container(point):
    """COSEM structures and arrays of nested parameters."""
    table = ProfileTable(load_classes())
    body = table.write("usage-point", point)
    found = table.read(table.container_id("usage-point", point), body)
    assert found is not None and found.record == point


@given(point=points)
def test_any_profile_is_refused_with_reasons_or_works(point):
    """Nothing in between: what passes the check runs without an exception."""
    meters = (Meter(METER, obis=(IMPORT, POWER, "0100020800ff")), Meter(SECOND_METER))
    other = contract("other", 7, START)
    try:
        lab = TariffLab(
            other, msgspec.structs.replace(point, name="mine"), start="2026-05-10T09:59:00Z",
            meters=meters,
        )  # fmt: skip
    except ConfigError as error:
        assert str(error).startswith("usage_point 'mine': ")
        return
    for number in range(3):
        values = {IMPORT: 100 + number, POWER: number, "0100020800ff": number}
        lab.feed(f"2026-05-10T10:{15 * number:02}:00Z", values)
        lab.feed(f"2026-05-10T10:{15 * number:02}:00Z", number, meter=SECOND_METER)
    mine = lab.point("mine")
    view = lab.view()
    view.billing_periods(mine, lab.device.now(lab.now))
    for database in view.databases(mine):
        shown = {c.obis for c in view.channels(mine, database)}
        assert {line.obis for line in lab.lines("mine", database)} <= shown
        view.last_readings(mine, database)


GOOD = OwnFormat().write(
    contract("taf2-1", 2, START, stages=(Stage(1), Stage(2)), week=(1,) * 7,
             day_profiles=(DayProfile(1, (Switch("00:00", 1),)),))
)  # fmt: skip


@fuzz(GOOD)
def test_any_bytes_are_a_profile_or_refused(data):
    """XmlError and nothing else."""
    try:
        OwnFormat().read(data)
    except XmlError:
        return


CONTAINER = ProfileTable(load_classes()).write("usage-point", OwnFormat().read(GOOD))


@fuzz(CONTAINER)
def test_any_container_is_a_profile_or_refused(data):
    """CosemError (422) and its kind, nothing else."""
    try:
        ProfileTable(load_classes()).read("01005e318022", data)
    except (CosemError, SmgwError):
        return


def test_a_format_nobody_has_registered_is_named():
    """The hook for a licensed schema: an entry point of smgw_emu.profile_formats."""
    with pytest.raises(ConfigError, match=r"smgw_emu\.profile_formats"):
        profile_format("vde-0418-63-8")
    assert isinstance(profile_format("own"), OwnFormat)
