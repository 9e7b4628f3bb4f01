"""The reference administrator's files and memory: cards, delivery notes, plans, registry."""

from __future__ import annotations

import ssl

import msgspec
import pytest
from fuzz import fuzz
from hypothesis import example
from support import START, world

from smgw_emu.bench.gwa import AdministratorCard, NotedDevice, Registry
from smgw_emu.bench.gwa.card import read_card, write_card
from smgw_emu.bench.gwa.note import FORMAT, read_note, write_note
from smgw_emu.bench.gwa.registry import UnknownDeviceError
from smgw_emu.bench.pki import Role, TestPki
from smgw_emu.core.errors import ConfigError
from smgw_emu.lab.plan import read_plan, read_record

PKI = TestPki(world(START).datetime())
GWA = PKI.participant(Role.GWA, "gwa1")
SMGW = PKI.participant(Role.SMGW, "ETHE0399000001")
CARD = AdministratorCard(
    "gwa1",
    *(ssl.DER_cert_to_PEM_cert(GWA.identity(p).certificate_der) for p in ("TLS", "SIG", "ENC")),
    ("https://127.0.0.1:1",),
    ("https://127.0.0.1:2/gwa",),
)
NOTED = NotedDevice(
    "ETHE0399000001", "CONEXA 3.0", "v1",
    *(ssl.DER_cert_to_PEM_cert(SMGW.identity(p).certificate_der) for p in ("TLS", "SIG", "ENC")),
    ssl.DER_cert_to_PEM_cert(SMGW.tls.certificate_der),
)  # fmt: skip
PLAN = b'[[meter]]\nid = "1EMU0000000001"\nmaster_key = "00"\n[[consumer]]\nlogin = "a"\n[han]\nmode = "dhcp"\n'


def test_a_card_survives_its_file_and_names_pem_files_beside_it(tmp_path):
    write_card(tmp_path / "a.json", CARD)
    assert read_card(tmp_path / "a.json") == CARD
    (tmp_path / "tls.pem").write_bytes(GWA.tls.chain_pem)
    named = msgspec.structs.replace(CARD, tls="tls.pem")
    write_card(tmp_path / "b.json", named)
    assert read_card(tmp_path / "b.json").profiles() == CARD.profiles(), (
        "the leaf of a chain counts"
    )
    assert [p.scenario for p in CARD.profiles()] == ["MANAGEMENT", "ADMIN-SERVICE"]
    assert CARD.profiles()[0].keepalive


@pytest.mark.parametrize("field", ["tls", "sig", "enc"])
def test_a_card_without_a_certificate_is_refused(tmp_path, field):
    write_card(
        tmp_path / "a.json",
        msgspec.structs.replace(CARD, **{field: "-----BEGIN CERTIFICATE-----\nx"}),
    )
    with pytest.raises(ConfigError):
        read_card(tmp_path / "a.json")


def test_a_note_survives_its_file(tmp_path):
    write_note(tmp_path / "n.json", (NOTED,))
    note = read_note(tmp_path / "n.json")
    assert note.devices == (NOTED,) and note.format == FORMAT


@example(data=b'{"\x80":1}')  # msgspec names bad UTF-8 in a key with an error of another class
@fuzz(msgspec.json.encode(CARD), PLAN)
def test_any_file_is_read_or_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    for read in (
        read_card,
        read_note,
        lambda p: read_plan(p, "x", []),
        lambda p: read_record(p, "consumer", "x"),
    ):
        try:
            read(path)
        except ConfigError as error:
            assert "\n" not in str(error).strip()


def test_the_registry_knows_devices_by_their_certificates_and_events_once():
    """WAN-14, GW-23."""
    registry = Registry()
    registry.import_device(NOTED)
    assert registry.owner(SMGW.tls.certificate_der) == NOTED.id
    with pytest.raises(UnknownDeviceError, match="gwa1"):
        registry.owner(GWA.tls.certificate_der)
    with pytest.raises(UnknownDeviceError):
        registry.device("ETHE0399000002")
    fields = ("t", "EMU.1.0", "start", "I", "S", "text")
    assert registry.add_event("uuid:1", NOTED.id, fields)
    assert not registry.add_event("uuid:1", NOTED.id, fields), "a repeated message is no new event"
    assert len(registry.events(NOTED.id)) == 1
    registry.set_certificates(NOTED.id, 1, {"tls": b"x", "sig": b"y", "enc": b"z"})
    assert registry.device(NOTED.id).generation == 1
    assert registry.device(NOTED.id).certificates["tls"] == b"x"
