"""The WAN lives: commissioning, deliveries, faults, on the virtual clock with real sockets and TLS."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import ssl
from datetime import timedelta

import msgspec
import pytest
from support import START, own_profile, run_virtual, world
from wan_lab import GATEWAY, METER, run_lab, wan_lab

from secure_state.machine import Cause
from smgw_emu.bench.gwa import GatewayError
from smgw_emu.bench.gwa.commission import Commissioning
from smgw_emu.bench.pki import Role, TestPki, der
from smgw_emu.bench.wakeup import wakeup_packet
from smgw_emu.core.config import Consumer, Link
from smgw_emu.core.errors import SmgwError
from smgw_emu.core.ids import DeviceId
from smgw_emu.core.instants import DAY, HOUR, MINUTE, SECOND, DeviceTime
from smgw_emu.core.leds import AdminChannel
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import HanProfile, Technician
from smgw_emu.gateway import Gateway
from smgw_emu.transport.clock import sleep
from wan.channel import ChannelState
from wan.cosem.data import Data

CONTRACT = "01005e318027.taf7-1.sm"


def management(lab):
    return next(line for line in lab.wan.lines.values() if line.profile.scenario == "MANAGEMENT")


def deliveries(lab):
    return [row["contract"] for row in lab.emt.store.deliveries()]


def lamp_edges(lab):
    return [lamps.tls for _, lamps in lab.gateway.sink.edges]


# -- happy paths -----------------------------------------------------------------------------------


def test_commissioning_from_the_factory_to_contracts(tmp_path):
    """H02, H03, H04, H05, H08; GW-22 to GW-24, WAN-02, WAN-03, WAN-08, HW-15 to HW-17."""

    async def work(lab):
        assert lab.device.config.consumer == () and lab.device.config.meter == ()
        assert lab.gateway.han_address is None, "no consumer, no HAN (C03)"
        await lab.until(lambda: bool(lab.gwa.sessions))
        assert lab.gateway.lamps.channel is AdminChannel.GUETESIEGEL
        assert lab.device.clock.valid, "time came first (TR1 3.2.6.3.4)"
        opened = [e.message for e in lab.log() if "aufgebaut" in e.message]
        assert "NTP-TLS" in opened[0] and "MANAGEMENT" in opened[1]
        await lab.commission()
        assert lab.gateway.lamps.channel is AdminChannel.WIRK
        assert lab.gateway.lamps.synchronised
        assert lab.gateway.han_address is not None
        assert lab.gwa.registry.device(lab.id).state == "commissioned"
        keys = lab.gateway.running.facilities.keys
        assert keys.generations() == [0, 1], "index 0 stays (HSM-02)"
        assert {"start", "time-valid", "certificates-installed", "meter-paired"} <= {
            event["name"] for event in lab.events()
        }

    run_lab(tmp_path, work)


def test_a_strict_security_module_serves_every_channel(tmp_path):
    """HSM-N01, figures F28 and F30: ephemeral pairs and message keys inside, from first contact on."""

    async def work(lab):
        await lab.commission()
        session = await lab.session()
        await lab.market.drive(session.read_now(lab.device.config.usage_point[0].name))
        await lab.until(lambda: lab.emt.received == 1, 60)
        names = {entry.command for entry in lab.gateway.hsm.log.since(0)}
        assert "GENERAL AUTHENTICATE" in names and lab.gateway.key_in_module

    run_lab(tmp_path, work, strict_module=True)


def test_a_day_of_quarter_hours_is_pushed_at_local_midnight(tmp_path):
    """H10, WAN-50, GW-43: 96 values, BSI.16001.0 in the consumer's log."""

    async def work(lab):
        await lab.commission()
        await lab.clock.advance(2 * DAY)
        taf7 = [row for row in lab.emt.store.deliveries() if row["contract"] == CONTRACT]
        assert [row["count"] for row in taf7] == [96, 96]
        assert lab.emt.store.quality()["measured"] == 2 * 96 + 1
        assert not lab.emt.store.findings() and not lab.emt.refused
        logged = [
            e
            for e in lab.device.logbooks.last("consumer", "consumer1", 500)
            if e.event == "BSI.16001.0"
        ]
        assert len(logged) == 3
        first = next(entry for entry in logged if entry.subject == CONTRACT)
        assert "Es wurden 96 Messwerte" in first.message
        assert first.destination.startswith("https://")

    run_lab(tmp_path, work, start="2026-03-30T22:00:00Z", interval=5 * MINUTE)


@pytest.mark.parametrize(
    ("start", "count"), [("2026-03-28T23:00:00Z", 92), ("2026-10-24T22:00:00Z", 100)]
)
def test_days_of_the_clock_change_have_92_and_100_quarter_hours(tmp_path, start, count):
    """H11."""

    async def work(lab):
        await lab.commission()
        await lab.clock.advance(26 * HOUR)
        assert [r["count"] for r in lab.emt.store.deliveries() if r["contract"] == CONTRACT] == [
            count
        ]

    run_lab(tmp_path, work, start=start, interval=5 * MINUTE)


def test_two_market_participants_get_their_own_sealed_copies(tmp_path):
    """H15, GW-48, WAN-N07; removing one stops that one only (W13)."""

    async def work(lab):
        from smgw_emu.bench.emt import MarketParticipant

        pki = lab.market.pki
        second = MarketParticipant(
            pki, pki.participant(Role.EMT, "emt2"), lab.clock, lab.emt.profile
        )
        await second.start()
        begin = lab.clock.now().seconds // 900 * 900
        start = DeviceTime.from_seconds(begin).iso()
        point = UsagePoint("taf7-1", 7, "consumer1", (METER,), start, emts=("emt1.sm", "emt2.sm"))
        suite = {"suite": "CBC-CMAC"}
        await lab.commission(
            participants=[lab.emt.wan_profile(), second.wan_profile(**suite)], points=[point]
        )
        await lab.clock.advance(DAY)
        assert second.store.values(CONTRACT) == lab.emt.store.values(CONTRACT) != []
        pki.revoke(lab.emt.identity.tls.certificate)
        session = await lab.session()
        only = msgspec.structs.replace(point, emts=("emt2.sm",))
        await lab.market.drive(session.put_profile("usage-point", only))
        await lab.market.drive(session.delete_profile("wan", lab.emt.wan_profile()))
        await lab.clock.advance(DAY)
        assert (lab.emt.received, second.received) == (1, 2)
        await second.stop()

    run_lab(tmp_path, work, interval=5 * MINUTE)


