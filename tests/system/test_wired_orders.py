"""Orders, sessions and certificates of wired meters: LMN-N02, LMN-N03, LMN-N04."""

from __future__ import annotations

import msgspec
import pytest
from support import START, own_profile, run_virtual, world
from wired_lab import (
    SEED,
    WiredLab,
    keys_of,
    ordered,
    origin,
    rack_of,
    ready,
    run_lab,
    wired_gateway,
)

from lmn.sml.orders import (
    clock_state,
    profile_list,
    read_information,
    read_list,
    read_log,
    registered_values,
    send_file,
    set_time,
)
from smgw_emu.bench.meters.wired.registers import MAGNETIC
from smgw_emu.core.instants import HOUR
from smgw_emu.core.obis import ACTIVE_ENERGY_IMPORT
from smgw_emu.core.wan_profiles import Settings

# -- orders ----------------------------------------------------------------------------------------


@pytest.mark.req("LMN-N04")
def test_every_transaction_of_the_table(tmp_path):
    """DS v2.0 table 9.1: time, clock, log, stored values, a file, device information."""

    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(2 * 3600)
        now = lab.clock.now().seconds
        answers = {}
        answers["clock"] = await ordered(lab, meter, clock_state())
        answers["set"] = await ordered(lab, meter, set_time(now, 3600, -12, 8))
        answers["again"] = await ordered(lab, meter, clock_state())
        meter.registers.tamper(lab.clock.now(), MAGNETIC)
        answers["log"] = await ordered(lab, meter, read_log(0, now + 100))
        wanted = registered_values([ACTIVE_ENERGY_IMPORT], now - 3600, now)
        answers["stored"] = await ordered(lab, meter, wanted)
        listed = profile_list([ACTIVE_ENERGY_IMPORT], now - 3600, now)
        answers["listed"] = await ordered(lab, meter, listed)
        answers["list"] = await ordered(lab, meter, read_list(b"gateway"))
        content = bytes(range(256)) * 20
        for order in send_file("firmware.bin", "firmware", content):
            messages, reason = await ordered(lab, meter, order)
            assert messages is not None, reason
        assert bytes(meter.server.file.data) == content
        assert meter.server.file.complete
        return answers, now

    answers, _now = run_lab(tmp_path, 1, work, registering=True)
    from lmn.sml import places
    from lmn.sml.answers import contents, numbered, pack, profile_rows, refusals
    from lmn.sml.report import reports

    assert all(reason == "" for _, reason in answers.values())
    assert numbered(contents(answers["clock"][0])[places.CLOCK])[2] == 2  # not synchronised
    assert refusals(answers["set"][0]) == ()
    assert numbered(contents(answers["again"][0])[places.CLOCK])[1:3] == [3600, 0]
    (row,) = pack(answers["log"][0]).periods
    assert row.values[0].value == 9
    stored = pack(answers["stored"][0])
    assert stored.period_s == 900
    assert len(stored.periods) == 5
    rows = profile_rows(answers["listed"][0])
    assert [(r.val_time, r.status, r.entries[0].value) for r in rows] == [
        (p.val_time, p.status, p.values[0].value) for p in stored.periods
    ]
    (report,) = reports(answers["list"][0])
    assert report.meter == "1isk0001000001"
    assert {str(v.obis) for v in report.values} >= {"1-0:1.8.0*255", "1-0:32.7.0*255"}
    assert [p.val_time.seconds % 900 for p in stored.periods] == [0] * 5


@pytest.mark.req("LMN-N02")
def test_crypto_reset_undoes_the_pairing_and_pairs_anew(tmp_path):
    """SYM 06 and 07: the meter forgets, the gateway forgets, MK0 begins again."""

    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(10)
        before = meter.memory.certificate
        counter = meter.memory.counter
        lab.line.crypto_reset(meter.id.lower)
        await lab.seconds(10)
        assert lab.log("pairing-removed")
        assert len(lab.log("pairing-done")) == 2
        assert meter.memory.certificate != before
        assert meter.memory.counter > counter
        assert ready(lab) == keys_of(lab.meters)

    run_lab(tmp_path, 1, work)


@pytest.mark.req("LMN-N04")
def test_certificates_are_renewed_over_the_running_session(tmp_path):
    """UpdateMtrCertAndKey, UpdateSmgwCert: both sides take old and new while it happens."""

    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(10)
        before = (meter.memory.certificate, meter.memory.gateway_certificates[0])
        results = []
        lab.gateway.running.lmn.give(meter.id.lower, "renew", lambda *said: results.append(said))
        lab.gateway.running.lmn.give(meter.id.lower, "renew", lambda *said: results.append(said))
        await lab.seconds(30)
        assert results == [("", "a renewal is under way"), ("", "")]
        assert meter.memory.certificate != before[0]
        assert meter.memory.gateway_certificates[0] != before[1]
        assert before[1] in meter.memory.gateway_certificates
        assert ready(lab) == keys_of(lab.meters)
        (station,) = lab.line.stations
        assert lab.line.session_at(station).sessions == 2
        await lab.gateway.power_off()
        await lab.gateway.power_on()
        await lab.seconds(30)
        assert ready(lab) == keys_of(lab.meters)

    run_lab(tmp_path, 1, work)


