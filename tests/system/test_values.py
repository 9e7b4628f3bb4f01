"""From a meter's bytes to what a consumer keeps: export, check, picture; every use case at once.

Real HTTPS, real signatures of the security module, two and a half days over the end of summer time
on the virtual clock.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
from pathlib import Path
from xml.etree.ElementTree import Element

import msgspec
import pytest
from ar2418_rules import check_ar2418
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from support import Lab, new_gateway, run_virtual, world

from smgw_emu.bench.values import Bundle, fetch, read_bundle
from smgw_emu.bench.values.bundle import parse_time
from smgw_emu.bench.values.verify import verify
from smgw_emu.cli import run_command
from smgw_emu.cli.export_ import render
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.instants import HOUR, SECOND
from smgw_emu.core.tariff import USE_CASES
from wan.cosem.xml import COR, write

EXAMPLE = Path(__file__).parents[2] / "examples" / "tariffs.toml"
START = "2026-10-23T10:00:00Z"
NAMES = ("taf1-1", "taf7-1", "taf2-1", "taf3-1", "taf4-1", "taf5-1", "taf6-1", "taf7-60", "taf8-1",
         "taf10-1", "taf12-1", "taf13-1")  # fmt: skip


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> dict[str, Bundle]:
    """Run a gateway with the example's contracts and fetch each as its consumer."""
    home = tmp_path_factory.mktemp("values") / "gw"
    new_gateway(home, now=world(START), contracts=EXAMPLE)

    async def work(clock):
        found = {}
        async with Lab(home, clock, interval=30 * SECOND) as lab:
            await clock.advance(68 * HOUR)
            async with lab.client() as client:
                for name in NAMES:
                    found[name] = await fetch(client, name, None, None, "consumer1")
        return found

    return run_virtual(work, START)


def rows(bundle: Bundle, database: str, obis: str = "0100010800ff"):
    return [row for row in bundle.rows() if (row.database, row.obis) == (database, obis)]


@pytest.mark.req("H09")
@pytest.mark.req("GW-N04")
@pytest.mark.req("HAN-35")
def test_every_contract_shows_the_lists_of_its_use_case(bundles):
    """Names of IF_GW_CON; registers are the same in usage-point-info and in readings."""
    for name, bundle in bundles.items():
        number = int(bundle.contract["taf-number"])
        lists = [item["database"] for item in bundle.point["databases"]]
        assert tuple(lists) == USE_CASES[number].DATABASES, name
        for database in lists:
            known = {channel["obis"] for channel in bundle.readings[database]}
            assert known == bundle.channels(database).keys(), (name, database)
        for row in bundle.rows():
            assert abs(row.value) < 1 << 31  # han-m2m.md 15 no. 6
        targets = [r.target for r in rows(bundle, "origin")]
        assert targets == sorted(targets)
    assert list(bundles["taf10-1"].rows()) == []


@pytest.mark.req("H11")
def test_the_long_day_has_a_hundred_quarter_hours(bundles):
    """25 October 2026: 22:00Z to 23:00Z of the next evening."""
    begin, end = parse_time("2026-10-24T22:00:00Z"), parse_time("2026-10-25T23:00:00Z")
    day = [row for row in rows(bundles["taf7-1"], "origin") if begin < row.target <= end]
    assert len(day) == 100
    minutes = [row for row in rows(bundles["taf7-60"], "origin") if begin < row.target <= end]
    assert len(minutes) == 1500
    daily = [row.item["target-time"] for row in rows(bundles["taf6-1"], "daily")]
    assert daily == ["2026-10-23T22:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"]


def test_stages_and_error_register_add_up_to_the_total(bundles):
    """Line by line, as a consumer sees it (TAF2)."""
    lines: dict[str, dict[str, int]] = {}
    for row in bundles["taf2-1"].rows():
        if row.database == "calculated":
            lines.setdefault(row.item["target-time"], {})[row.obis] = row.value
    assert [at[11:16] for at in lines] == [
        "10:15",
        "20:00",
        "05:00",
    ]  # begin, Friday 22 h, Monday 6 h
    for line in lines.values():
        stages = sum(line[code] for code in ("0100010801ff", "0100010802ff", "010001083fff"))
        assert line["0100010800ff"] == stages


@pytest.mark.req("HSM-N03")
def test_every_signature_is_good_and_every_changed_value_is_not(bundles):
    """docs/signatures.md; all use cases that carry the inner signature."""
    for name, bundle in bundles.items():
        verdict = verify(bundle)
        assert verdict.passed, (name, verdict.bad[:3], verdict.missing[:3])
        unsigned = int(bundle.contract["taf-number"]) in (10, 12)
        assert verdict.good or unsigned or name == "taf8-1"
    bundle = msgspec.json.decode(msgspec.json.encode(bundles["taf7-1"]), type=Bundle)
    first = bundle.readings["origin"][0]["readings"]
    first[0]["value"] = str(int(first[0]["value"]) + 1)
    first[1]["target-time"] = first[2]["target-time"]
    first[3]["signature"] = None
    first[4]["signature"] = "00" * 64
    verdict = verify(bundle)
    assert (len(verdict.bad), len(verdict.missing)) == (3, 1)
    # the transparency bit is no excuse for a missing signature
    first[3]["cosem-status"] = "e" + first[3]["cosem-status"][1:]
    assert len(verify(bundle).missing) == 1