def test_grid_data_under_a_pseudonym_goes_through_the_administrator(tmp_path):
    """TR1 3.2.4.3: no id of gateway or meter; the GWA checks and removes the signature."""

    async def work(lab):
        begin = lab.clock.now().seconds // 900 * 900
        start = DeviceTime.from_seconds(begin).iso()
        point = UsagePoint("taf7-9", 7, "consumer1", (METER,), start, pseudonym="grid-0815")
        await lab.commission(points=[point])
        await lab.clock.advance(DAY)
        assert len(lab.gwa.forwarded) == 1
        from wan.cms.message import open_signed

        grid = lab.gwa.forwarded[0]
        plain = open_signed(grid.envelope, b"", lab.emt.identity.opener()).content.decode().lower()
        assert lab.id.lower() not in plain and METER.lower() not in plain and "grid-0815" in plain
        assert lab.emt.received == 1 and not any(
            "INFO-REPORT" in e.message for e in lab.log() if "aufgebaut" in e.message
        )

    run_lab(tmp_path, work, interval=5 * MINUTE)


def test_a_spontaneous_reading_is_delivered_once_and_changes_no_profile(tmp_path):
    """H14, GW-45."""

    async def work(lab):
        await lab.commission()
        before = lab.device.config
        session = await lab.session()
        point = before.usage_point[0]
        assert await lab.market.drive(session.read_now(point.name)) == 1
        await lab.until(lambda: lab.emt.received == 1)
        assert len(lab.emt.store.values()) == 1
        assert lab.device.config == before

    run_lab(tmp_path, work)


def test_wake_up_opens_management_only_if_it_is_down(tmp_path):
    """H16, H17, W01, WAN-04 to WAN-06: one channel, replays do nothing."""

    async def work(lab):
        await lab.commission()
        lab.market.wakeup_known(lab.gateway)
        session = await lab.session()
        quiet = msgspec.structs.replace(
            lab.device.config.wan_profile("MANAGEMENT"), keepalive=False
        )
        await lab.market.drive(session.put_profile("wan", quiet))
        await lab.clock.advance(5 * SECOND)
        lab.gwa.sessions[lab.id].caller.close()
        await lab.clock.advance(MINUTE)
        assert management(lab).state is ChannelState.CLOSED and not lab.gwa.sessions
        await lab.until(lambda: lab.gateway.lamps.channel is AdminChannel.NONE)
        packet = wakeup_packet(lab.gwa.identity, DeviceId.parse(lab.id), lab.clock.now().seconds)
        line = lab.gateway.running.wakeup
        line._receive(packet)
        await lab.until(lambda: bool(lab.gwa.sessions))
        opened = lab.logged("MANAGEMENT")
        line._receive(packet)
        lab.gwa.wake_up(lab.id)
        await lab.clock.advance(MINUTE)
        assert lab.logged("MANAGEMENT") == opened, "the channel exists: no second one"
        lab.gwa.sessions[lab.id].caller.close()
        await lab.clock.advance(20 * SECOND)
        line._receive(packet)
        await lab.clock.advance(MINUTE)
        assert not lab.gwa.sessions, "W01: the same packet again opens nothing"
        assert line.service.accepted == 2

    run_lab(tmp_path, work)


def test_parameters_of_the_administrator_take_effect(tmp_path):
    """WAN-24 (H28), WAN-25, TR1 3.2.5.1, 3.2.6.3.3 (WKS4)."""

    async def work(lab):
        await lab.commission()
        session = await lab.session()
        old = lab.gateway.han_address
        await lab.market.drive(session.put_profile("han", HanProfile("static", "127.0.0.2")))
        await lab.clock.advance(SECOND)
        assert lab.gateway.han_address == ("127.0.0.2", old[1])
        with pytest.raises(OSError):
            await asyncio.open_connection(*old)
        with pytest.raises(GatewayError, match="han: 192.0.2.1"):
            await lab.market.drive(session.put_profile("han", HanProfile("static", "192.0.2.1")))
        assert lab.gateway.han_address == ("127.0.0.2", old[1]), "the old one goes on"
        await lab.market.drive(session.put_profile("han", HanProfile("dhcp", enabled=False)))
        await lab.clock.advance(SECOND)
        assert lab.gateway.han_address is None
        await lab.market.drive(session.put_profile("han", HanProfile("dhcp")))
        await lab.clock.advance(SECOND)
        assert lab.gateway.han_address is not None
        await lab.market.drive(session.set_parameter(4, Data("boolean", False)))
        await lab.clock.advance(SECOND)
        assert lab.gateway.running.wakeup is None
        await lab.market.drive(session.set_parameter(4, Data("boolean", True)))
        await lab.clock.advance(SECOND)
        assert lab.gateway.running.wakeup.address is not None
        await lab.market.drive(session.set_clock("NTP-HTTPS", 600))
        requests = lab.gwa.time.requests
        channels = lab.logged("NTP-TLS) zu")
        await lab.clock.advance(HOUR)
        assert lab.gwa.time.requests - requests >= 5
        assert lab.logged("NTP-TLS) zu") == channels, "no NTP-TLS connection any more"

    run_lab(tmp_path, work)


def test_a_self_test_is_answered_later_under_its_correlation_id(tmp_path):
    """Anlage II 7.5: 202, then POST to the contact URI over ADMIN-SERVICE."""

    async def work(lab):
        await lab.commission()
        await lab.clock.advance(11 * MINUTE)
        session = await lab.session()
        answer = await lab.market.drive(session.self_test())
        assert answer.status == 0 and "Software OK" in answer.data.value
        assert len(lab.events("self-test-passed")) == 2

    run_lab(tmp_path, work)


