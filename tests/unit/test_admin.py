"""The administrator's resource tree: status codes, profiles, keys, logs (WAN-20 to WAN-25, GW-49)."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
from fuzz import fuzz
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from support import START, world
from wan_lab import CONFIG, GATEWAY, METER, ROOT, SCHEMA, AdminLab

from firmware.package import sign_package
from firmware.update import Due
from hsm_sim import Purpose
from hsm_sim.slots import wan_certificate
from smgw_emu.bench.pki import Role, TestPki, der
from smgw_emu.core.cls_profiles import ClsProfile, ProxyProfile
from smgw_emu.core.config import Consumer
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import (
    HanProfile,
    LmnProfile,
    Technician,
    WanProfile,
)
from smgw_emu.lab.firmware import package_of
from wan.cms import Suite
from wan.cosem.data import Data, array, octets, structure, text
from wan.cosem.documents import (
    read_attribute_document,
    read_object_document,
    read_response,
    write_attribute,
    write_request,
)
from wan.cosem.media import OCTETS, SEALED, XML, Protection

_OBJECTS = {
    "gateway": "65001-0000608000ff", "settings": "65002-0000608001ff", "clock": "8-0000010000ff",
    "security": "64-00002b0000ff", "image": "18-00002c0000ff", "system": "7-0000636201ff",
    "calibration": "7-0000636202ff",
}  # fmt: skip


@pytest.fixture
def lab(tmp_path):
    return AdminLab(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return AdminLab(tmp_path_factory.mktemp("admin"))


def reason(response):
    detail = read_response(response.body).data.value
    return detail[1].value, detail[0].value


def emt_profile(lab, name="emt1", **changes):
    emt = lab.pki.participant(Role.EMT, name)
    fields = {
        "name": name, "scenario": "INFO-REPORT", "role": "EMT", "addresses": ("https://127.0.0.1:1/x",),
        "tls": emt.tls.certificate_der, "sig": emt.sig.certificate_der, "enc": emt.enc.certificate_der,
    } | changes  # fmt: skip
    return WanProfile(**fields)


def put(lab, kind, record, secrets=None, ldev=""):
    from smgw_emu.core.administration import record_key

    profiles = lab.tree.profiles
    name = ldev or f"{record_key(kind, record) or GATEWAY.lower()}.sm"
    path = f"/smgw/cosem/ldevs/{name}/containers/{profiles.container_id(kind, record)}"
    return lab.ask("PUT", path, profiles.write(kind, record, secrets or {})), path


METER_PROFILE = Meter(METER)
CONSUMER = Consumer("consumer1", "consumer1.sm", "ab" * 16)
POINT = UsagePoint("taf7-1", 7, "consumer1", (METER,), START)


def household(lab):
    for kind, record in (
        ("wan", emt_profile(lab)),
        ("meter", METER_PROFILE),
        ("consumer", CONSUMER),
        ("usage-point", POINT),
    ):
        response, _ = put(lab, kind, record)
        assert response.status == 201, reason(response)


# -- status codes of the annex ------------------------------------------------------------------

STATUS = {
    "a verb that is not implemented": (("OPTIONS", ROOT), {}, b"", 501),
    "HEAD": (("HEAD", ROOT), {}, b"", 501),
    "another host": (("GET", ROOT), {"host": "ethe0399000002.sm"}, b"", 403),
    "no container of that id": (("GET", f"{ROOT}/containers/00005e310002"), {}, b"", 404),
    "no logical device": (("GET", "/smgw/cosem/ldevs/foreign.sm"), {}, b"", 404),
    "another point of contact": (("GET", "/gwa/cosem"), {}, b"", 404),
    "no object": (("GET", f"{ROOT}/objects/3-0100010800ff"), {}, b"", 404),
    "no attribute": (("GET", f"{ROOT}/objects/{_OBJECTS['gateway']}/attributes/99"), {}, b"", 404),
    "no method": (("POST", f"{ROOT}/objects/{_OBJECTS['gateway']}/methods/9"), {}, b"", 404),
    "the consumer log does not exist for the administrator": (("GET", f"{ROOT}/objects/7-0000636203ff"), {}, b"", 404),
    "POST to a list": (("POST", "/smgw/cosem/ldevs"), {}, b"", 405),
    "GET of a method": (("GET", f"{ROOT}/objects/{_OBJECTS['gateway']}/methods/1"), {}, b"", 405),
    "DELETE of the management device": (("DELETE", ROOT), {}, b"", 405),
    "a log cannot be written": (("PUT", f"{ROOT}/objects/{_OBJECTS['system']}/attributes/2"), {}, write_attribute(2, array()), 405),
    "a log cannot be deleted": (("DELETE", f"{ROOT}/objects/{_OBJECTS['calibration']}"), {}, b"", 405),
    "Accept of something else": (("GET", ROOT), {"accept": "text/html"}, b"", 406),
    "a later answer without x-CID": (("POST", f"{ROOT}/objects/{_OBJECTS['gateway']}/methods/1"), {}, b"", 408),
    "another media type": (("PUT", f"{ROOT}/containers/00005e310002"), {"content-type": "text/xml"}, b"<a/>", 415),
    "content protection nobody configured": (("PUT", f"{ROOT}/containers/00005e310002"), {"content-type": SEALED}, b"x", 415),
    "a range that does not fit": (("GET", ROOT), {"range": "bytes=99999999-"}, b"", 416),
    "not XML": (("POST", f"{ROOT}/objects/{_OBJECTS['gateway']}/methods/2"), {}, b"no xml", 422),
    "an entity bomb": (("POST", f"{ROOT}/objects/{_OBJECTS['gateway']}/methods/2"), {}, b'<!DOCTYPE a [<!ENTITY b "x">]><a>&b;</a>', 422),
    "a wrong correlation id": (("POST", f"{ROOT}/objects/{_OBJECTS['gateway']}/methods/1"), {"x-cid": "1"}, b"", 400),
    "Content-Range on POST": (("POST", f"{ROOT}/objects/{_OBJECTS['gateway']}/methods/1"), {"content-range": "bytes 0-0/1"}, b"x", 400),
    "a query that is no number": (("GET", f"{ROOT}/objects?q.count=x!"), {}, b"", 400),
    "PUT without a body": (("PUT", f"{ROOT}/containers/00005e310002"), {}, b"", 400),
}  # fmt: skip


@pytest.mark.parametrize("name", STATUS)
def test_refusals_have_the_status_of_table_12_and_reach_the_system_log(shared, name):
    """WAN-N05, TR1 3.2.4.2.2."""
    (method, path), headers, body, status = STATUS[name]
    shared.refused.clear()
    response = shared.ask(method, path, body, headers)
    assert response.status == status, response
    assert shared.refused[0][0] == status
    if method != "HEAD" and "accept" not in headers:
        assert reason(response)[1]


def test_put_without_a_length_is_411(shared):
    service = shared.service()
    from smgw_emu.transport.http import Request

    request = Request(
        "PUT", f"{ROOT}/containers/00005e310002", {"host": f"{GATEWAY.lower()}.sm"}, b""
    )
    assert service.handle(request).status == 411


def test_a_sealed_tree_refuses_plain_bodies_and_answers_sealed(lab):
    """TR1 3.2.4.4: content protection is a MUST where there is a body."""
    gwa = lab.pki.participant(Role.GWA, "gwa1")
    smgw = Protection(lab.keys.signer(), gwa.trust(), lab.keys.opener(), [gwa.recipient()])
    from wan.certificates import ec_key, key_id, load
    from wan.cms import Recipient, Trust

    sig, enc = (load(lab.keys.certificate(p)) for p in (Purpose.SIG, Purpose.ENC))
    ours = Protection(
        gwa.signer(), {key_id(sig): Trust(der(sig))}, gwa.opener(),
        [Recipient(key_id(enc), ec_key(enc))], Suite.CBC_CMAC,
    )  # fmt: skip
    service = lab.service(protection=smgw, required=True)
    path = f"{ROOT}/objects/{_OBJECTS['settings']}/attributes/2"
    body = write_attribute(2, Data("double-long-unsigned", 7))
    assert lab.ask("PUT", path, body, service=service).status == 415
    assert lab.ask("GET", path, headers={"accept": XML}, service=service).status == 406
    sealed = {"content-type": SEALED, "content-encoding": "deflate"}
    assert lab.ask("PUT", path, ours.seal(body), sealed, service).status == 204
    answer = lab.ask("GET", path, service=service)
    assert dict(answer.headers)["content-type"] == SEALED
    assert dict(answer.headers)["content-encoding"] == "deflate"
    assert read_attribute_document(ours.open(answer.body)) == (2, Data("double-long-unsigned", 7))
    broken = bytearray(ours.seal(body))
    broken[len(broken) // 2] ^= 1
    refused = lab.ask("PUT", path, bytes(broken), sealed, service)
    assert refused.status == 422


def test_lists_have_count_window_and_depth(shared):
    """Anlage II 7.8.2, 7.10."""
    whole = shared.ask("GET", f"{ROOT}/objects").body
    assert f'count="{len(shared.tree.objects(shared.tree.management))}"'.encode() in whole
    bare = shared.ask("GET", f"{ROOT}/objects?q.depth=0").body
    assert b'count="0"' in bare and b"<object " not in bare
    one = shared.ask("GET", f"{ROOT}/objects?q.fromidx=2&q.count=1&q.depth=1").body
    assert one.count(b"<object ") == 1 and b"<attribute" not in one
    slash = shared.ask("GET", f"{ROOT}/objects/").body
    assert b"<attribute" not in slash
    assert shared.ask("GET", "/smgw/cosem").status == 200


def test_every_document_of_the_tree_fits_the_schema(lab):
    household(lab)
    for path in ("/smgw/cosem", "/smgw/cosem/ldevs", ROOT, f"{ROOT}/objects", f"{ROOT}/containers",
                 "/smgw/cosem/ldevs/taf7-1.sm", "/smgw/cosem/ldevs/taf7-1.sm/containers/01005e318027"):  # fmt: skip
        response = lab.ask("GET", path)
        assert response.status == 200, path
        SCHEMA.validate(response.body.decode())


# -- profiles --------------------------------------------------------------------------------------

RECORDS = {
    "meter": METER_PROFILE,
    "consumer": CONSUMER,
    "usage-point": POINT,
    "technician": Technician("tech1", ("cd" * 32,), "2027-01-01T00:00:00Z"),
    "han": HanProfile("static", "127.0.0.1", True, 300, 3600),
    "lmn": LmnProfile(METER, "LKS1", "TLS"),
    "cls": ClsProfile("cls1", ("ef" * 32,), ("127.0.0.1:1",)),
    "proxy": ProxyProfile("proxy1", "cls1", "emt1", "HKS3", "box.local"),
}


def test_every_kind_of_profile_is_put_in_force_read_back_and_removed(lab):
    """WAN-20 to WAN-23, GW-26."""
    assert put(lab, "wan", emt_profile(lab))[0].status == 201
    paths = {}
    for kind, record in RECORDS.items():
        response, paths[kind] = put(lab, kind, record)
        assert response.status in {201, 204}, (kind, reason(response))
        again, _ = put(lab, kind, record)
        assert again.status == 204
        shown = lab.tree.profiles.read(
            paths[kind].rpartition("/")[2], lab.ask("GET", paths[kind]).body
        )
        hidden = msgspec.structs.replace(record, ha1_md5="") if kind == "consumer" else record
        assert shown.record == hidden
    config = lab.device.config
    assert (config.meter, config.consumer, config.usage_point) == (
        (METER_PROFILE,),
        (CONSUMER,),
        (POINT,),
    )
    assert config.han_profile == RECORDS["han"]
    for kind in reversed(RECORDS):
        assert lab.ask("DELETE", paths[kind]).status == 204, kind
    assert not lab.device.config.meter and not lab.device.config.usage_point


def test_a_change_is_in_the_logs_the_norm_names(lab):
    """TR1 T43, T44: calibration log and consumer log."""
    household(lab)
    calibration = [entry.event for entry in lab.device.logbooks.last("calibration")]
    assert {"EMU.162.0", "EMU.20.0", "EMU.21.0"} <= set(calibration)
    assert lab.device.logbooks.last("consumer", "consumer1")


REFUSED = {
    "taf without its meter": ("usage-point", lambda lab: msgspec.structs.replace(POINT, emts=()), 422, "meter 1EMU0000000001 is not configured"),
    "taf this device cannot": ("usage-point", lambda lab: msgspec.structs.replace(POINT, taf=15, emts=()), 422, "TAF 15 is not available"),
    "session above 48 h": ("wan", lambda lab: emt_profile(lab, max_session_s=172_801), 422, "max_session_s"),
    "EMT with MANAGEMENT": ("wan", lambda lab: emt_profile(lab, scenario="MANAGEMENT"), 422, "is not for role EMT"),
    "no address": ("wan", lambda lab: emt_profile(lab, addresses=()), 422, "addresses"),
    "plain http": ("wan", lambda lab: emt_profile(lab, addresses=("http://a:1",)), 422, "https"),
    "TLS certificate in the place of ENC": ("wan", lambda lab: emt_profile(lab, enc=emt_profile(lab).tls), 422, "enc"),
    "no certificate": ("wan", lambda lab: emt_profile(lab, tls=b"no"), 422, "tls"),
    "proxy without its CLS": ("proxy", lambda lab: RECORDS["proxy"], 422, "cls"),
    "technician by name only": ("technician", lambda lab: Technician("t", ()), 422, "certificate"),
    "static without address": ("han", lambda lab: HanProfile("static"), 422, "address"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_profile_is_refused_with_element_and_reason_and_changes_nothing(lab, name):
    """GW-49, GW-51, W21: nothing partially applied, the administrator gets the reason."""
    kind, make, status, said = REFUSED[name]
    before = lab.device.config
    rows = lab.device.store.execute("SELECT count(*) FROM container")[0][0]
    response, _ = put(lab, kind, make(lab))
    assert response.status == status
    assert said in " ".join(reason(response))
    assert lab.device.config == before
    assert lab.device.store.execute("SELECT count(*) FROM container")[0][0] == rows


def test_an_expired_partner_certificate_is_refused(lab):
    old = TestPki(world("2020-01-01T00:00:00Z").datetime())
    emt = old.participant(Role.EMT, "emt1")
    response, _ = put(lab, "wan", emt_profile(lab, tls=emt.tls.certificate_der))
    assert response.status == 422 and "expired" in reason(response)[1]


def test_what_is_referred_to_cannot_go(lab):
    """TR1 4.4.4: before deactivation no evaluation profile may refer to the profile."""
    household(lab)
    for path in (f"/smgw/cosem/ldevs/{METER.lower()}.sm/containers/01005e318002",
                 "/smgw/cosem/ldevs/emt1.sm/containers/01005e318040",
                 "/smgw/cosem/ldevs/consumer1.sm/containers/01005e318011"):  # fmt: skip
        assert lab.ask("DELETE", path).status == 409


def test_the_same_name_in_another_container_is_a_conflict(lab):
    household(lab)
    other, _ = put(lab, "usage-point", msgspec.structs.replace(POINT, taf=1))
    assert other.status == 409


def test_a_profile_belongs_to_its_own_logical_device(lab):
    response, _ = put(lab, "meter", METER_PROFILE, ldev="other.sm")
    assert response.status == 422


@pytest.mark.parametrize(
    "body",
    [
        b"<klc:container xmlns:klc='urn:k461-dke-de:kaf_lmn_container-1' id='00000000e000.1lgz.sm'/>",
        b"\xef\xbb\xbf<a>\r\n</a>",
        b"<a>\n<!-- kept --><b x='1'/>\n\n</a>\n",
    ],
)
def test_unknown_containers_are_given_back_byte_for_byte(lab, body):
    """wan.md 10 no. 5: the licensed schema is stored verbatim."""
    path = "/smgw/cosem/ldevs/1lgz.sm/containers/32809-00000000e000"
    assert lab.ask("PUT", path, body).status == 201
    assert lab.ask("GET", path).body == body
    assert lab.ask("GET", "/smgw/cosem/ldevs/1lgz.sm").status == 200
    assert lab.ask("DELETE", path).status == 204
    assert lab.ask("GET", path).status == 404


@pytest.mark.parametrize(
    "body", [bytes(range(256)), b"<a>", b'<!DOCTYPE a [<!ENTITY b "x">]><a>&b;</a>']
)
def test_what_is_no_xml_is_not_stored(lab, body):
    path = "/smgw/cosem/ldevs/1lgz.sm/containers/32809-00000000e000"
    assert lab.ask("PUT", path, body).status == 422
    assert lab.ask("GET", path).status == 404


def test_an_unknown_container_cannot_push_a_profile_aside(lab):
    response, path = put(lab, "meter", METER_PROFILE)
    assert response.status == 201
    assert lab.ask("PUT", path, b"<other/>").status == 409
    assert lab.device.administration.config.meter == lab.device.config.meter == (METER_PROFILE,)


def test_a_master_key_goes_to_the_security_module_and_nowhere_else(lab, tmp_path):
    """TR1 4.5.2: secret key material must not be readable."""
    key = bytes(range(100, 116))
    response, path = put(lab, "meter", METER_PROFILE, {"master_key": key})
    assert response.status == 201
    assert lab.keys.module.read_file(f"LMN_MK_{METER}") == key
    assert key.hex().encode() not in lab.ask("GET", path).body
    dump = "\n".join(lab.device.store._db.iterdump())
    assert key.hex() not in dump and repr(key)[2:-1] not in dump


def test_credentials_are_not_read_back(lab):
    _, path = put(lab, "consumer", CONSUMER)
    assert b"abab" not in lab.ask("GET", path).body


@fuzz(b'<container xmlns="urn:k461-dke-de:cor-1" id="01005e318002"/>')
def test_any_body_on_a_known_container_is_answered(shared, data):
    if not data:
        return
    response = shared.ask(
        "PUT", f"/smgw/cosem/ldevs/{METER.lower()}.sm/containers/01005e318002", data
    )
    assert response.status in {201, 204, 409, 422}


class ProfileLife(RuleBasedStateMachine):
    """Profiles come and go in any order; the model is a plain dictionary."""

    lab: AdminLab

    def __init__(self):
        super().__init__()
        self.lab = ProfileLife.shared
        for point in ("taf7-1", "taf1-1"):
            for container in ("01005e318027", "01005e318021"):
                self.lab.ask("DELETE", f"/smgw/cosem/ldevs/{point}.sm/containers/{container}")
        for name in ("m1", "m2"):
            self.lab.ask(
                "DELETE", f"/smgw/cosem/ldevs/{self.meter(name).key}.sm/containers/01005e318002"
            )
        for name in ("a", "b"):
            self.lab.ask("DELETE", f"/smgw/cosem/ldevs/{name}.sm/containers/01005e318011")
        self.meters, self.consumers, self.points = set(), set(), {}

    @staticmethod
    def meter(name):
        return Meter(f"1EMU000000000{name[1]}")

    @rule(name=st.sampled_from(["m1", "m2"]))
    def put_meter(self, name):
        status = put(self.lab, "meter", self.meter(name))[0].status
        assert status == (204 if name in self.meters else 201)
        self.meters.add(name)

    @rule(name=st.sampled_from(["a", "b"]))
    def put_consumer(self, name):
        status = put(self.lab, "consumer", Consumer(name, f"{name}.sm"))[0].status
        assert status == (204 if name in self.consumers else 201)
        self.consumers.add(name)

    @rule(
        name=st.sampled_from(["taf7-1", "taf1-1"]),
        consumer=st.sampled_from(["a", "b"]),
        meter=st.sampled_from(["m1", "m2"]),
    )
    def put_point(self, name, consumer, meter):
        point = UsagePoint(name, int(name[3]), consumer, (self.meter(meter).id,), START, emts=())
        status = put(self.lab, "usage-point", point)[0].status
        if meter in self.meters and consumer in self.consumers:
            assert status == (204 if name in self.points else 201)
            self.points[name] = (consumer, meter)
        else:
            assert status == 422

    @rule(name=st.sampled_from(["m1", "m2"]))
    def delete_meter(self, name):
        path = f"/smgw/cosem/ldevs/{self.meter(name).key}.sm/containers/01005e318002"
        used = any(meter == name for _, meter in self.points.values())
        expected = 404 if name not in self.meters else 409 if used else 204
        assert self.lab.ask("DELETE", path).status == expected
        if expected == 204:
            self.meters.discard(name)

    @rule(name=st.sampled_from(["taf7-1", "taf1-1"]))
    def delete_point(self, name):
        path = f"/smgw/cosem/ldevs/{name}.sm/containers/01005e31802{name[3]}"
        expected = 204 if name in self.points else 404
        assert self.lab.ask("DELETE", path).status == expected
        self.points.pop(name, None)

    @invariant()
    def the_configuration_is_the_model(self):
        config = self.lab.device.config
        assert {f"m{m.id[-1]}" for m in config.meter} == self.meters
        assert {c.login for c in config.consumer} == self.consumers
        found = {p.name: (p.consumer, f"m{p.meters[0][-1]}") for p in config.usage_point}
        assert found == self.points
        assert self.lab.device.administration.config == config


def test_profiles_come_and_go_like_a_dictionary(tmp_path):
    from hypothesis.stateful import run_state_machine_as_test

    ProfileLife.shared = AdminLab(tmp_path)
    run_state_machine_as_test(ProfileLife)


# -- objects -----------------------------------------------------------------------------------------


def test_device_information(shared):
    item = read_object_document(shared.ask("GET", f"{ROOT}/objects/{_OBJECTS['gateway']}").body)
    values = {index: data.value for index, data in item.attributes.items()}
    assert values[2] == GATEWAY and values[3] == "CONEXA 3.0" and values[9] == 0
    assert values[7] == START and values[8] is True


def test_parameters_are_set_all_or_none_and_logged(lab):
    """WAN-25; TR1 3.2.5.1: the wake-up service may be switched off and on again."""
    path = f"{ROOT}/objects/{_OBJECTS['settings']}/attributes"
    seen = []
    lab.facilities.settings_changed = lambda old, new: seen.append((old, new))
    assert lab.ask("PUT", f"{path}/4", write_attribute(4, Data("boolean", False))).status == 204
    assert seen[0][1].wakeup_enabled is False
    assert lab.ask("PUT", f"{path}/4", write_attribute(4, text("no"))).status == 422
    assert (
        lab.ask("PUT", f"{path}/3", write_attribute(3, Data("double-long-unsigned", 1))).status
        == 405
    )
    clock = f"{ROOT}/objects/{_OBJECTS['clock']}/attributes"
    assert lab.ask("PUT", f"{clock}/-1", write_attribute(-1, text("NTP-HTTPS"))).status == 204
    assert lab.ask("PUT", f"{clock}/-1", write_attribute(-1, text("DCF77"))).status == 422
    assert (
        lab.ask("PUT", f"{clock}/-2", write_attribute(-2, Data("double-long-unsigned", 5))).status
        == 422
    )
    assert lab.device.administration.settings.time_method == "NTP-HTTPS"
    logged = [
        entry for entry in lab.device.logbooks.last("calibration") if entry.event == "EMU.162.3"
    ]
    assert len(logged) == 2


def test_logs_are_read_by_time_window_and_columns(shared):
    path = f"{ROOT}/objects/{_OBJECTS['system']}/attributes/2"
    rows = read_attribute_document(shared.ask("GET", path).body)[1].value
    assert [row.value[0].value for row in rows][:2] == [1, 2]
    one = read_attribute_document(
        shared.ask("GET", f"{path}?sa.fromidx=2&sa.count=1&sa.fromcol=3&sa.tocol=3").body
    )[1]
    assert one == array(structure(rows[1].value[2]))
    late = read_attribute_document(
        shared.ask("GET", f"{path}?q.fromtime=2099-01-01T00:00:00Z").body
    )[1]
    assert late == array()


def image_status(lab):
    answer = lab.ask("GET", f"{ROOT}/objects/{_OBJECTS['image']}/attributes/6")
    return read_attribute_document(answer.body)[1].value


def test_an_image_is_loaded_in_blocks_verified_and_activated(lab):
    """WAF1: load, verify, activate are separate; GW-80."""
    image = sign_package(package_of(version="v3.88.0-cc"), lab.pki.manufacturer.signer())
    path, kind = "/smgw/firmware/fw-1.img", {"content-type": OCTETS}
    assert lab.ask("GET", path).status == 404
    assert (
        lab.ask(
            "PUT", path, image[:5000], kind | {"content-range": f"bytes 0-4999/{len(image)}"}
        ).status
        == 206
    )
    assert dict(lab.ask("GET", path).headers)["range"] == "bytes=0-4999"
    gap = lab.ask(
        "PUT",
        path,
        image[6000:],
        kind | {"content-range": f"bytes 6000-{len(image) - 1}/{len(image)}"},
    )
    assert gap.status == 416
    rest = lab.ask(
        "PUT",
        path,
        image[5000:],
        kind | {"content-range": f"bytes 5000-{len(image) - 1}/{len(image)}"},
    )
    assert rest.status == 201
    methods = f"{ROOT}/objects/{_OBJECTS['image']}/methods"
    activate = write_request(structure(text("fw-1.img"), text("")))
    assert lab.ask("POST", f"{methods}/4", activate).status == 500
    assert image_status(lab) == 1
    wrong = write_request(structure(text("fw-1.img"), octets(bytes(32))))
    assert lab.ask("POST", f"{methods}/3", wrong).status == 500
    assert image_status(lab) == 4 and lab.updater.record.faulty_since is not None
    right = write_request(structure(text("fw-1.img"), octets(hashlib.sha256(image).digest())))
    assert lab.ask("POST", f"{methods}/3", right).status == 200
    assert lab.ask("POST", f"{methods}/4", activate).status == 200
    assert image_status(lab) == 5 and lab.updater.record.faulty_since is None
    assert lab.updater.on_deadline(lab.facilities.now()) is Due.RESTART
    assert lab.updater.record.expected == "v3.88.0-cc"
    assert lab.ask("PUT", "/smgw/firmware/../x", b"x", kind).status == 404
    assert lab.ask("PUT", path, b"x", {"content-type": "text/plain"}).status == 415


# -- keys --------------------------------------------------------------------------------------------


def renew(lab, **changes):
    methods = f"{ROOT}/objects/{_OBJECTS['security']}/methods"
    assert lab.ask("POST", f"{methods}/4").status == 200
    request = read_response(lab.ask("POST", f"{methods}/5").body).data.value
    issued = lab.pki.answer(request)
    documents = changes.get("documents", [*(der(issued[p]) for p in Purpose), der(lab.pki.sub_ca)])
    if callable(documents):
        documents = documents(issued)
    return lab.ask("POST", f"{methods}/6", write_request(array(*(octets(d) for d in documents))))


def test_new_certificates_become_active_all_at_once(lab):
    """H03, H24, HSM-02: index 0 stays, the new set is used."""
    old = {p: lab.keys.certificate(p) for p in Purpose}
    switched = []
    lab.keys.on_switch = lambda: switched.append(lab.keys.generation)
    assert renew(lab).status == 200
    assert lab.keys.generation == 1 and switched == [1]
    assert lab.keys.generations() == [0, 1]
    assert {p: lab.keys.certificate(p, 0) for p in Purpose} == old
    assert renew(lab).status == 200
    assert lab.keys.generation == 2


WRONG_SETS = {
    "one is missing": lambda lab, issued: [der(issued[Purpose.TLS]), der(issued[Purpose.SIG]), der(lab.pki.sub_ca)],
    "no issuer": lambda lab, issued: [der(issued[p]) for p in Purpose],
    "an issuer of another PKI": lambda lab, issued: [*(der(issued[p]) for p in Purpose), der(TestPki(world(START).datetime()).sub_ca)],
    "certificates of somebody else": lambda lab, issued: [
        *(der(lab.pki.participant(Role.SMGW, "ETHE0399000009").identity(p).certificate) for p in Purpose), der(lab.pki.sub_ca)],
    "noise": lambda lab, issued: [b"\x30\x00"] * 4,
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_SETS)
def test_a_wrong_set_leaves_the_old_one_active(lab, name):
    """W26: the gateway keeps its certificates."""
    response = renew(lab, documents=lambda issued: WRONG_SETS[name](lab, issued))
    assert response.status == 500
    assert read_response(response.body).data.value
    assert lab.keys.generation == 0


@pytest.mark.parametrize("cut", range(1, 6))
def test_a_power_cut_at_any_step_of_the_change_leaves_one_complete_set(lab, cut):
    """W25: cut before each write; Guetesiegel or Wirk, never none."""
    from wan.admin import KeyRing

    lab.keys.generate()
    issued = lab.pki.answer(lab.keys.request())
    documents = [*(der(issued[p]) for p in Purpose), der(lab.pki.sub_ca)]
    steps = 0

    class Cut(SmgwError):
        pass

    class Module:
        def __getattr__(self, name):
            return getattr(lab.keys.module, name)

        def write_file(self, name, data):
            step()
            lab.keys.module.write_file(name, data)

    def step():
        nonlocal steps
        steps += 1
        if steps == cut:
            raise Cut("power")

    ring = KeyRing(Module(), lab.device.store)
    store = lab.device.store
    try:
        with store.transaction():
            ring.install(documents, world(START).datetime())
            step()
    except Cut:
        pass
    after = KeyRing(lab.keys.module, store)
    assert after.generation == (0 if cut <= 5 else 1)
    files = set(lab.keys.module.files())
    assert files.issuperset(wan_certificate(p, after.generation) for p in Purpose)
    assert ring.generate() == 1, "the change can begin again"
    again = lab.pki.answer(after.request())
    after.install([*(der(again[p]) for p in Purpose), der(lab.pki.sub_ca)], None)
    assert after.generation == 1


def test_decommissioning_ends_every_contract_and_accepts_no_more(lab):
    """GW-28, H30."""
    household(lab)
    method = f"{ROOT}/objects/{_OBJECTS['gateway']}/methods/2"
    assert lab.ask("POST", method, write_request(text("ETHE0399000009"))).status == 422
    assert lab.ask("POST", method, write_request(text(GATEWAY))).status == 200
    point = lab.device.config.usage_point[0]
    assert point.finish is not None
    assert lab.device.administration.config.usage_point[0] == point
    assert put(lab, "consumer", Consumer("new", "new.sm"))[0].status == 500


def test_a_profile_file_of_the_factory_can_be_replaced_and_removed(tmp_path):
    lab = AdminLab(tmp_path, CONFIG + f'[[meter]]\nid = "{METER}"\n')
    response, path = put(lab, "meter", Meter(METER, unit=27))
    assert response.status == 204
    assert lab.device.config.meter[0].unit == 27
    assert lab.ask("DELETE", path).status == 204
    assert lab.device.config.meter == ()
    assert lab.device.administration.config.meter == ()
    assert put(lab, "meter", METER_PROFILE)[0].status == 201


def test_a_factory_profile_can_come_back_under_another_container(tmp_path):
    factory = f"""{CONFIG}
[[meter]]
id = "{METER}"
[[consumer]]
login = "consumer1"
user_id = "consumer1.sm"
[[usage_point]]
name = "p"
taf = 7
consumer = "consumer1"
meters = ["{METER}"]
start = "{START}"
"""
    lab = AdminLab(tmp_path, factory)
    assert lab.ask("DELETE", "/smgw/cosem/ldevs/p.sm/containers/01005e318027").status == 204
    point = UsagePoint("p", 1, "consumer1", (METER,), START, emts=())
    assert put(lab, "usage-point", point)[0].status == 201
    assert lab.device.config.usage_point == (point,) == lab.device.administration.config.usage_point


def test_parameters_in_the_log_hold_no_certificate_and_no_secret(lab):
    put(lab, "wan", emt_profile(lab))
    entry = next(e for e in lab.device.logbooks.last("calibration") if e.event == "EMU.162.0")
    shown = json.loads(entry.message.partition(": ")[2])
    assert len(shown["tls"]) == 16
