"""A whole gateway on the virtual clock with real sockets and real TLS."""

from __future__ import annotations

import asyncio
import itertools
import time

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.x509 import load_der_x509_certificate
from support import PASSWORD, START, Lab, own_profile, run_virtual, world

FRONT = dict.fromkeys(
    ("pwr", "tls", "lmc", "wmt", "han", "han_activity", "cls", "cls_activity"), False
) | {"pwr": True, "han": True}

from smgw_emu.bench.consumer import HanClientError, client_context
from smgw_emu.core.errors import LocalProtocolError, SmgwError
from smgw_emu.core.instants import DAY, HOUR, MINUTE, SECOND
from smgw_emu.core.leds import BootPhase, SecureState
from smgw_emu.gateway import Gateway
from smgw_emu.lab.control import ControlServer
from smgw_emu.lab.demo import Household, checked_pass
from smgw_emu.transport.clock import SystemClock, VirtualClock, sleep


def test_the_checked_pass(tmp_path):
    """One day: meter bytes in, signed values out over TLS, self-test, log (GW-03)."""

    async def work(clock):
        household = Household(tmp_path / "g", clock)
        try:
            return await checked_pass(household)
        finally:
            await household.stop()

    summary = run_virtual(work)
    assert summary["lists"]["01005e318027.taf7-1.sm"] == {"origin": 96, "daily": 1}
    assert summary["polls"] == 96


