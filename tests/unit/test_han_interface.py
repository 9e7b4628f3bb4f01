"""IF_GW_CON and the pages, without sockets: requests in, responses out."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest
from fuzz import fuzz
from hypothesis import given
from hypothesis import strategies as st
from support import device_in_memory, world
from two_consumers import CONFIG, START, run

from han.interface import HanInterface, HanMaterial
from han.m2m.service import M2mService
from smgw_emu.core.contracts import ConsumerView
from smgw_emu.core.instants import DAY, MINUTE, SECOND
from smgw_emu.core.selftest import SelfTestAnswer, SelfTestReply
from smgw_emu.transport.http import Request, Response, Session

JSON = {"content-type": "application/json"}
CERTIFICATE = b"a client certificate"
FINGERPRINT = hashlib.sha256(CERTIFICATE).hexdigest()
TAF7 = "01005e318027.taf7-1.sm"
TAF1 = "01005e318021.taf1-1.sm"
MATERIAL = HanMaterial(b"-----BEGIN", ((0, b"\x30\x01", b"\x30\x02"),), lambda _point: b"\x30\x82")


class Desk:
    """Stands for the self-test: answers what a test tells it to."""

    def __init__(self) -> None:
        self.reply = SelfTestReply(SelfTestAnswer.STARTED)

    def request(self, _now, _reason):
        return self.reply


def make(config=CONFIG, **sections):
    config = config.replace(
        'user_id = "anna.sm"', f'user_id = "anna.sm"\ncertificates = ["{FINGERPRINT}"]'
    )
    device = device_in_memory(config)
    for name, changes in sections.items():
        part = msgspec.structs.replace(getattr(device.profile, name), **changes)
        device.profile = msgspec.structs.replace(device.profile, **{name: part})
    device.power_on(START)
    desk = Desk()
    interface = HanInterface(device, MATERIAL, desk, lambda n: b"\x01" * n, lambda: 0)
    return device, interface, desk


@pytest.fixture(scope="module")
def day():
    """A gateway after one day, asked by Anna with her certificate."""
    device, interface, desk = make()
    run(device, 24)
    return device, interface, desk


def send(interface, method, target, body=b"", headers=JSON, session=None, now=START) -> Response:
    session = session or Session(CERTIFICATE)
    return interface.handle(Request(method, target, dict(headers), body), session, now)


def post(interface, now=START, **parameters) -> Response:
    body = json.dumps({key.replace("_", "-"): value for key, value in parameters.items()})
    return send(interface, "POST", "/smgw/m2m/anna.sm/json", body.encode(), now=now)


def ask(interface, now=START, **parameters) -> dict:
    response = post(interface, now, **parameters)
    assert response.status == 200, parameters
    return json.loads(response.body)


def keys_sorted(value) -> bool:
    if isinstance(value, dict):
        return list(value) == sorted(value) and all(map(keys_sorted, value.values()))
    return all(map(keys_sorted, value)) if isinstance(value, list) else True


def scalars(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from scalars(item)
    elif isinstance(value, list):
        for item in value:
            yield from scalars(item)
    else:
        yield value


# -- entry point -----------------------------------------------------------------------------


@pytest.mark.req("HAN-13")
@pytest.mark.req("HAN-N01")
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/smgw/m2m", "/smgw/m2m/"])
def test_the_root_redirects_relatively(day, method, path):
    """307 for GET and POST, with and without slash, to /smgw/m2m/<userid>/json, empty body."""
    response = send(day[1], method, path)
    assert (response.status, response.body) == (307, b"")
    assert dict(response.headers)["location"] == "/smgw/m2m/anna.sm/json"


@pytest.mark.req("HAN-20")
def test_the_plain_address_leads_to_the_start_page(day):
    """A browser that opens https://<ip>/ lands on its own page."""
    response = send(day[1], "GET", "/")
    assert dict(response.headers)["location"] == "/smgw/cust/anna.sm/start"


@pytest.mark.req("HAN-12")
@pytest.mark.req("TR-03109-1 v1.0 3.4.4.1")
@pytest.mark.parametrize(
    "path", ["/", "/smgw/m2m", "/smgw/m2m/anna.sm/json", "/smgw/cust/anna.sm/start", "/x"]
)
@pytest.mark.parametrize("certificate", [None, b"unknown certificate"])
def test_nothing_but_a_challenge_before_login(day, path, certificate):
    """No certificate, or an unknown one, falls back to digest: 401 with a challenge (C04)."""
    response = send(day[1], "GET", path, session=Session(certificate))
    assert response.status == 401
    assert dict(response.headers)["www-authenticate"].startswith("Digest ")
    assert response.body == b""