def test_certificates_are_renewed_while_everything_goes_on(tmp_path):
    """H24, WAN-40; TR1 3.2.4.5: parallel channels share the certificate."""

    async def work(lab):
        await lab.commission()
        session = await lab.session()
        triple = await lab.market.drive(session.new_certificates(lab.market.pki))
        lab.gwa.registry.set_certificates(lab.id, 2, triple)
        await lab.clock.advance(10 * SECOND)
        assert (await lab.market.drive(lab.gwa.sessions[lab.id].info()))["generation"] == 2
        assert lab.gateway.lamps.channel is AdminChannel.WIRK
        await lab.clock.advance(DAY)
        assert lab.emt.store.findings() == [] and lab.emt.received == 2

    run_lab(tmp_path, work, interval=5 * MINUTE)


def test_a_participants_new_certificate_loses_nothing(tmp_path):
    """H25, WAN-41."""

    async def work(lab):
        await lab.commission()
        await lab.clock.advance(DAY)
        address = lab.emt.address
        await lab.emt.stop()
        from smgw_emu.bench.emt import MarketParticipant

        pki = lab.market.pki
        renewed = MarketParticipant(
            pki,
            pki.participant(Role.EMT, "emt1", serial="2"),
            lab.clock,
            lab.emt.profile,
            lab.emt.store,
        )
        await renewed.start(*address)
        await lab.clock.advance(DAY)
        assert renewed.received == 0, "the old certificate is configured still"
        session = await lab.session()
        await lab.market.drive(session.put_profile("wan", renewed.wan_profile()))
        await lab.until(lambda: renewed.received == 1, 3600)
        assert [r["count"] for r in lab.emt.store.deliveries() if r["contract"] == CONTRACT] == [
            48,
            96,
        ]
        await renewed.stop()

    run_lab(tmp_path, work, interval=5 * MINUTE)


def test_decommissioning_delivers_the_last_values_and_ends_everything(tmp_path):
    """H30, GW-28."""

    async def work(lab):
        await lab.commission()
        await lab.clock.advance(HOUR)
        session = await lab.session()
        await lab.market.drive(session.decommission())
        await lab.until(lambda: lab.emt.received >= 2)
        await lab.clock.advance(2 * DAY)
        received = lab.emt.received
        assert all(
            p.state(lab.device.now(lab.clock.now())) == "archive"
            for p in lab.device.config.usage_point
        )
        await lab.clock.advance(2 * DAY)
        assert lab.emt.received == received
        session = await lab.session()
        with pytest.raises(GatewayError, match="decommissioned"):
            await lab.market.drive(session.put_profile("consumer", Consumer("c2", "c2.sm")))

    run_lab(tmp_path, work, interval=5 * MINUTE)


def test_the_administrator_in_charge_changes(tmp_path):
    """H31, WAN-N08: the old one is refused, the new one accepted."""

    async def work(lab):
        from smgw_emu.bench.gwa import Administrator, Registry

        await lab.commission()
        lab.market.wakeup_known(lab.gateway)
        pki, old = lab.market.pki, lab.gwa
        new = Administrator(
            pki, pki.participant(Role.GWA, "gwa2"), Registry(), lab.clock, old.profile
        )
        await new.start()
        known = old.registry.device(lab.id)
        from smgw_emu.bench.gwa.note import NotedDevice

        pem = {p: ssl.DER_cert_to_PEM_cert(known.certificates[p]) for p in ("tls", "sig", "enc")}
        new.registry.import_device(
            NotedDevice(lab.id, "", "", **pem, sub_ca=ssl.DER_cert_to_PEM_cert(der(pki.sub_ca)))
        )
        session = await lab.session()
        for profile in new.card().profiles():
            await lab.market.drive(session.put_profile("wan", profile))
        await lab.until(lambda: bool(new.sessions))
        await lab.clock.advance(MINUTE)
        assert not old.sessions
        packet = wakeup_packet(old.identity, DeviceId.parse(lab.id), lab.clock.now().seconds)
        lab.gateway.running.wakeup._receive(packet)
        assert lab.gateway.running.wakeup.service.accepted == 0, "the old key wakes nobody"
        assert (await lab.market.drive(new.sessions[lab.id].info()))["device_id"] == lab.id
        await new.stop()

    run_lab(tmp_path, work)


def test_many_gateways_are_commissioned_side_by_side(tmp_path):
    """H32, GW-90 in small: independent outcomes, one of them unknown."""

    async def work(clock):
        async with wan_lab(tmp_path, clock) as lab:
            gateways = [
                lab.market.factory(tmp_path / f"g{n}", gateway_id=f"ETHE03980000{n:02d}")
                for n in range(6)
            ]
            stranger = lab.market.factory(tmp_path / "s", noted=False)
            for gateway in [*gateways, stranger]:
                await gateway.power_on()
            plan = lab.plan(meters=[], points=[])
            jobs = [Commissioning(lab.gwa, str(g.config.device_id), plan).run() for g in gateways]
            await lab.market.drive(_all(jobs))
            assert [g.running.facilities.keys.generation for g in gateways] == [1] * 6
            assert stranger.lamps.channel is not AdminChannel.GUETESIEGEL
            for gateway in [*gateways, stranger]:
                await gateway.power_off()

    run_virtual(work)


async def _all(jobs):
    return await asyncio.gather(*jobs)


# -- faults: wake-up -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["other device", "stale", "future", "wrong signature", "version 2", "noise"]
)
def test_a_bad_wake_up_opens_nothing(tmp_path, fault):
    """W02, W03, W04, WAN-05: silence, no channel, no lamp."""

    async def work(lab):
        now = lab.clock.now().seconds
        stranger = lab.market.pki.participant(Role.GWA, "gwa9")
        signer = stranger if fault == "wrong signature" else lab.gwa.identity
        device = "ETHE0399111111" if fault == "other device" else lab.id
        at = now + {"stale": -31, "future": 31}.get(fault, 0)
        packet = bytearray(wakeup_packet(signer, DeviceId.parse(device), at))
        if fault == "version 2":
            packet[2] = 2
        if fault == "noise":
            packet = bytearray(b"WU\x01" + bytes(105))
        profile = msgspec.structs.replace(
            lab.device.config.wan_profile("MANAGEMENT"), keepalive=False
        )
        session = await lab.session()
        await lab.market.drive(session.put_profile("wan", profile))
        await lab.clock.advance(5 * SECOND)
        lab.gwa.sessions[lab.id].caller.close()
        await lab.clock.advance(MINUTE)
        lab.gateway.running.wakeup._receive(bytes(packet))
        await lab.clock.advance(SECOND)
        assert lab.gateway.lamps.wakeup_at is None
        assert management(lab).state is ChannelState.CLOSED

    run_lab(tmp_path, work)


