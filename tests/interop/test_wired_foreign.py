"""The wired LMN against programs of others: mbedTLS as the meter's TLS, smllib and pysml for SML."""

from __future__ import annotations

import pytest
from support import START, run_virtual, world
from wired_lab import PROFILE, RULES, SEED, WiredLab, rack_of, wired_gateway

from lmn.sml import SmlFile, SmlReceiver
from lmn.sml.orders import encode_order, read_registers
from smgw_emu.bench.meters import ElectricityMeter
from smgw_emu.bench.meters.wired.meter import WiredMeter
from smgw_emu.core.instants import SECOND
from smgw_emu.core.obis import ACTIVE_ENERGY_EXPORT, ACTIVE_ENERGY_IMPORT

pytest.importorskip("mbedtls", reason="python-mbedtls has wheels for x86-64 up to 3.12")
from mbedtls import pk, tls, x509  # isort: skip
from mbedtls.exceptions import TLSError  # isort: skip

# mbedTLS 2.28 cannot read the empty names of Annex B: the certificates of the newer edition
NEWER = "tr-2025/default"
_SUITES = ("TLS-ECDHE-ECDSA-WITH-AES-128-CBC-SHA256", "TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256")


class MbedMeter(WiredMeter):
    """A meter whose TLS is mbedTLS; HDLC, SYM and SML stay ours."""

    suites = _SUITES

    def _opened(self, sap: int, now) -> None:
        self._engine = None
        if sap != self._rules.sap_tls:
            return
        memory = self.memory
        own = x509.CRT.from_DER(memory.certificate)
        key = pk.ECC.from_DER(memory.key)
        theirs = x509.CRT.from_DER(memory.gateway_certificates[0])
        configuration = tls.TLSConfiguration(
            trust_store=tls.TrustStore([theirs]),
            certificate_chain=([own], key),
            validate_certificates=True,
            ciphers=self.suites,
            lowest_supported_version=tls.TLSVersion.TLSv1_2,
            highest_supported_version=tls.TLSVersion.TLSv1_2,
        )
        self._engine = tls.TLSWrappedBuffer(tls.ServerContext(configuration))
        self.handshaken = False
        self._sml = SmlReceiver()

    def _arrived(self, data: bytes, now) -> None:
        if self.link.sap != self._rules.sap_tls:
            super()._arrived(data, now)
            return
        engine = self._engine
        if engine is None:
            return
        engine.receive_from_network(data)
        try:
            if not self.handshaken:
                self._shake(engine, now)
            else:
                self._read(engine, now)
        except (tls.WantReadError, tls.WantWriteError):
            pass
        except TLSError as error:
            self.failed = str(error)
            self._engine = None
            return
        self._drain(engine, now)

    def _shake(self, engine, now) -> None:
        """Go on with the handshake; mbedTLS wants its output taken in between."""
        while engine._handshake_state is not tls.HandshakeStep.HANDSHAKE_OVER:
            try:
                engine.do_handshake()
            except tls.WantWriteError:
                self._drain(engine, now)
        self.handshaken = True
        self.tls_sessions += 1
        self.shown = (engine.cipher(), engine.negotiated_tls_version())

    def _read(self, engine, now) -> None:
        for item in self._sml.receive(engine.read(65_536)):
            if isinstance(item, SmlFile):
                answer = self.server.answer(item.payload, now)
                for start in range(0, len(answer), PROFILE.lmn_wired.plaintext):
                    engine.write(answer[start : start + PROFILE.lmn_wired.plaintext])

    def _drain(self, engine, now) -> None:
        out = engine.peek_outgoing(65_536)
        if out:
            engine.consume_outgoing(len(out))
            for piece in self._packer_of(out):
                self._queue(piece, now)

    @staticmethod
    def _packer_of(out: bytes) -> list[bytes]:
        return [
            out[i : i + RULES.send_information] for i in range(0, len(out), RULES.send_information)
        ]


def mbed_rack(count, now, suites=_SUITES):
    meters = rack_of(count, now)
    for meter in meters:
        meter.__class__ = MbedMeter
        meter.suites = suites
        meter.failed = ""
    return meters