def test_a_restarted_gateway_does_not_pair_again(tmp_path):
    """Certificates are kept; addresses are not (DS v2.0 8.1: not persisted)."""

    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(10)
        certificate = meter.memory.certificate
        await lab.gateway.power_off(orderly=False)
        await lab.gateway.power_on()
        await lab.seconds(30)
        assert ready(lab) == keys_of(lab.meters)
        assert meter.memory.certificate == certificate
        assert len(lab.log("pairing-done")) == 1

    run_lab(tmp_path, 1, work)


def test_a_replaced_meter_that_forgot_everything_is_paired_again_by_crypto_reset(tmp_path):
    """A meter that lost its keys refuses TLS (DM); the reset by SYM brings it back."""

    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(10)
        memory = meter.memory
        memory.certificate = memory.key = b""
        memory.gateway_certificates = ()
        meter.link.reset()
        await lab.seconds(60)
        assert not ready(lab)
        lab.line.crypto_reset(meter.id.lower)
        await lab.seconds(60)
        assert ready(lab) == keys_of(lab.meters)

    run_lab(tmp_path, 1, work)


@pytest.mark.parametrize("profile", ["tr-2025/default"])
def test_the_profile_of_the_newer_edition(tmp_path, profile):
    """Certificates of DS v2.0 chapter 3, capture time less the meter's delay."""

    async def work(lab):
        await lab.seconds(16 * 60)
        assert ready(lab) == keys_of(lab.meters)
        from cryptography import x509

        own = x509.load_der_x509_certificate(lab.meters[0].memory.certificate)
        assert own.subject.rfc4514_string() == f"CN={lab.meters[0].id.lower}.sm"
        assert all(not r.repeated for r in origin(lab, lab.meters[0]))

    run_lab(tmp_path, 1, work, profile=profile)


@pytest.mark.req("LMN-N03")
def test_the_gateway_as_tls_server(tmp_path):
    """TR-03109-1 v1.0 3.3.4.1: both roles; which one is a setting."""
    text = '[lmn_wired]\ntls_role = "server"\n'

    async def main(clock):
        meters = rack_of(2, clock.now(), tls_role="client")
        home = wired_gateway(tmp_path / "gateway", meters)
        own_profile(home, text)
        async with WiredLab(home, clock, meters) as lab:
            await lab.seconds(130)
            assert ready(lab) == keys_of(meters)
            assert len(lab.device.metering.current) == 4

    run_virtual(main)


def test_slow_meters_and_the_quirk_of_early_emh_firmware(tmp_path):
    async def work(lab):
        for meter in lab.meters:
            meter.faults.latency_ms = 100
        await lab.seconds(180)
        assert ready(lab) == keys_of(lab.meters)

    run_lab(tmp_path, 2, work, models=("eHZ-early", "MT631"))


def test_the_interface_is_switched_off_and_on(tmp_path):
    """TR-03109-1 v1.0 3.3.5: no octet on the line while it is off."""

    async def work(lab):
        await lab.seconds(10)
        lab.gateway.running._settings_changed(Settings(), Settings(lmn_wired=False))
        assert not lab.line.stations
        sent = lab.rack.sim.busy_ns
        await lab.seconds(120)
        assert lab.rack.sim.busy_ns == sent
        assert not lab.log("meter-missing")  # who may not speak is not missing
        lab.gateway.running._settings_changed(Settings(lmn_wired=False), Settings())
        await lab.seconds(60)
        assert ready(lab) == keys_of(lab.meters)

    run_lab(tmp_path, 1, work)


def test_a_meter_profile_that_arrives_later_adopts_the_station(tmp_path):
    """The station has its address; the profile makes it a meter, with pairing and all."""

    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(30)
        assert not ready(lab)
        device = lab.device
        put = wired_config(lab, meter)
        with device.store.transaction():
            device.reconfigure(put, device.now(lab.clock.now()))
        put_keys_running(lab, meter)
        lab.gateway.running._reconfigured(lab.gateway.config, put)
        await lab.seconds(20)
        assert ready(lab) == keys_of(lab.meters)

    run_lab(tmp_path, 1, work, known=0)


def wired_config(lab, meter):
    from smgw_emu.core.meter_profile import Meter
    from smgw_emu.core.wan_profiles import LmnProfile

    config = lab.device.config
    return msgspec.structs.replace(
        config,
        meter=(*config.meter, Meter(str(meter.id))),
        lmn=(LmnProfile(str(meter.id), "LKS1", "TLS"),),
    )