def test_a_wake_up_storm_opens_nothing_and_the_service_goes_on(tmp_path):
    """W05 (the processor's share is measured in test_wakeup_storm)."""

    async def work(lab):
        await lab.commission()
        line = lab.gateway.running.wakeup
        good = wakeup_packet(
            lab.market.pki.participant(Role.GWA, "gwa9"),
            DeviceId.parse(lab.id),
            lab.clock.now().seconds,
        )
        opened = lab.logged("MANAGEMENT")
        for n in range(1000):
            line._receive(good[:32] + bytes([n & 255]) + good[33:])
        session = await lab.session()
        assert (await lab.market.drive(session.info()))["device_id"] == lab.id
        assert lab.logged("MANAGEMENT") == opened

    run_lab(tmp_path, work)


def test_a_wake_up_to_a_device_that_does_not_run_does_nothing(tmp_path):
    """W06: no service, no reaction (Secure State Boot)."""

    async def work(lab):
        await lab.until(lambda: bool(lab.gwa.sessions))
        lab.market.wakeup_known(lab.gateway)
        lab.gateway._enter(Cause.IMAGE, "a corrupt kernel")
        lab.gwa.wake_up(lab.id)
        await lab.clock.advance(MINUTE)
        assert lab.gateway.lamps.wakeup_at is None and not lab.gwa.sessions

    run_lab(tmp_path, work)


# -- faults: channels ------------------------------------------------------------------------------


def test_an_unreachable_administrator_stops_nothing_else(tmp_path):
    """W07, HW-18: attempts with pauses, lamp while building, metering and buffering go on."""

    async def work(lab):
        await lab.commission()
        lab.gwa.cut()
        await lab.clock.advance(SECOND)
        assert lab.gateway.lamps.channel in {AdminChannel.NONE, AdminChannel.BUILDING}
        readings = lab.device.store.count_readings()
        await lab.clock.advance(6 * HOUR)
        assert lab.device.store.count_readings() > readings
        assert lab.logged("nicht aufgebaut nach 4 Versuchen") >= 3, (
            "T40: log when a round has failed"
        )
        rounds = [
            e for e in lab.log() if "nicht aufgebaut" in e.message and "MANAGEMENT" in e.message
        ]
        pauses = [b.time - a.time for a, b in itertools.pairwise(rounds)]
        assert max(pauses) <= (900 + 4 * 10 + 5) * SECOND and len(rounds) < 40
        waiting = lab.wan.outbox.count("")
        lab.gateway.set_link(Link(ethernet=False))
        lab.gateway.set_link(Link())
        await lab.gwa.start()
        await lab.until(lambda: bool(lab.gwa.sessions), 1000)
        await lab.until(lambda: lab.wan.outbox.count("") == 0, 1000)
        assert waiting >= 0
        names = [event["name"] for event in lab.events()]
        assert names.count("start") == 1, "each once, also after an outage"

    run_lab(tmp_path, work)


def test_the_48_hours_of_a_session_end_it_and_it_is_rebuilt(tmp_path):
    """W08, WAN-N04."""

    async def work(lab):
        await lab.commission()
        opened = management(lab)
        first = opened.stream
        await lab.clock.advance(2 * DAY - HOUR)
        assert management(lab).stream is first
        await lab.clock.advance(2 * HOUR)
        assert management(lab).stream is not first and lab.gwa.sessions
        assert lab.logged("session too long") == 1

    run_lab(tmp_path, work, interval=5 * MINUTE)


def test_a_session_length_and_idle_time_of_the_profile_count(tmp_path):
    """T40: Maximale Sitzungslänge, Wartezeit im Leerlauf."""

    async def work(lab):
        await lab.commission()
        profile = lab.device.config.wan_profile("MANAGEMENT")
        session = await lab.session()
        short = msgspec.structs.replace(profile, max_session_s=1000)
        await lab.market.drive(session.put_profile("wan", short))
        await lab.clock.advance(HOUR)
        assert lab.logged("session too long") == 3
        session = await lab.session()
        idle = msgspec.structs.replace(profile, idle_s=60, keepalive=False)
        await lab.market.drive(session.put_profile("wan", idle))
        await lab.clock.advance(5 * MINUTE)
        assert lab.logged("idle too long") == 1 and management(lab).state is ChannelState.CLOSED

    run_lab(tmp_path, work)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_3])
def test_a_server_with_another_tls_version_is_refused(tmp_path, version):
    """W10: no channel, lamp dark; the handshakes themselves are TLS_A2_* of the interop tests."""

    async def work(lab):
        await lab.commission()
        await lab.gwa._management.stop()
        host, port = lab.gwa.addresses.management
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = version
        folder = tmp_path / "key"
        folder.mkdir()
        (folder / "c.pem").write_bytes(lab.gwa.identity.tls.chain_pem)
        (folder / "k.pem").write_bytes(lab.gwa.identity.tls.key_pem())
        context.load_cert_chain(folder / "c.pem", folder / "k.pem")
        server = await asyncio.start_server(lambda _r, w: w.close(), host, port, ssl=context)
        await lab.clock.advance(2 * MINUTE)
        assert management(lab).state is not ChannelState.OPEN
        server.close()
        assert lab.logged("MANAGEMENT) nicht aufgebaut") >= 1
        assert lab.gateway.lamps.channel in {AdminChannel.NONE, AdminChannel.BUILDING}

    run_lab(tmp_path, work)