@pytest.mark.req("LMN-N03")
@pytest.mark.parametrize("suite", [*[(s,) for s in _SUITES], _SUITES])
def test_the_gateway_reads_meters_whose_tls_is_mbedtls(tmp_path, suite):
    """Handshake with pinned certificates of our making, CBC and GCM, then SML inside."""

    async def main(clock):
        meters = mbed_rack(2, clock.now(), suite)
        home = wired_gateway(tmp_path / "gateway", meters, profile=NEWER)
        async with WiredLab(home, clock, meters) as lab:
            await lab.seconds(130)
            assert all(m.tls_sessions == 1 for m in meters), [m.failed for m in meters]
            return dict(lab.device.metering.current), [m.shown for m in meters]

    current, shown = run_virtual(main)
    assert len(current) == 4
    for number, name in enumerate(("1isk0001000001", "1emh0001000002")):
        capture, value, scaler, unit = current[name, ACTIVE_ENERGY_IMPORT]
        fresh = ElectricityMeter(name, world(START), seed=SEED + number)
        fresh.advance(type(world(START))(capture.ns))
        assert abs(value - fresh.import_reading) <= 1
        assert (scaler, unit) == (-1, 30)
    assert all(str(cipher) in str(suite) for cipher, _ in shown), shown


def test_mbedtls_refuses_a_gateway_it_was_not_paired_with(tmp_path):
    """Trust is the certificate itself: another one of the same form fails, and is told."""

    async def main(clock):
        meters = mbed_rack(1, clock.now())
        home = wired_gateway(tmp_path / "gateway", meters, profile=NEWER)
        async with WiredLab(home, clock, meters) as lab:
            await lab.seconds(20)
            (meter,) = meters
            memory = meter.memory
            memory.gateway_certificates = (memory.certificate,)  # not the gateway's
            lab.line.rebuild(meter.id.lower)
            await lab.seconds(30)
            assert meter.failed
            assert lab.log("meter-session-failed")

    run_virtual(main)


def test_orders_are_sml_for_others():
    """Smllib's and pysml's frame finders accept what the gateway sends, checksums included."""
    from sml import SmlBase
    from smllib import SmlStreamReader

    client = bytes.fromhex("0a0e5448450000000001")
    order = read_registers([ACTIVE_ENERGY_IMPORT, ACTIVE_ENERGY_EXPORT])
    data = encode_order(order, client, 7)
    reader = SmlStreamReader()
    reader.add(data)
    frame = reader.get_frame()
    assert frame is not None
    end, found = SmlBase.find_frame(bytearray(data))
    assert end == len(data)
    assert len(found) == 4


def test_the_spec_sample_has_the_same_content():
    """lmn-wired.md 1.7: a request that libsml encoded; ours says the same, field by field."""
    from lmn.sml import decode_messages

    sample = bytes.fromhex(
        "1B1B1B1B010101017605000000006200620072650000010077010B0A0E454D48"
        "000000000105000000010101010163C45E007605000000016200620072650000"
        "050075010101740A0100010800FF80020003000203000303000401635D040076"
        "050000000262006200726500000200710163F36F000000001B1B1B1B1A039BB7"
    )
    client = bytes.fromhex("0A0E454D480000000001")
    ours = encode_order(read_registers([ACTIVE_ENERGY_IMPORT]), client, 1)

    def content(octets):
        (file,) = SmlReceiver().receive(octets)
        return [(m.transaction, m.group, m.body) for m in decode_messages(file.payload)]

    assert content(ours) == content(sample)


def test_answers_to_get_list_are_registers_for_smllib():
    """A wired meter's list response, read by a decoder others wrote."""
    from smllib import SmlStreamReader

    from lmn.sml.bodies import CloseRequest, GetListRequest, OpenRequest
    from lmn.sml.messages import Message, encode_messages

    now = world(START) + 3600 * SECOND
    (meter,) = rack_of(1, world(START))
    bodies = (OpenRequest(None, b"gw", b"1"), GetListRequest(b"gw"), CloseRequest())
    request = encode_messages([Message(b"1", body) for body in bodies])
    reader = SmlStreamReader()
    reader.add(meter.server.answer(request, now))
    values = {v.obis: v for v in reader.get_frame().get_obis()}
    mine = meter.registers.values(now)
    for obis, one in mine.items():
        shown = values[obis.hex]
        assert (shown.value, shown.scaler, shown.unit) == (one.value, one.scaler, one.unit)
    assert values["0100010800ff"].status == meter.registers.status(now)