def test_openssl_agrees_about_a_signature(bundles, tmp_path):
    """An independent check of one value, from docs/signatures.md and nothing else."""
    bundle = bundles["taf7-1"]
    row = rows(bundle, "origin")[5]
    item = row.item
    text = ";".join((
        item["owner-number"], row.obis, item["target-time"], item["capture-time"],
        f"{int(item['value']) / 10:.1f}".removesuffix(".0"), str(row.unit), item["cosem-status"],
    ))  # fmt: skip
    raw = bytes.fromhex(item["signature"])
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    certificate = bytes.fromhex(bundle.info["certificates"]["wan"][0]["sig"])
    key = x509.load_der_x509_certificate(certificate).public_key()
    (tmp_path / "key.pem").write_bytes(
        key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    (tmp_path / "sig.der").write_bytes(encode_dss_signature(r, s))
    for message, good in ((text, True), (text.replace(";30;", ";27;"), False)):
        (tmp_path / "text").write_text(message)
        done = subprocess.run(
            ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "sig.der", "text"],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == good, done


@pytest.mark.req("AR 2418-6")
def test_the_xml_keeps_the_rules_of_the_schema_and_of_the_transparency_software(bundles):
    """``han-m2m.md`` 10 and 11: element names, limits, model and context."""
    for name in ("taf1-1", "taf2-1", "taf7-1", "taf6-1"):
        readings = check_ar2418(render(bundles[name], "xml", "origin"))
        assert readings, name
    names = check_ar2418(render(bundles["taf2-1"], "xml", "origin"))
    assert "0100010800ff.1emu0000000001.sm" in names
    assert {f"01000108{n}ff.taf2-1.sm" for n in ("01", "02", "3f")} <= names.keys()


def test_the_xml_takes_no_prefix_from_other_documents(bundles):
    """ElementTree's prefixes are process-wide: the administrator's documents keep theirs."""
    assert render(bundles["taf7-1"], "xml", "origin").count(b"<espi:value>") > 10
    assert write(Element(f"{{{COR}}}objects")).endswith(b'<objects xmlns="%s" />' % COR.encode())


def test_the_table_has_a_line_for_each_value(bundles):
    """Scaled exactly, with register, status and signature."""
    bundle = bundles["taf2-1"]
    table = list(csv.DictReader(io.StringIO(render(bundle, "csv", "origin").decode())))
    assert len(table) == sum(1 for _ in bundle.rows())
    first = next(row for row in table if row["list"] == "origin")
    assert (first["register"], first["unit"], first["ptb_status"]) == ("1-0:1.8.0*255", "Wh", "0")
    source = rows(bundle, "origin")[0]
    assert float(first["value"]) == pytest.approx(source.value / 10)


@pytest.mark.parametrize(("form", "magic"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_a_picture_is_drawn(bundles, form, magic):
    """The same values give the same file."""
    picture = render(bundles["taf7-1"], form, "origin")
    assert picture.startswith(magic) and len(picture) > 5000
    assert picture == render(bundles["taf7-1"], form, "origin")
    assert render(bundles["taf2-1"], form, "calculated").startswith(magic)


def test_the_commands_read_a_kept_bundle(bundles, tmp_path, capsys):
    """verify: 0 when good, 1 when not, one line on a file that is none."""
    path = tmp_path / "list.json"
    path.write_bytes(render(bundles["taf7-1"], "json", "origin"))
    assert read_bundle(path.read_bytes()) == bundles["taf7-1"]
    assert run_command(["verify", str(path)]) == 0
    assert "certificate 0" in capsys.readouterr().out
    assert run_command(["verify", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True
    text = path.read_text().replace('"value": "1', '"value": "2')
    path.write_text(text)
    assert run_command(["verify", str(path)]) == 1
    assert "bad" in capsys.readouterr().out
    path.write_text("{}")
    with pytest.raises(ConfigError, match="not a contract bundle"):
        read_bundle(path.read_bytes())


def test_contracts_that_are_none_are_refused_by_name(tmp_path):
    """Fetch names what there is."""
    home = tmp_path / "gw"
    new_gateway(home)

    async def work(clock):
        async with Lab(home, clock) as lab, lab.client() as client:
            with pytest.raises(ConfigError, match=r"there are: 01005e318021\.taf1-1\.sm"):
                await fetch(client, "nobody", None, None)
            await asyncio.sleep(0)

    run_virtual(work)