@pytest.mark.parametrize("case", ["expired", "another CA", "another name"])
def test_a_wrong_administrator_certificate_is_refused(tmp_path, case):
    """W11, HSM-10: no channel, lamp dark, an entry in the system log."""

    async def work(lab):
        await lab.commission()
        now = lab.clock.now().datetime()
        if case == "another CA":
            other = TestPki(now).participant(Role.GWA, "gwa1")
        elif case == "expired":
            other = lab.market.pki.participant(
                Role.GWA,
                "gwa1",
                valid_from=now - timedelta(days=9),
                valid_until=now - timedelta(days=1),
            )
        else:
            other = lab.market.pki.participant(Role.GWA, "gwa2")
        if case == "expired":  # configured once, when it was good
            profile = lab.device.config.wan_profile("MANAGEMENT")
            lab.wan.lines[profile.name].profile = msgspec.structs.replace(
                profile, tls=other.tls.certificate_der
            )
        lab.gwa.set_identity(other)
        management(lab).rebuild()
        await lab.clock.advance(2 * MINUTE)
        assert not lab.gwa.sessions
        assert lab.gateway.lamps.channel in {AdminChannel.NONE, AdminChannel.BUILDING}
        assert lab.logged("abgebrochen: handshake failed") >= 1

    run_lab(tmp_path, work)


def test_own_certificates_are_watched_and_an_expired_set_gets_no_channel(tmp_path):
    """W12, WAN-40: warnings before, no channel after; metering goes on."""

    async def work(lab):
        await lab.commission(points=[])
        await lab.gateway.power_off()
        await lab.clock.advance_to(world("2028-03-20T10:00:00Z"))
        await lab.gateway.power_on()
        await lab.clock.advance(DAY)
        names = [e["name"] for e in lab.events()]
        assert names.count("certificate-expiring") >= 3, "TLS, SIG, ENC at 30 days, once each"
        await lab.gateway.power_off()
        await lab.clock.advance_to(world("2028-03-26T00:00:00Z"))  # the RTC is trusted for 5 days
        await lab.gateway.power_on()
        await lab.clock.advance(5 * DAY)
        assert not lab.gwa.sessions
        assert lab.logged("ist abgelaufen") >= 3
        readings = lab.device.store.count_readings()
        await lab.clock.advance(HOUR)
        assert lab.device.store.count_readings() > readings

    run_lab(tmp_path, work, interval=5 * MINUTE)


def test_a_revoked_gateway_is_refused_by_the_administrator(tmp_path):
    """W14, WAN-43."""

    async def work(lab):
        await lab.commission()
        known = lab.gwa.registry.device(lab.id)
        from wan.certificates import load

        lab.market.pki.revoke(load(known.certificates["tls"]), lab.clock.now().datetime())
        management(lab).rebuild()
        await lab.clock.advance(5 * MINUTE)
        assert not lab.gwa.sessions
        assert "revoked" in lab.gwa.registry.history("", 5)[-1]["detail"]
        assert lab.gateway.lamps.channel in {AdminChannel.NONE, AdminChannel.BUILDING}

    run_lab(tmp_path, work)


def test_an_unknown_seal_is_refused_until_the_note_comes(tmp_path):
    """W24, GW-23, O06: the device tries again; then the note is imported."""

    async def work(clock):
        async with wan_lab(tmp_path, clock) as lab:
            stranger = lab.market.factory(tmp_path / "s", noted=False, gateway_id="ETHE0399777777")
            await stranger.power_on()
            with pytest.raises(SmgwError, match="no delivery note has named"):
                await lab.market.drive(lab.gwa.session("ETHE0399777777"))
            await clock.advance(10 * MINUTE)
            assert "unknown certificate" in lab.gwa.registry.history("", 9)[-1]["detail"]
            assert "ETHE0399777777" not in lab.gwa.sessions
            from smgw_emu.bench.gwa.note import read_note

            lab.gwa.import_note(read_note(tmp_path / "s" / "delivery-note.json"))
            await lab.until(lambda: "ETHE0399777777" in lab.gwa.sessions, 2000)
            await stranger.power_off()

    run_virtual(work)


# -- faults: deliveries ----------------------------------------------------------------------------


def test_three_days_of_outage_lose_and_double_nothing(tmp_path):
    """W15, WAN-50, O12: in order, each id once."""

    async def work(lab):
        await lab.commission()
        lab.emt.cut()
        await lab.clock.advance(3 * DAY)
        assert lab.wan.outbox.count("emt1") == 4, "three days of TAF 7, one month of TAF 1"
        failed = lab.logged("emt1 (INFO-REPORT) nicht aufgebaut")
        assert 20 < failed < 400, "tried again and again, with a back-off"
        await lab.emt.start()
        await lab.until(lambda: lab.emt.received == 4, 2000)
        rows = [r for r in lab.emt.store.deliveries() if r["contract"] == CONTRACT]
        assert [row["count"] for row in rows] == [48, 96, 96]
        assert lab.emt.store.findings() == [] and lab.emt.repeated == 0
        assert lab.wan.outbox.count("emt1") == 0

    run_lab(tmp_path, work, interval=5 * MINUTE)


def test_a_silent_participant_is_left_after_20_seconds_and_gets_the_same_id_again(tmp_path):
    """W16, Anlage II 7.1.1."""

    async def work(lab):
        await lab.commission()
        lab.emt.faults.silent = True
        session = await lab.session()
        await lab.market.drive(session.read_now(lab.device.config.usage_point[0].name))
        await lab.clock.advance(SECOND)
        first = lab.wan.outbox.first("emt1")
        before = lab.clock.now()
        await lab.until(lambda: lab.logged("emt1 (INFO-REPORT) beendet") == 1)
        assert 18 * SECOND <= lab.clock.now() - before <= 21 * SECOND
        lab.emt.faults.silent = False
        await lab.until(lambda: lab.emt.received == 1)
        assert lab.emt.store.deliveries()[0]["uuid"] == first.id
        await lab.clock.advance(HOUR)
        assert lab.emt.received == 1

    run_lab(tmp_path, work)


def test_a_delivery_that_was_stored_but_not_acknowledged_comes_again_and_counts_once(tmp_path):
    """WAN-52: power is cut between the participant's storing and the acknowledgement."""

    async def work(lab):
        await lab.commission()
        session = await lab.session()
        lab.wan.senders["emt1"]._acknowledge = lambda _message: (_ for _ in ()).throw(SystemError)
        await lab.market.drive(session.read_now(lab.device.config.usage_point[0].name))
        with pytest.raises(AssertionError):
            await lab.until(lambda: lab.wan.outbox.count("emt1") == 0, 30)
        assert lab.emt.received == 1
        await lab.gateway.power_off(orderly=False)
        await lab.gateway.power_on()
        await lab.until(lambda: lab.wan.outbox.count("emt1") == 0)
        assert lab.emt.received == 1 and lab.emt.repeated >= 1

    run_lab(tmp_path, work)