@pytest.mark.req("HAN-N02")
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/smgw/m2m/anna.sm/json", 405),
        ("PUT", "/smgw/m2m/anna.sm/json", 405),
        ("DELETE", "/smgw/m2m", 405),
        ("POST", "/", 405),
        ("POST", "/smgw/cust/anna.sm/start", 405),
        ("GET", "/smgw/cust/bert.sm/start", 404),
        ("POST", "/smgw/m2m/bert.sm/json", 404),
        ("GET", "/nothing", 404),
        ("GET", "/smgw/m2m/anna.sm/json/", 404),
        ("GET", "/smgw/cust/anna.sm/../bert.sm/start", 404),
    ],
)
def test_paths_and_methods(day, method, path, status):
    """404 for paths that do not exist for this consumer, 405 for other methods (C11)."""
    assert send(day[1], method, path).status == status


@pytest.mark.req("HAN-N07")
@pytest.mark.parametrize(
    ("value", "strict", "status"),
    [
        ("application/json", True, 200),
        ("application/json; charset=utf-8", True, 400),
        ("application/json; charset=utf-8", False, 200),
        ("text/plain", False, 400),
        ("", True, 400),
    ],
)
def test_content_type(value, strict, status):
    """Exactly application/json in the default profile (C12)."""
    _, interface, _ = make(http={"strict_content_type": strict})
    body = b'{"method":"smgw-info"}'
    headers = {"content-type": value} if value else {}
    assert send(interface, "POST", "/smgw/m2m/anna.sm/json", body, headers).status == status


# -- methods ---------------------------------------------------------------------------------


@pytest.mark.req("HAN-N04")
@pytest.mark.parametrize(
    "call",
    [
        {"method": "smgw-info"},
        {"method": "user-info"},
        {"method": "usage-point-info", "usage_point_id": TAF1},
        {"method": "readings", "usage_point_id": TAF7, "database": "origin", "last_reading": True},
        {"method": "log"},
    ],
)
def test_answers_are_compact_sorted_and_all_strings(day, call):
    """Method and version always; keys in alphabetical order; every scalar a string or null."""
    response = post(day[1], **call)
    answer = json.loads(response.body)
    assert answer["method"] == call["method"]
    assert answer["version"] == "1.3.0"
    assert answer["elapsed-time"] == "0 miliseconds"
    assert keys_sorted(answer)
    assert {type(item) for item in scalars(answer)} <= {str, type(None)}
    assert b": " not in response.body.split(b'"message"')[0]
    assert dict(response.headers)["content-type"] == "application/json"


@pytest.mark.req("HAN-31")
def test_smgw_info(day):
    """Fields of A-2.2; HAN certificate as hex of PEM, WAN certificates as hex of DER."""
    _device, interface, _ = day
    info = ask(interface, method="smgw-info")["smgw-info"]
    assert info["smgw-id"] == "ethe0300004261"
    assert info["smgw-state"] == "a0000000"
    assert info["smgw-time"] == "2026-03-31T10:00:00"
    assert info["firmware-info"] == {
        "component": "Firmware",
        "hash": "ab" * 32,
        "version": "v3.87.0-cc",
    }
    assert info["certificates"]["han"]["tls"].startswith("2d2d2d2d2d")
    assert info["certificates"]["wan"] == [{"cert-index": "0", "sig": "3001", "sub-ca": "3002"}]


@pytest.mark.req("HAN-32")
def test_user_info(day):
    """Every contract with its billing periods, meters and states; nothing of another consumer."""
    points = ask(day[1], START + DAY, method="user-info")["user-info"]["usage-points"]
    assert [point["usage-point-id"] for point in points] == [TAF1, TAF7]
    first = points[0]
    assert first["billing-Periods"] == [
        {"end-time": "2026-03-31T22:00:00Z", "start-time": "2026-03-31T10:00:00Z"},
        {"end-time": "", "start-time": "2026-03-31T22:00:00Z"},
    ]
    assert first["meter"] == [{"meter-id": "1emu0000000001"}, {"meter-id": "1emu0000000002"}]
    assert (first["taf-number"], first["taf-state"]) == ("1", "running")
    assert first["on-demand-profile-configured"] == "true"
    assert len(first["metering-point-id"]) == 33
    assert first["end-time"] == ""