@pytest.mark.req("HSM-04")
@pytest.mark.req("HSM-N03")
def test_reading_signatures_verify_with_the_certificate_of_smgw_info(home):
    """r||s over the documented input, checked with the SIG certificate and `cryptography` alone."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            await clock.advance(HOUR)
            async with lab.client() as client:
                info = (await client.call("smgw-info"))["smgw-info"]
                answer = await client.call(
                    "readings",
                    usage_point_id="01005e318027.taf7-1.sm",
                    database="origin",
                    fromtime=START,
                    totime=clock.now().iso(),
                )
                return info, answer["readings"]["channels"][0]

    info, channel = run_virtual(work)
    certificate = load_der_x509_certificate(bytes.fromhex(info["certificates"]["wan"][0]["sig"]))
    assert certificate.public_key().curve.name == "brainpoolP256r1"
    assert len(channel["readings"]) == 4
    for row in channel["readings"]:
        message = ";".join(
            [
                row["owner-number"],
                channel["obis"],
                row["target-time"],
                row["capture-time"],
                f"{int(row['value']) / 10:.1f}".removesuffix(".0"),
                "30",
                row["cosem-status"],
            ]
        ).encode()
        raw = bytes.fromhex(row["signature"])
        assert len(raw) == 64
        der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        certificate.public_key().verify(der, message, ec.ECDSA(hashes.SHA256()))


@pytest.mark.req("HW-11")
@pytest.mark.req("HW-12")
@pytest.mark.req("HW-N02")
def test_the_lamps_of_a_start_are_recorded_to_the_millisecond(home):
    """H01: PWR blinks 500 ms from power-up, steady after 60 s; edges on the recording sink."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            await clock.advance(2 * MINUTE)
            return list(lab.gateway.sink.edges), lab.gateway.lamps.phase

    edges, phase = run_virtual(work)
    assert phase is BootPhase.READY
    ms = [((at - world(START)) // 1_000_000, lamps.pwr) for at, lamps in edges]
    changes = [next(run) for _, run in itertools.groupby(ms, key=lambda edge: edge[1])]
    blinking = [at for at, _ in changes if at < 60_000]
    assert blinking == list(range(0, 60_000, 500))
    assert changes[-1][0] <= 60_000 and changes[-1][1] is True


def test_pwr_waits_for_a_self_test_longer_than_the_start(home):
    """A3: ready when the start self-test is done, even if it takes two minutes."""
    own_profile(home, "[self_test]\nduration_s = 120")

    async def work(clock):
        async with Lab(home, clock) as lab:
            await clock.advance(119 * SECOND)
            before = lab.gateway.lamps.phase
            await clock.advance(2 * SECOND)
            return before, lab.gateway.lamps.phase

    assert run_virtual(work) == (BootPhase.STARTING, BootPhase.READY)


@pytest.mark.req("GW-64")
def test_self_tests_at_start_and_after_24_hours(home):
    """H01, H22: the log has both."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            await clock.advance(DAY + MINUTE)
            return [
                e.message
                for e in lab.device.logbooks.entries("consumer", "consumer1")
                if e.event == "EMU.10.0"
            ]

    assert run_virtual(work) == [
        "Selbsttest gestartet (Systemstart)",
        "Selbsttest gestartet (automatisch)",
    ]


@pytest.mark.req("GW-67")
def test_a_changed_key_slot_fails_the_self_test(home):
    """The security module is really asked: an emptied slot shows in the result."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            (home / "hsm" / "GW_WAN_SIG_PRV_0.p8").write_bytes(b"broken")
            lab.gateway.hsm._memory._keys.clear()
            await clock.advance(5 * SECOND)
            return str(lab.gateway.running.self_test.last_result)

    assert "Sicherheitsmodul key slot GW_WAN_SIG_PRV_0 is damaged" in run_virtual(work)


async def _raw_tls(lab):
    port = lab.gateway.han_address[1]
    return await asyncio.open_connection("127.0.0.1", port, ssl=client_context())


REQUEST = b"GET /smgw/m2m HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.req("HAN-07")
def test_ten_minutes_of_silence_end_the_session(home):
    """C01: alive after 9:59, closed with close_notify after 10:01."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            reader, writer = await _raw_tls(lab)
            writer.write(REQUEST)
            assert b"401" in await reader.readuntil(b"\r\n\r\n")
            await clock.advance(599 * SECOND)
            assert not reader.at_eof() and lab.gateway.running.han.server.connections
            await clock.advance(2 * SECOND)
            assert await reader.read() == b""
            writer.close()

    run_virtual(work)


@pytest.mark.req("HAN-08")
def test_48_hours_end_a_session_that_is_kept_busy(home):
    """C02: asked every nine minutes it lives 48 h and not a minute longer."""

    async def work(clock):
        async with Lab(home, clock, interval=HOUR) as lab:
            reader, writer = await _raw_tls(lab)
            begin = clock.now()
            while clock.now() - begin < 48 * HOUR - 9 * MINUTE:
                writer.write(REQUEST)
                assert b"401" in await reader.readuntil(b"\r\n\r\n")
                await clock.advance(9 * MINUTE)
            assert not reader.at_eof()
            await clock.advance(9 * MINUTE)
            assert await reader.read() == b""
            assert clock.now() - begin <= 48 * HOUR + 9 * MINUTE
            writer.close()

    run_virtual(work)


@pytest.mark.req("HAN-25")
def test_logging_out_ends_the_digest_session(home):
    """The nonce is refused afterwards, without stale: a browser has to ask its user again."""

    async def work(clock):
        async with (
            Lab(home, clock) as lab,
            httpx.AsyncClient(
                base_url=lab.url,
                verify=client_context(),
                auth=httpx.DigestAuth("consumer1", PASSWORD),
            ) as client,
        ):
            first = await client.get("/smgw/cust/consumer1.sm/start")
            assert first.status_code == 200
            header = (await client.get("/smgw/cust/consumer1.sm/logout")).request.headers
            again = await client.get(
                "/smgw/cust/consumer1.sm/logout",
                auth=None,
                headers={"authorization": header["authorization"]},
            )
            return again.status_code, again.headers["www-authenticate"]

    status, challenge = run_virtual(work)
    assert status == 401
    assert "stale" not in challenge


@pytest.mark.req("HAN-11")
def test_a_certificate_logs_in_and_a_stranger_falls_back_to_digest(home, tmp_path):
    """HAN-12: the consumer's PKCS#12 is enough; another certificate gets 401, not a TLS failure."""
    from smgw_emu.bench.pki import issue_consumer_key

    stranger = tmp_path / "stranger.p12"
    stranger.write_bytes(issue_consumer_key("stranger", "pw").pkcs12)

    async def work(clock):
        async with Lab(home, clock) as lab:
            async with lab.client(with_certificate=True) as client:
                known = await client.call("user-info")
            context = client_context(None, (stranger, "pw"))
            async with httpx.AsyncClient(base_url=lab.url, verify=context) as client:
                unknown = await client.get("/smgw/m2m")
            return len(known["user-info"]["usage-points"]), unknown.status_code

    assert run_virtual(work) == (2, 401)


@pytest.mark.req("HAN-11")
def test_a_wrong_pkcs12_password_fails_at_the_client(home):
    """C15: nothing reaches the device."""
    with pytest.raises(HanClientError):
        client_context(None, (home / "consumer1.p12", "wrong"))


# -- damage and power --------------------------------------------------------------------------


@pytest.mark.req("SEC-40")
@pytest.mark.req("SEC-41")
def test_a_damaged_store_is_a_device_state_not_a_traceback(home):
    """Cyclic restart: no HAN, PWR never steady, the cause on the lab plane."""
    (home / "state.db").write_bytes(b"garbage" * 1000)

    async def work(clock):
        gateway = Gateway(home, clock)
        await gateway.power_on()
        state = (gateway.lamps.secure, gateway.han_address, gateway.running, gateway.cause)
        await clock.advance(5 * MINUTE)
        await gateway.power_off()
        return *state, list(gateway.sink.edges)

    secure, han, running, cause, edges = run_virtual(work)
    assert secure is SecureState.CYCLIC_RESTART
    assert han is None and running is None
    assert "damaged" in cause
    lit = [at for at, lamps in edges if lamps.pwr]
    assert all(b - a >= 500_000_000 for a, b in itertools.pairwise(lit))


def test_damage_while_running_stops_service_at_once(home):
    """A page that goes bad under a running device closes the HAN and shows the cause."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            await clock.advance(HOUR)
            lab.device.store._db.execute("DROP TABLE reading")
            await clock.advance(HOUR)
            return lab.gateway.lamps.secure, lab.gateway.cause, lab.gateway.han_address

    secure, cause, han = run_virtual(work)
    assert secure is SecureState.CYCLIC_RESTART
    assert "no such table" in cause
    assert han is None


def test_a_power_cut_and_a_restart_keep_every_value(home):
    """Values, logs and targets go on; nothing is registered twice."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            await clock.advance(3 * HOUR)
            await lab.gateway.power_off(orderly=False)
            await clock.advance(HOUR)
            assert lab.gateway.lamps.phase is BootPhase.OFF
            await lab.gateway.power_on()
            await clock.advance(HOUR)
            device = lab.device
            targets = [
                r.target.seconds
                for r in device.store.readings(
                    "origin",
                    "1emu0000000001",
                    900,
                    device.now(world("2000-01-01T00:00:00Z")),
                    device.now(clock.now()),
                )
            ]
            events = [e.event for e in device.logbooks.entries("system")]
            return targets, events

    targets, events = run_virtual(work)
    assert len(targets) == len(set(targets)) == 16
    assert events.count("EMU.1.0") == 2
    assert "EMU.2.0" not in events


@pytest.mark.req("HAN-05")
def test_without_a_consumer_nothing_listens(home):
    """C03, A9: no consumer configured, no connection possible."""
    text = (home / "config.toml").read_text()
    head, _, _ = text.partition("[[consumer]]")
    (home / "config.toml").write_text(head)

    async def work(clock):
        gateway = Gateway(home, clock)
        await gateway.power_on()
        try:
            return gateway.han_address, gateway.running is not None
        finally:
            await gateway.power_off()

    assert run_virtual(work) == (None, True)


def test_a_profile_and_a_catalogue_of_ones_own(home):
    """Quirks and log texts from files beside config.toml; a wrong file is named in one line."""
    from importlib import resources

    from smgw_emu.core.errors import ConfigError

    events = resources.files("smgw_emu.profiles").joinpath("events.toml").read_text("utf-8")
    (home / "log.toml").write_text(events.replace("EMU.1.0", "LAB.77.3"))
    own_profile(home, '[device]\nfirmware_version = "v9.99"\nmanufacturer = "Quirks AG"')
    config = (home / "config.toml").read_text()
    (home / "config.toml").write_text(
        config.replace("[clock]", 'event_catalogue = "log.toml"\n\n[clock]', 1)
    )

    async def work(clock):
        async with Lab(home, clock) as lab:
            async with lab.client() as client:
                info = await client.call("smgw-info")
                log = await client.call("log", count=1)
            maker = lab.device.profile.device.manufacturer
            version = info["smgw-info"]["firmware-info"]["version"]
            return version, log["log"]["entries"][0], maker

    version, entry, maker = run_virtual(work)
    assert maker == "Quirks AG"
    assert version == "v3.87.0-cc"  # the package says what runs, not the lab
    assert (entry["vendor-id"], entry["event-id"], entry["event-sub-id"]) == ("LAB", "77", "3")

    async def broken(clock):
        (home / "log.toml").write_text("")
        with pytest.raises(ConfigError, match="no event named"):
            await Gateway(home, clock).power_on()
        (home / "own.toml").write_text("[device]\nnonsense = 1")
        with pytest.raises(ConfigError, match="own.toml"):
            Gateway(home, clock)

    run_virtual(broken)


def test_a_port_in_use_is_a_clear_error(home):
    """One line that names the address."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            port = lab.gateway.han_address[1]
            config = (home / "config.toml").read_text()
            (home / "config.toml").write_text(config.replace("port = 0", f"port = {port}", 1))
            second = Gateway(home, clock)
            with pytest.raises(SmgwError, match=f"127.0.0.1:{port}"):
                await second.power_on()

    run_virtual(work)


# -- clocks --------------------------------------------------------------------------------------


@pytest.mark.req("SEC-N01")
def test_thirty_days_of_deadlines_pass_in_order_without_waiting():
    """A jump stops at every deadline, in order, at its exact time."""

    async def work(clock):
        seen = []
        begin = clock.now()
        for hours in (500, 1, 720, 3):
            when = begin + hours * HOUR
            clock.call_at(when, lambda when=when: seen.append((when, clock.now())))
        cancelled = clock.call_at(begin + HOUR, lambda: seen.append("never"))
        cancelled.cancel()
        await clock.advance(30 * DAY)
        assert clock.now() == begin + 30 * DAY
        return seen

    started = time.monotonic()
    seen = run_virtual(work)
    assert [a for a, _ in seen] == sorted(a for a, _ in seen)
    assert all(a == b for a, b in seen) and len(seen) == 4
    assert time.monotonic() - started < 30


def test_speed_pause_and_hold():
    """A factor runs timers early, a pause stops them, a hold stops a jump."""

    async def work(clock):
        clock.set_factor(3600)
        begin = clock.now()
        await sleep(clock, HOUR)  # one real second at this speed
        assert clock.now() - begin >= HOUR
        clock.set_factor(0)
        still = clock.now()
        await asyncio.sleep(0.01)
        assert clock.now() == still
        with clock.hold():
            jump = asyncio.create_task(clock.advance(HOUR))
            await asyncio.sleep(0.02)
            assert not jump.done()
            with pytest.raises(LocalProtocolError):
                await clock.advance(1)
        await jump
        assert clock.now() == still + HOUR
        for wrong in (-1, float("nan"), 1e9):
            with pytest.raises(LocalProtocolError):
                clock.set_factor(wrong)

    run_virtual(work)


def test_the_system_clock_is_wall_time_and_a_plain_loop_cannot_jump():
    """SystemClock follows the host; jumping needs the idle-aware loop."""

    async def work():
        loop = asyncio.get_running_loop()
        clock = SystemClock(loop)
        assert abs(clock.now().ns - time.time_ns()) < SECOND
        fired = loop.create_future()
        clock.call_at(clock.now() + 1_000_000, lambda: fired.set_result(True))
        assert await asyncio.wait_for(fired, 5)
        with pytest.raises(LocalProtocolError):
            await VirtualClock(loop).advance(1)

    asyncio.run(work())


# -- control endpoint ------------------------------------------------------------------------------


@pytest.mark.req("SEC-51")
def test_the_control_endpoint(home):
    """Health, state, lamps, logs, clock and power, from outside the process's own objects."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            control = ControlServer(lab.gateway, "127.0.0.1", 0)
            url = await control.start()
            try:
                async with httpx.AsyncClient(base_url=url, timeout=60) as lab_client:
                    return await _drive(lab_client, clock)
            finally:
                await control.stop()

    async def _drive(client, clock):
        assert (await client.get("/health")).json()["status"] == "ok"
        moved = (await client.post("/clock", json={"advance_s": 3600})).json()
        assert moved["world_time"] == "2026-03-31T11:00:00Z"
        state = (await client.get("/state")).json()
        assert state["phase"] == "ready" and state["readings"] == 4
        assert state["han_key"] == "security module"
        assert state["lines"][0]["damaged"] == 0
        assert "password" not in str(state) and "ha1" not in str(state)
        lamps = (await client.get("/leds", params={"count": 5})).json()
        assert lamps["leds"] == FRONT
        assert len(lamps["edges"]) == 5
        log = (await client.get("/logs/consumer", params={"reader": "consumer1"})).json()
        assert log["entries"][0]["event"] == "EMU.1.0"
        assert (await client.get("/logs/nothing")).status_code == 400
        for wrong in ({"speed": -1}, {"advance_s": -1}, {"warp": 9}, {"speed": "x"}):
            assert (await client.post("/clock", json=wrong)).status_code == 400
        assert (await client.post("/clock", json={"speed": 60})).json()["speed"] == 60
        assert (await client.post("/clock", json={"pause": True})).json()["speed"] == 0
        assert (await client.post("/clock", json={"pause": False})).json()["speed"] == 60
        assert (await client.post("/clock", json={"speed": 0})).json()["speed"] == 0
        off = (await client.post("/power", json={"action": "cut"})).json()
        assert (off["phase"], off["han"]) == ("off", None)
        assert (await client.get("/logs/system")).status_code == 400
        on = (await client.post("/power", json={"action": "on"})).json()
        assert on["phase"] == "starting" and on["han"]
        page = await client.post(
            "/clock", json={"speed": 9}, headers={"origin": "https://x.example"}
        )
        assert page.status_code == 400
        wrong_host = await client.get("/health", headers={"host": "evil.example"})
        assert wrong_host.status_code == 400
        assert (await client.post("/clock", content=b"x" * 100_000)).status_code == 400
        return True

    assert run_virtual(work)


@pytest.mark.req("SEC-20")
@pytest.mark.req("SEC-22")
@pytest.mark.req("SEC-23")
def test_the_lab_can_make_the_device_time_invalid_and_valid_again(home):
    """Secure State Measurement: values marked, no lamp, logged; left as soon as time is valid."""

    async def work(clock):
        async with Lab(home, clock) as lab:
            control = ControlServer(lab.gateway, "127.0.0.1", 0)
            url = await control.start()
            await clock.advance(HOUR)
            states = []
            async with httpx.AsyncClient(base_url=url, timeout=60) as client:
                for order in (
                    {"device_valid": False, "device_drift_ppb": 50_000, "advance_s": 1800},
                    {
                        "device_valid": True,
                        "device_offset_ms": 250,
                        "device_drift_ppb": 0,
                        "advance_s": 1800,
                    },
                ):
                    assert (await client.post("/clock", json=order)).status_code == 200
                    states.append((await client.get("/state")).json())
                for wrong in ({"device_drift_ppb": 10**12}, {"device_offset_ms": 10**16}):
                    assert (await client.post("/clock", json=wrong)).status_code == 400
            await control.stop()
            async with lab.client() as client:
                answer = await client.call(
                    "readings",
                    usage_point_id="01005e318027.taf7-1.sm",
                    database="origin",
                    fromtime=START,
                    totime=clock.now().iso(),
                )
            rows = answer["readings"]["channels"][0]["readings"]
            return states, [row["smgw-status"] for row in rows]

    (invalid, valid), words = run_virtual(work)
    assert (invalid["secure_state"], invalid["device_time_valid"]) == ("measurement", False)
    assert invalid["leds"] == FRONT
    assert (valid["secure_state"], valid["deviation_ms"]) == ("normal", 250)
    assert words == ["a0000000"] * 4 + ["a0400000"] * 2 + ["a0000000"] * 2


def test_the_control_endpoint_refuses_other_addresses(home):
    """Loopback only, whatever the configuration says."""
    from smgw_emu.core.errors import ConfigError

    async def work(clock):
        gateway = Gateway(home, clock)
        for host in ("0.0.0.0", "192.0.2.1", "example.com"):
            with pytest.raises(ConfigError, match="loopback"):
                ControlServer(gateway, host, 0)
        ControlServer(gateway, "localhost", 0)

    run_virtual(work)