def test_a_wrong_encryption_certificate_is_told_to_the_administrator(tmp_path):
    """W17: the delivery is refused, kept, and goes out when the profile is right."""

    async def work(lab):
        other = lab.market.pki.participant(Role.EMT, "emt1", serial="9")
        wrong = lab.emt.wan_profile(enc=other.enc.certificate_der)
        await lab.commission(participants=[wrong])
        session = await lab.session()
        await lab.market.drive(session.read_now(lab.device.config.usage_point[0].name))
        await lab.until(lambda: bool(lab.events("delivery-refused")))
        await lab.clock.advance(30 * MINUTE)
        assert len(lab.events("delivery-refused")) == 1, "said once"
        assert lab.wan.outbox.count("emt1") == 1
        session = await lab.session()
        await lab.market.drive(session.put_profile("wan", lab.emt.wan_profile()))
        await lab.until(lambda: lab.emt.received == 1, 1000)

    run_lab(tmp_path, work)


def test_without_a_link_there_is_no_channel_and_the_other_way_is_used_if_configured(tmp_path):
    """W18, W19, W20, WAN-01, HW-25."""

    async def work(lab):
        await lab.commission()
        lab.gateway.set_link(Link("mobile", modem="kein-empfang"))
        await lab.clock.advance(MINUTE)
        assert lab.gateway.lamps.channel is AdminChannel.NONE and not lab.gwa.sessions
        assert lab.gateway.lamps.mobile == "kein-empfang"
        lab.gateway.set_link(Link("mobile", modem="schlecht"))
        await lab.until(lambda: bool(lab.gwa.sessions), 1000)
        assert lab.gateway.lamps.mobile == "schlecht"
        lab.gateway.set_link(Link("ethernet", ethernet=False, modem="gut"))
        await lab.clock.advance(MINUTE)
        assert not lab.gwa.sessions, "no fallback unless it is configured"
        lab.gateway.set_link(Link("ethernet", fallback=True, ethernet=False, modem="gut"))
        await lab.until(lambda: bool(lab.gwa.sessions), 1000)
        assert [e.message for e in lab.log() if "WAN-Anbindung" in e.message][-1].startswith(
            "WAN-Anbindung: mobile"
        )

    run_lab(tmp_path, work)


def test_bad_profiles_and_foreign_resources_change_nothing(tmp_path):
    """W21, W22, GW-49: 422 with the reason, 404 without a hint; the session goes on."""

    async def work(lab):
        await lab.commission()
        session = await lab.session()
        before = lab.device.config
        with pytest.raises(GatewayError) as refused:
            await lab.market.drive(session.put_profile("technician", Technician("t", ())))
        assert refused.value.status == 422 and "technician 't'" in refused.value.reason
        with pytest.raises(GatewayError) as unknown:
            await lab.market.drive(session.get("/smgw/cosem/ldevs/1emh0000000001.sm/objects"))
        assert unknown.value.status == 404 and "1emh" not in unknown.value.reason
        sealed = session._protection.seal(b"<a/>")
        answer = await lab.market.drive(
            session.caller.call("PUT", f"/smgw/cosem/ldevs/{lab.id.lower()}.sm/containers/01005e318041",
                                [("Content-Type", "application/vnd.de-dke-k461-cosem+xml;encap=cms-tr03109")],
                                sealed[:-9] + b"123456789"))  # fmt: skip
        assert answer.status == 422
        assert lab.device.config == before
        assert lab.logged("abgelehnt mit 422") == 2 and lab.logged("abgelehnt mit 404") == 1
        assert (await lab.market.drive(session.info()))["device_id"] == lab.id

    run_lab(tmp_path, work)


def test_a_participant_cannot_write_and_nobody_can_connect_from_outside(tmp_path):
    """W23, GW-08, TR1 3.2.4.5 R7: on INFO-REPORT the gateway is HTTP client, there is no listener."""

    async def work(lab):
        await lab.commission()
        before = lab.device.config
        listener = lab.emt._listener

        class Attacker:
            def established(self, stream):
                stream.write(
                    b"PUT /smgw/cosem/ldevs/x.sm/containers/01005e318002 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
                )

            def received(self, stream, data):
                pass

            def ended(self, stream, reason, detail):
                pass

        listener._make = Attacker
        session = await lab.session()
        await lab.market.drive(session.read_now(lab.device.config.usage_point[0].name))
        await lab.until(lambda: lab.logged("emt1 (INFO-REPORT) beendet") >= 1)
        assert lab.device.config == before
        assert lab.wan.outbox.count("emt1") == 1, "nothing was acknowledged"

    run_lab(tmp_path, work)


def test_power_fails_while_certificates_change(tmp_path):
    """W25: between installation and reconnection; one complete set, the administrator reaches it."""

    async def work(lab):
        await lab.until(lambda: bool(lab.gwa.sessions))
        session = lab.gwa.sessions[lab.id]
        triple = await lab.market.drive(session.new_certificates(lab.market.pki), step=1)
        await lab.gateway.power_off(orderly=False)
        lab.gwa.registry.set_certificates(lab.id, 1, triple)
        again = Gateway(lab.gateway.directory, lab.clock)
        await again.power_on()
        await lab.until(lambda: bool(lab.gwa.sessions), 1000)
        assert again.running.facilities.keys.generation == 1
        await again.power_off()

    run_lab(tmp_path, work)


@pytest.mark.parametrize("fault", ["failure_inner_signature", "nothing comes back"])
def test_a_pki_that_fails_leaves_the_old_certificates(tmp_path, fault):
    """W26, WAN-N08."""

    async def work(lab):
        await lab.commission()
        session = await lab.session()

        class Broken:
            sub_ca = lab.market.pki.sub_ca

            @staticmethod
            def answer(_request):
                if fault == "nothing comes back":
                    raise SmgwError("no answer")
                return lab.market.pki.participant(Role.SMGW, "ETHE0399000055").__class__ and {
                    p: lab.market.pki.participant(Role.SMGW, "ETHE0399000055")
                    .identity(p)
                    .certificate
                    for p in ("TLS", "SIG", "ENC")
                }

        with pytest.raises((SmgwError, KeyError)):
            await lab.market.drive(session.new_certificates(Broken()))
        assert lab.gateway.running.facilities.keys.generation == 1
        assert await lab.market.drive(session.new_certificates(lab.market.pki))
        assert lab.gateway.running.facilities.keys.generation == 2

    run_lab(tmp_path, work)