@pytest.mark.req("HAN-33")
@pytest.mark.parametrize(
    ("name", "databases"),
    [(TAF1, ["origin", "derived", "daily"]), (TAF7, ["origin", "daily"])],
)
def test_usage_point_info(day, name, databases):
    """Value lists of the use case with bare 12-hex OBIS, scaler and unit; hex profile; EMTs."""
    info = ask(day[1], method="usage-point-info", usage_point_id=name)["usage-point-info"]
    assert [item["database"] for item in info["databases"]] == databases
    for item in info["databases"]:
        assert item["channels"] == [{"obis": "0100010800ff", "scaler": "-1", "unit": "30"}]
    assert info["taf-profile"] == "3082"
    assert info["emts"] == ["emt1.sm"]
    assert info["transparency-bit"] == "false"
    only = ask(day[1], method="usage-point-info", usage_point_id=name, database="origin")
    assert [x["database"] for x in only["usage-point-info"]["databases"]] == ["origin"]


def window(begin: int, end: int) -> dict:
    return {"fromtime": (START + begin * SECOND).iso(), "totime": (START + end * SECOND).iso()}


def rows(answer) -> list[dict]:
    return [row for channel in answer["readings"]["channels"] for row in channel["readings"]]


@pytest.mark.req("HAN-35")
@pytest.mark.req("HAN-38")
def test_readings_carry_what_is_metrologically_relevant(day):
    """Status, times, owner, signature; status word = gateway word + meter word."""
    answer = ask(
        day[1], method="readings", usage_point_id=TAF7, database="origin", **window(0, 900)
    )
    (row,) = rows(answer)
    assert answer["readings"]["records"] == "1"
    assert answer["readings"]["channels"][0]["obis"] == "0100010800ff"
    assert (
        row.pop("signature")
        == (b"1emu0000000001.sm;0100010800ff;2026-03-31T10:15:00Z;2026-03-31T10:15:00Z")[:64].hex()
    )
    assert row == {
        "capture-time": "2026-03-31T10:15:00Z",
        "cosem-status": "a000000020000000",
        "meter-status": "20000000",
        "owner-number": "1emu0000000001.sm",
        "smgw-status": "a0000000",
        "target-time": "2026-03-31T10:15:00Z",
        "value": "1001",
    }


@pytest.mark.req("HAN-N03")
@given(st.integers(-10, 100), st.integers(0, 100), st.integers(-1, 1), st.integers(-1, 1))
def test_the_window_is_exclusive_below_and_inclusive_above(day, first, length, nudge, nudge2):
    """T > fromtime and t <= totime on the target time, ascending."""
    begin = first * 900 + nudge
    end = max(begin, begin + length * 900 + nudge2)
    answer = ask(
        day[1], method="readings", usage_point_id=TAF7, database="origin", **window(begin, end)
    )
    targets = [row["target-time"] for row in rows(answer)]
    expected = [(START + n * 15 * MINUTE).iso() for n in range(1, 97) if begin < n * 900 <= end]
    assert targets == expected
    assert answer["readings"]["records"] == str(len(expected))


@pytest.mark.req("HAN-N03")
@pytest.mark.parametrize(("seconds", "status"), [(31 * 86400, 200), (31 * 86400 + 1, 400)])
def test_31_days_are_the_longest_window(day, seconds, status):
    """C10: one second more is 400."""
    response = post(
        day[1], method="readings", usage_point_id=TAF7, database="origin", **window(0, seconds)
    )
    assert response.status == status


@pytest.mark.parametrize("last", [True, "true"])
@pytest.mark.parametrize(
    "channels",
    [
        None,
        [],
        ["0100010800ff"],
        [{"channel": "0100010800FF"}],
        [{"obis": "1-0:1.8.0"}],
        [{"channel": "0100010800ff.1emu0000000001.sm"}],
        [{"obis": "0100010800ff", "scaler": "-1", "unit": "30"}],
    ],
)
def test_every_spelling_of_last_reading_and_channels(day, last, channels):
    """Booleans or strings; objects keyed channel or obis, or bare strings; times ignored."""
    extra = {} if channels is None else {"channels": channels}
    answer = ask(
        day[1],
        method="readings",
        usage_point_id=TAF7,
        database="origin",
        last_reading=last,
        fromtime="nonsense",
        **extra,
    )
    assert [row["value"] for row in rows(answer)] == ["1096"]