def put_keys_running(lab, meter) -> None:
    from hsm_sim.slots import lmn_master_key
    from smgw_emu.bench.meters.keys import master_key

    lab.gateway.hsm.write_file(lmn_master_key(str(meter.id)), master_key(SEED, str(meter.id)))


def test_time_on_the_bus_is_bounded(tmp_path):
    """An hour with three meters polled each minute uses the line for a fraction of it."""

    async def work(lab):
        await lab.seconds(3600)
        return lab.rack.sim.busy_ns

    busy = run_lab(tmp_path, 3, work)
    assert busy < HOUR // 100


def test_orders_to_a_meter_that_is_gone_fail_by_name(tmp_path):
    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(10)
        meter.faults.silent = True
        answers = []
        lab.gateway.running.lmn.order(
            meter.id.lower, read_information(), lambda m, why, _at: answers.append((m, why))
        )
        await lab.seconds(60)
        ((messages, reason),) = answers
        assert messages is None
        assert reason
        from smgw_emu.core.errors import SmgwError

        with pytest.raises(SmgwError, match="no HDLC address"):
            lab.gateway.running.lmn.order(meter.id.lower, read_information(), print)

    run_lab(tmp_path, 1, work)


@pytest.mark.req("LMN-N03")
def test_a_strict_module_draws_the_gateways_part_of_the_handshake(tmp_path):
    """TR-03109-1 v1.0 3.3.4.1: the security module takes its part in the LMN handshake too."""

    async def main(clock):
        meters = rack_of(1, clock.now())
        home = wired_gateway(tmp_path / "gateway", meters, strict_module=True)
        async with WiredLab(home, clock, meters) as lab:
            before = lab.gateway.hsm.log.total
            await lab.seconds(130)
            assert ready(lab) == keys_of(meters)
            assert lab.gateway.hsm.log.total > before
            names = [entry.key for entry in lab.gateway.hsm.log.since(0)]
            assert any(name.startswith("MTR_LMN_TLS_PUB_") for name in names)
            assert any(name.startswith("GW_LMN_TLS_PRV_") for name in names)

    run_virtual(main)


@pytest.mark.parametrize(
    ("profile", "delay"), [("conexa-3.0/v3.87", 0), ("tr-2025/default", 3)], ids=["v1.0", "v2.0"]
)
def test_the_time_of_a_value_follows_the_edition(tmp_path, profile, delay):
    """REQ.TLSHDLC.SMGW.60: arrival less (refTime - valTime); by the norm of 2013 the arrival."""

    async def work(lab):
        (meter,) = lab.meters
        meter.registers.delay_s = 3
        await lab.seconds(130)
        captures = {capture for capture, *_ in lab.device.metering.current.values()}
        assert {capture.seconds for capture in captures} == {world(START).seconds + 120 - delay}

    run_lab(tmp_path, 1, work, profile=profile)


def test_an_order_during_a_rebuild_is_done_by_the_next_session(tmp_path):
    """What changes the meter is neither lost nor done twice while TLS is begun anew."""

    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(20)
        lab.line.rebuild(meter.id.lower)
        now = lab.clock.now().seconds
        messages, reason = await ordered(lab, meter, set_time(now, 3600, 0, 0))
        assert (messages is not None, reason) == (True, "")
        assert meter.server.clock[0] == now
        assert lab.line.session(meter.id.lower).sessions == 2

    run_lab(tmp_path, 1, work)


def test_a_crypto_reset_always_gets_its_answer(tmp_path):
    """Twice in a row, and to a meter that vanishes: each order ends with a result or a reason."""

    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(20)
        told = []
        give = lab.gateway.running.lmn.give
        for _ in range(2):
            give(meter.id.lower, "crypto-reset", lambda *said: told.append(said))
        await lab.seconds(20)
        assert told == [("", "ordered again"), ("", "")]
        meter.faults.silent = True
        give(meter.id.lower, "crypto-reset", lambda *said: told.append(said))
        await lab.seconds(60)
        assert len(told) == 3
        assert told[2][1]

    run_lab(tmp_path, 1, work)


def test_the_slot_in_use_is_the_one_the_certificate_names(tmp_path):
    """A power cut between key, certificate and anything else leaves a pair that fits."""

    async def work(lab):
        (meter,) = lab.meters
        await lab.seconds(20)
        credentials = lab.line.session(meter.id.lower).credentials
        before = credentials._suffix
        made = credentials.renew_own(lab.line.date())
        assert credentials._suffix == before  # made, but not in use
        credentials.switch(made)
        assert credentials._suffix != before
        again = credentials.renew_own(lab.line.date())
        credentials.switch(again)
        assert credentials._suffix == before

    run_lab(tmp_path, 1, work)