# -- parameters of the communication profile -----------------------------------------------------------


def test_an_unreachable_address_is_followed_by_the_next_one(tmp_path):
    """T40, TR1 3.2.6.3.3.2: one unreachable and alternatives present: take an alternative."""

    async def work(lab):
        await lab.commission()
        good = lab.emt.wan_profile().addresses[0]
        session = await lab.session()
        profile = lab.emt.wan_profile(addresses=("https://127.0.0.1:1/dead", good))
        await lab.market.drive(session.put_profile("wan", profile))
        await lab.market.drive(session.read_now(lab.device.config.usage_point[0].name))
        await lab.until(lambda: lab.emt.received == 1, 30)
        assert lab.logged("nicht aufgebaut") == 0, "an attempt goes through all addresses"

    run_lab(tmp_path, work)


def test_a_schedule_opens_the_channel_and_sni_names_the_server(tmp_path):
    """WAN-N09, wan.md 3.10."""

    async def work(lab):
        await lab.commission()
        session = await lab.session()
        profile = msgspec.structs.replace(
            lab.device.config.wan_profile("MANAGEMENT"),
            keepalive=False,
            schedule_s=3600,
            sni="gwa.test",
            idle_s=60,
        )
        await lab.market.drive(session.put_profile("wan", profile))
        await lab.clock.advance(5 * MINUTE)
        assert management(lab).state is ChannelState.CLOSED
        seen = []
        opened = lab.gwa.connected
        lab.gwa.connected = lambda s: (
            seen.append(s.caller.stream.tls.hello.server_name) or opened(s)
        )
        await lab.clock.advance(3 * HOUR)
        assert seen == ["gwa.test"] * 3

    run_lab(tmp_path, work)


OWN = """[wan]
first_delay_s = 600
alive_s = 3600
"""


def test_a_first_start_waits_a_random_time_and_alive_is_said_regularly(tmp_path):
    """TR1 3.2.6.3.4 (first start), 3.2.2 WAF3 (regular notifications), both profile data."""

    async def work(clock):
        async with wan_lab(tmp_path, clock, on=False) as lab:
            home = lab.gateway.directory
            own_profile(home, OWN)
            gateway = Gateway(home, clock)
            await gateway.power_on()
            assert not [line for line in gateway.running.wan.states() if line.state != "closed"]
            await clock.advance(601 * SECOND)
            assert lab.id in lab.gwa.sessions
            await clock.advance(3 * HOUR)
            assert len(lab.events("alive")) == 4
            await gateway.power_off()
            await gateway.power_on()
            await clock.advance(SECOND)
            assert lab.id in lab.gwa.sessions, "only a first start waits"
            await gateway.power_off()

    run_virtual(work)


# -- life ----------------------------------------------------------------------------------------------


def test_a_gateways_life_from_the_factory_to_disposal(tmp_path):
    """GW-20, GW-21, GW-28, GW-31."""

    async def work(lab):
        assert lab.device.life.state == "pre-personalised"
        await lab.until(lambda: bool(lab.gwa.sessions))
        assert lab.device.life.state == "first-configuration"
        await lab.commission()
        assert lab.device.life.state == "operation"
        session = await lab.session()
        with pytest.raises(GatewayError, match="decommission comes first"):
            await lab.market.drive(session.dispose())
        await lab.market.drive(session.decommission())
        await lab.market.drive(session.dispose())
        await lab.clock.advance(MINUTE)
        assert not lab.gwa.sessions
        assert not [s for s in lab.gateway.hsm.slots() if s.startswith("GW_WAN")]
        await lab.gateway.power_off()
        await lab.gateway.power_on()
        await lab.clock.advance(HOUR)
        assert not lab.gwa.sessions and lab.device.life.state == "disposed"
        changes = [e["message"] for e in lab.events("life-cycle")]
        assert changes[:3] == [
            "Lebenszyklus: pre-personalised -> first-configuration",
            "Lebenszyklus: first-configuration -> personalised",
            "Lebenszyklus: personalised -> operation",
        ]

    run_lab(tmp_path, work)


def test_unused_meter_interfaces_are_switched_off_and_on_again(tmp_path):
    """TR1 3.3.5: the administrator may deactivate LMN interfaces, and it lasts."""

    async def work(lab):
        await lab.commission()
        session = await lab.session()
        await lab.market.drive(session.set_parameter(6, Data("boolean", False)))
        frames = lab.gateway.running.lmn.lines[0].frames
        await lab.clock.advance(HOUR)
        assert lab.gateway.running.lmn.lines[0].frames == frames
        session = await lab.session()
        await lab.market.drive(session.set_parameter(6, Data("boolean", True)))
        await lab.clock.advance(HOUR)
        assert lab.gateway.running.lmn.lines[0].frames > frames

    run_lab(tmp_path, work)


def test_a_storm_of_alarms_keeps_its_order_and_the_outbox_bounded(tmp_path):
    """S08 in small: what does not fit is counted, not forgotten silently."""

    async def work(lab):
        await lab.commission()
        lab.gwa.cut()
        lab.wan.notices.limit = lab.wan.outbox.count("") + 20
        for n in range(50):
            now = lab.device.now(lab.clock.now())
            lab.device.logbooks.write("meter-unknown", now, outcome="F", meter=f"m{n:02}")
        assert lab.wan.outbox.count("") == lab.wan.notices.limit
        await lab.gwa.start()
        lab.gateway.set_link(Link(ethernet=False))
        lab.gateway.set_link(Link())
        await lab.until(lambda: lab.wan.outbox.count("") == 0, 2000)
        lab.device.logbooks.write(
            "meter-unknown", lab.device.now(lab.clock.now()), outcome="F", meter="last"
        )
        await lab.until(lambda: bool(lab.events("events-lost")), 100)
        told = [
            e["message"].split()[3]
            for e in lab.events("meter-unknown")
            if (" m" in e["message"] and "m0" in e["message"]) or "m1" in e["message"]
        ]
        assert told == sorted(told)
        assert "30" in lab.events("events-lost")[0]["message"]

    run_lab(tmp_path, work)