def test_channels_that_do_not_exist_give_no_values(day):
    """A filter names nothing: no channels, no records."""
    answer = ask(
        day[1],
        method="readings",
        usage_point_id=TAF7,
        database="origin",
        channels=["0100020800ff"],
        **window(0, 900),
    )
    assert answer["readings"] == {"channels": [], "records": "0"}


def test_derived_and_daily_lists_are_owned_by_the_use_case(day):
    """owner-number is the TAF; the monthly value is the one at the end of the period."""
    for database in ("derived", "daily"):
        answer = ask(
            day[1], method="readings", usage_point_id=TAF1, database=database, **window(0, 86400)
        )
        (row,) = rows(answer)
        assert row["owner-number"] == "taf1-1.sm"
        assert row["target-time"] == "2026-03-31T22:00:00Z"


def test_a_list_the_use_case_does_not_have_is_empty(day):
    """Calculated exists for TAF2 only: an empty answer, no error (never 4xx in normal flows)."""
    answer = ask(
        day[1], method="readings", usage_point_id=TAF7, database="calculated", **window(0, 900)
    )
    assert answer["readings"]["records"] == "0"


@pytest.mark.req("HAN-N07")
def test_quirk_filtered_last_reading_is_empty():
    """One field unit answers a channel filter with last-reading by empty arrays."""
    device, interface, _ = make(m2m={"filtered_last_reading_empty": True})
    run(device, 1)
    answer = ask(
        interface,
        method="readings",
        usage_point_id=TAF7,
        database="origin",
        last_reading=True,
        channels=["0100010800ff"],
    )
    assert answer["readings"]["channels"] == [{"obis": "0100010800ff", "readings": []}]


@pytest.mark.parametrize(
    "call",
    [
        {"usage_point_id": TAF7, "database": "origin"},
        {"usage_point_id": TAF7, "database": "nonsense", "last_reading": True},
        {"usage_point_id": TAF7, "last_reading": True},
        {"usage_point_id": "01005e318027.taf7-2.sm", "database": "origin", "last_reading": True},
        {"usage_point_id": 7, "database": "origin", "last_reading": True},
        {"usage_point_id": TAF7, "database": "origin", "last_reading": 1},
        {"usage_point_id": TAF7, "database": "origin", "last_reading": "yes"},
        {"usage_point_id": TAF7, "database": "origin", "last_reading": True, "channels": "x"},
        {"usage_point_id": TAF7, "database": "origin", "last_reading": True, "channels": [1]},
        {
            "usage_point_id": TAF7,
            "database": "origin",
            "last_reading": True,
            "channels": ["0100010800ff"] * 257,
        },
        {"usage_point_id": TAF7, "database": "origin", **window(900, 0)},
        {"usage_point_id": TAF7, "database": "origin", "fromtime": "2026", "totime": "2027"},
    ],
)
def test_wrong_parameters_of_readings_are_400(day, call):
    """Missing, malformed, foreign: 400 each (C09)."""
    assert post(day[1], method="readings", **call).status == 400


@pytest.mark.req("HAN-34")
@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({}, 200),
        ({"fromtime": "2026-03-31T10:00:00Z"}, 200),
        ({"totime": "2026-03-31T10:00:00"}, 200),
        ({"fromtime": "2026-03-31T10:00:00Z", "totime": "2026-03-31T10:00:00Z"}, 200),
        ({"fromindex": 1}, 200),
        ({"fromindex": "2"}, 200),
        ({"count": "1500"}, 200),
        ({"fromindex": 1, "count": 1}, 200),
        ({"fromtime": "2026-03-31T10:00:00Z", "count": 5}, 200),
        ({"fromtime": "2026-03-31T10:00:00Z", "totime": "2026-04-30T10:00:00Z", "count": 5}, 200),
        ({"totime": "2026-03-31T10:00:00Z", "count": 5}, 400),
        ({"fromtime": "2026-03-31T10:00:00Z", "fromindex": 1}, 400),
        ({"count": 1501}, 400),
        ({"count": 0}, 400),
        ({"count": -1}, 400),
        ({"count": True}, 400),
        ({"count": 1.5}, 400),
        ({"count": "١"}, 400),
        ({"fromindex": "x"}, 400),
        ({"fromtime": 5}, 400),
    ],
)
def test_log_parameters(day, parameters, status):
    """The eight allowed combinations, numbers as numbers or strings; everything else is 400."""
    assert post(day[1], method="log", **parameters).status == status