def test_the_storage_limit_is_told_once_and_its_end_too(tmp_path):
    """WAN-25, S06."""

    async def work(lab):
        await lab.commission()
        session = await lab.session()
        await lab.market.drive(session.set_parameter(2, Data("double-long-unsigned", 1)))
        await lab.clock.advance(HOUR)
        await lab.market.drive(session.set_parameter(2, Data("double-long-unsigned", 1 << 30)))
        await lab.clock.advance(HOUR)
        assert len(lab.events("storage-limit")) == len(lab.events("storage-normal")) == 1

    run_lab(tmp_path, work)


def test_a_meter_is_exchanged_and_a_consumer_moves_out(tmp_path):
    """H26, H27, GW-11, GW-26, GW-27."""

    async def work(lab):
        from smgw_emu.core.contracts import ConsumerView
        from smgw_emu.core.meter_profile import Meter

        await lab.commission()
        await lab.clock.advance(HOUR)
        session = await lab.session()
        drive = lab.market.drive
        old = lab.device.config.usage_point
        other = "1EMU0000000002"
        await drive(session.put_profile("meter", Meter(other)))
        for point in old:
            await drive(
                session.put_profile("usage-point", msgspec.structs.replace(point, meters=(other,)))
            )
        await drive(session.delete_profile("meter", Meter(METER)))
        assert [m.id for m in lab.device.config.meter] == [other]
        assert lab.device.store.count_readings() >= 4, "the old series stays"
        assert any("entfernt" in e.message for e in lab.log("calibration"))
        now = lab.device.now(lab.clock.now())
        await drive(
            session.put_profile("consumer", Consumer("consumer2", "consumer2.sm", "cd" * 16))
        )
        for point in lab.device.config.usage_point:
            await drive(
                session.put_profile("usage-point", msgspec.structs.replace(point, end=now.iso()))
            )
        fresh = UsagePoint("taf7-2", 7, "consumer2", (other,), now.iso())
        await drive(session.put_profile("usage-point", fresh))
        first, second = (ConsumerView(lab.device, c) for c in lab.device.config.consumer)
        later = lab.device.now(lab.clock.now())
        assert {p.state(later) for p in first.usage_points()} == {"archive"}
        assert [p.name for p in second.usage_points()] == ["taf7-2"]

    run_lab(tmp_path, work)


def test_changes_leave_a_logged_in_consumer_logged_in(tmp_path):
    """A new consumer, new certificates and the hourly time do not end a digest session."""

    async def work(lab):
        from smgw_emu.bench.consumer import HanClient, client_context

        kit = lab.market.consumer(lab.gateway)
        await lab.commission(consumers=[kit.record])
        han = kit.access(lab.gateway)
        context = client_context(lab.gateway.directory / "certs" / "han.pem")
        async with HanClient(
            f"https://{han.host}:{han.port}", context, (han.user, han.password)
        ) as client:
            with lab.clock.hold():
                await client.call("smgw-info")
            session = await lab.session()
            await lab.market.drive(
                session.put_profile("consumer", Consumer("second", "second.sm", "cd" * 16))
            )
            triple = await lab.market.drive(session.new_certificates(lab.market.pki))
            lab.gwa.registry.set_certificates(lab.id, 2, triple)
            await lab.clock.advance(4 * MINUTE)
            challenges = []
            authenticator = lab.gateway.running.han._interface._authenticator
            check = authenticator._digest.check
            authenticator._digest.check = lambda *a: challenges.append(check(*a)) or challenges[-1]
            with lab.clock.hold():
                info = (await client.call("smgw-info"))["smgw-info"]
            assert [c["cert-index"] for c in info["certificates"]["wan"]] == ["0", "1", "2"]
            assert {c.verdict.name for c in challenges} == {"ACCEPTED"}

    run_lab(tmp_path, work)


def test_the_administrator_reads_new_log_entries_only(tmp_path):
    """H29, GW-70."""

    async def work(lab):
        await lab.commission()
        session = await lab.session()
        first = await lab.market.drive(session.read_log("system"))
        assert [row.number for row in first] == list(range(1, len(first) + 1))
        await lab.clock.advance(HOUR)
        since = (lab.device.now(lab.clock.now()) + -10 * MINUTE).iso()
        await lab.market.drive(session.set_clock("NTP-TLS", 900))
        fresh = await lab.market.drive(session.read_log("system", since))
        assert fresh and fresh[0].number > first[-1].number
        assert await lab.market.drive(session.read_log("calibration"))

    run_lab(tmp_path, work)


# -- durability ------------------------------------------------------------------------------------


def test_everything_the_administrator_put_in_survives_a_power_cut(tmp_path):
    async def work(lab):
        await lab.commission()
        config = lab.device.config
        await lab.gateway.power_off(orderly=False)
        shutil.copytree(lab.gateway.directory, tmp_path / "copy")
        again = Gateway(tmp_path / "copy", lab.clock)
        await again.power_on()
        assert again.running.device.config == config
        await again.power_off()

    run_lab(tmp_path, work)


def test_time_by_ntp_faults(tmp_path):
    """T05, T06, T08 over the real channel: ignored answers change nothing and are logged."""

    async def work(lab):
        await lab.commission()
        faults = lab.gwa.time.faults
        for name, value in (("leap", 3), ("mode", 5), ("version", 3), ("wrong_origin", True)):
            old = getattr(faults, name)
            setattr(faults, name, value)
            count = lab.logged("Zeitantwort verworfen")
            await lab.clock.advance(HOUR)
            assert lab.logged("Zeitantwort verworfen") == count + 1, name
            setattr(faults, name, old)
        faults.offset_ms = 20_000
        await lab.clock.advance(HOUR)
        assert abs(lab.device.clock.deviation(lab.clock.now()) - 20 * SECOND) < SECOND
        faults.offset_ms = 50_000
        await lab.clock.advance(HOUR)
        assert lab.events("time-deviation"), "more than 3 % of a quarter hour (T01)"

    run_lab(tmp_path, work)


_ = (sleep, START, GATEWAY)