@pytest.mark.req("HAN-34")
def test_log_entries(day):
    """Contiguous ascending index, syslog-like level, outcome digit, logical names."""
    log = ask(day[1], method="log", count=3)["log"]
    assert log["records"] == "3"
    assert [entry["index"] for entry in log["entries"]] == ["1", "2", "3"]
    entry = log["entries"][1]
    assert (entry["vendor-id"], entry["event-id"], entry["event-sub-id"]) == ("THE", "19013", "0")
    assert (entry["level"], entry["outcome"], entry["version"]) == ("6", "0", "1")
    assert entry["user-identity"] == "01005e318011.anna.sm"
    following = ask(day[1], method="log", fromindex="4", count=1)["log"]["entries"]
    assert following[0]["index"] == "4"


def test_log_levels_in_the_document_dialect():
    """GW-N12: the table of the interface description counts Info 1 to Alert 4."""
    _, interface, _ = make(m2m={"log_level_dialect": "document"})
    assert ask(interface, method="log", count=1)["log"]["entries"][0]["level"] == "1"


@pytest.mark.req("HAN-36")
def test_self_test_answers():
    """200 when it starts, 403 while it runs and while locked."""
    _, interface, desk = make()
    assert set(ask(interface, method="self-test")) == {"elapsed-time", "method", "version"}
    for refused in (SelfTestAnswer.RUNNING, SelfTestAnswer.LOCKED):
        desk.reply = SelfTestReply(refused, 5)
        assert post(interface, method="self-test").status == 403


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"{",
        b'{"method":1}',
        b'{"method":"nothing"}',
        b"{}",
        b"\xff\xfe",
        b'{"method":"selfTest"}',
        b'{"a":' * 20_000,
        b'{"method":"log","count":' + b"9" * 5000 + b"}",
    ],
)
def test_bodies_that_are_no_request_are_400(day, body):
    """Not interpretable data is 400, whatever it is."""
    assert send(day[1], "POST", "/smgw/m2m/anna.sm/json", body).status == 400


_GOOD = [
    json.dumps(
        {
            "method": "readings",
            "usage-point-id": TAF7,
            "database": "origin",
            "channels": [{"channel": "0100010800ff"}],
            "last-reading": "true",
        }
    ).encode(),
    json.dumps({"method": "log", "fromtime": "2026-03-31T10:00:00Z", "count": "5"}).encode(),
    json.dumps({"method": "usage-point-info", "usage-point-id": TAF1}).encode(),
]


@fuzz(*_GOOD)
def test_arbitrary_bodies_get_a_documented_status(data):
    """10 000 bodies: 200, 400 or 403, never an exception."""
    device, _, desk = _FUZZED
    service = M2mService(device, MATERIAL, desk, lambda: 0)
    view = ConsumerView(device, device.config.consumer[0])
    request = Request("POST", "/smgw/m2m/anna.sm/json", dict(JSON), data)
    assert service.handle(request, view, START).status in {200, 400, 403}


_FUZZED = make()


# -- credentials and logs ----------------------------------------------------------------------


@pytest.mark.req("HAN-14")
@pytest.mark.parametrize(("mode", "status"), [("401", 401), ("empty-200", 200), ("silent", None)])
def test_a_wrong_password_is_logged_without_it(mode, status):
    """C05: 401, or the field's empty 200, or silence; entries in system and consumer log."""
    device, interface, _ = make(digest={"fail_mode": mode})
    challenge = send(interface, "GET", "/smgw/m2m", session=Session()).headers[0][1]
    nonce = challenge.split('nonce="')[1].split('"')[0]
    header = (
        f'Digest username="anna", realm="ethe0300004261", nonce="{nonce}", uri="/smgw/m2m",'
        ' qop=auth, nc=00000001, cnonce="x", response="hunter2hunter2"'
    )
    session = Session()
    for _ in range(12):
        response = send(
            interface, "GET", "/smgw/m2m", headers={"authorization": header}, session=session
        )
        assert (None if response is None else response.status) == status
    system = device.logbooks.entries("system")
    assert [e.event for e in system].count("EMU.30.1") == 2  # the 1st and the 10th
    assert "EMU.30.2" in [e.event for e in device.logbooks.entries("consumer", "anna")]
    assert "hunter2" not in repr(system) + repr(device.logbooks.entries("consumer", "anna"))


def test_a_login_is_logged_once_per_connection(day):
    """The access log names the method, not the secret."""
    device, interface, _ = make()
    session = Session(CERTIFICATE)
    for _ in range(3):
        send(interface, "GET", "/smgw/m2m", session=session)
    entries = [e for e in device.logbooks.entries("consumer", "anna") if e.event == "EMU.30.0"]
    assert [e.message for e in entries] == ["Anmeldung an der HAN-Schnittstelle mit Zertifikat"]


@pytest.mark.req("TR-03109-1 v1.0 3.4.2.2")
def test_the_system_log_names_no_consumer(day):
    """A technician reads the system log and must not see personal data."""
    device, interface, _ = day
    send(interface, "GET", "/smgw/m2m")
    text = " ".join(e.message + e.subject + e.user for e in device.logbooks.entries("system"))
    assert "anna" not in text and "bert" not in text


# -- pages -------------------------------------------------------------------------------------


@pytest.mark.req("HAN-21")
@pytest.mark.req("HAN-22")
@pytest.mark.req("HAN-26")
@pytest.mark.req("HAN-N08")
def test_the_start_page_shows_five_rows_and_no_readings(day):
    """Heading with en dashes, menu of exactly three items, system time in legal local time."""
    page = send(day[1], "GET", "/smgw/cust/anna.sm/start").body.decode()
    assert "Statusinformationen vom SMGW – ETHE0300004261 –" in page
    for text in (
        "Informationen über das SMGW",
        "SMGW-ID",
        "Hersteller",
        "Firmware-Version",
        "Status",
        "Systemzeit",
        "Theben Smart Energy GmbH",
        "31.03.2026 12:00",
        ">OK<",
    ):
        assert text in page
    assert page.count("<li>") == 3
    assert page.index("Startseite") < page.index("SMGW-Selbsttest") < page.index("Abmelden")
    assert "1096" not in page and "Wh" not in page


@pytest.mark.req("HAN-23")
@pytest.mark.req("HAN-24")
@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (SelfTestReply(SelfTestAnswer.STARTED), "Der Selbsttest wurde gestartet!"),
        (SelfTestReply(SelfTestAnswer.RUNNING), "Der Selbsttest wird momentan ausgeführt!"),
        (
            SelfTestReply(SelfTestAnswer.LOCKED, 596),
            'kann erst in <span id="wait">596</span> Sekunden wieder gestartet werden!',
        ),
    ],
)
def test_the_self_test_page(reply, text):
    """The three texts of the manual's figures, word for word."""
    _, interface, desk = make()
    desk.reply = reply
    assert text in send(interface, "GET", "/smgw/cust/anna.sm/selftest").body.decode()


@pytest.mark.req("HAN-25")
def test_logging_out_is_confirmed_and_logged(day):
    """Abmelden erfolgreich, the connection ends, the log has it."""
    device, interface, _ = make()
    response = send(interface, "GET", "/smgw/cust/anna.sm/logout")
    assert "Abmelden erfolgreich" in response.body.decode()
    assert response.close
    assert "EMU.30.3" in [e.event for e in device.logbooks.entries("consumer", "anna")]


@pytest.mark.req("HAN-N09")
def test_the_tr_2025_profile_announces_sha256():
    """Another profile, another behaviour, no other code."""
    config = CONFIG.replace("[gateway]", '[gateway]\nprofile = "tr-2025/default"')
    device = device_in_memory(config)
    device.power_on(world("2026-03-31T10:00:00Z"))
    interface = HanInterface(device, MATERIAL, Desk(), lambda n: b"\x01" * n, lambda: 0)
    challenge = send(interface, "GET", "/smgw/m2m", session=Session()).headers[0][1]
    assert "algorithm=SHA-256" in challenge
