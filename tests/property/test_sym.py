"""SYM pairing (LMN-N02, L03): vectors, both readings of the length, forgeries, power cuts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from fuzz import fuzz
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lmn.sym import (
    Credentials,
    CryptoReset,
    Failed,
    Finished,
    MeterPairing,
    Pairing,
    PairingMemory,
    Quirk,
    Send,
    SymCodec,
)
from lmn.sym.messages import LAST_COUNTER
from lmn.sym.pairing import read_algorithms, write_algorithms
from smgw_emu.core.errors import LocalProtocolError, RemoteProtocolError

_FILE = Path(os.environ.get("SMGW_DATA", "")) / "hdlc" / "vectors.json"
VECTORS = json.loads(_FILE.read_text())["sym"] if _FILE.is_file() else []
MK = bytes(range(16))
ID = bytes.fromhex("0A014D54520E0000007B")

quirks = st.sampled_from(list(Quirk))


def der(size: int, fill: int = 7) -> bytes:
    """A SEQUENCE of some octets."""
    return b"\x30\x82" + size.to_bytes(2, "big") + bytes((fill,)) * size


def pair(gateway: SymCodec, meter: MeterPairing, given_: Credentials, last: int = 0):
    """Run a pairing; returns the outcome and the counter the gateway keeps."""
    sequence = Pairing(gateway, given_, last)
    step = sequence.start()
    while isinstance(step, Send):
        answer = meter.receive(step.data)
        if answer is None:
            return None, sequence.last_counter
        step = sequence.receive(answer)
    return step, sequence.last_counter


@pytest.mark.req("LMN-N02")
@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_the_vectors_bit_exact(vector):
    """Messages computed elsewhere: written the same, read with their content."""
    said, octets = vector["decoded"], bytes.fromhex(vector["hex"])
    padded = said["length_counts"] != "unpadded"
    codec = SymCodec(bytes.fromhex(vector["mk"]), bytes.fromhex(vector["server_id"]), padded=padded)
    kind, data = int(said["type"], 16), bytes.fromhex(said["plaintext"])
    assert codec.encode(kind, said["counter"], data) == octets
    message = codec.decode(octets)
    assert (message.type, message.counter, message.data) == (kind, said["counter"], data)
    assert said["cmac"] == octets[-16:].hex().upper()


def test_a_message_decrypts_with_the_published_key():
    """Independent of our derivation: AES-CBC with the key the vector names."""
    for vector in VECTORS:
        said = vector["decoded"]
        if said["ciphertext"]:
            key = bytes.fromhex(said["enc_key"].split()[1])
            reader = Cipher(algorithms.AES(key), modes.CBC(bytes(16))).decryptor()
            plain = reader.update(bytes.fromhex(said["ciphertext"]))
            assert plain.startswith(bytes.fromhex(said["plaintext"]))


@given(st.binary(max_size=70), st.integers(0, LAST_COUNTER), st.booleans(), quirks, st.booleans())
def test_round_trip(data, counter, padded, quirk, of_meter):
    """Both readings of the length field are accepted, whoever sends."""
    sender = SymCodec(MK, ID, quirk, padded=padded)
    reader = SymCodec(MK, ID, quirk, padded=not padded)
    kind = 0x83 if of_meter else 0x03
    message = reader.decode(sender.encode(kind, counter, data))
    assert (message.type, message.counter) == (kind, counter)
    if not padded:
        assert message.data == data
    assert message.plain.startswith(data)


@given(st.binary(min_size=1, max_size=40), st.data())
def test_any_change_is_refused(data, draw):
    """Counter and id are under the MAC, as is every octet."""
    codec = SymCodec(MK, ID)
    octets = bytearray(codec.encode(0x03, 5, data))
    bit = draw.draw(st.integers(0, 8 * len(octets) - 1))
    octets[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RemoteProtocolError):
        codec.decode(bytes(octets))
    with pytest.raises(RemoteProtocolError):
        SymCodec(MK, ID[:-1] + b"\x7c").decode(codec.encode(0x03, 5, data))


@fuzz(*(bytes.fromhex(v["hex"]) for v in VECTORS))
def test_arbitrary_octets_are_refused_by_name(data):
    codec = SymCodec(MK, ID)
    try:
        codec.decode(data)
    except RemoteProtocolError:
        return
    assert data.hex().upper() in {v["hex"] for v in VECTORS}


def test_a_key_of_another_length_is_our_own_fault():
    with pytest.raises(LocalProtocolError):
        SymCodec(MK[:-1], ID)


@pytest.mark.req("LMN-N02")
@given(quirks, st.booleans(), st.booleans(), st.integers(1, 600), st.integers(1, 200))
def test_pairing_brings_both_certificates_and_the_key(quirk, padded, meter_padded, size, key_size):
    """SYM 01 to 05, with sizes that fill blocks and such that do not; then 06 and 07 undo it."""
    memory = PairingMemory(counter=77)
    meter = MeterPairing(SymCodec(MK, ID, quirk, padded=meter_padded), memory)
    gateway = SymCodec(MK, ID, quirk, padded=padded)
    wanted = Credentials(der(size), der(key_size, 9), der(size, 3))
    outcome, counter = pair(gateway, meter, wanted)
    assert isinstance(outcome, Finished)
    assert outcome.fragment == 2048
    assert 0xC023 in outcome.suites
    assert memory.certificate == wanted.meter_certificate
    assert memory.key == wanted.meter_key
    assert memory.gateway_certificates == (wanted.gateway_certificate,)
    assert memory.counter == counter > 77
    reset = CryptoReset(gateway, counter)
    step = reset.start()
    while isinstance(step, Send):
        answer = meter.receive(step.data)
        assert answer is not None
        step = reset.receive(answer)
    assert isinstance(step, Finished)
    assert not memory.paired
    assert not memory.key


@pytest.mark.req("L03")
def test_a_wrong_master_key_gets_no_answer_and_changes_nothing():
    memory = PairingMemory()
    meter = MeterPairing(SymCodec(MK, ID), memory)
    outcome, _ = pair(SymCodec(MK[::-1], ID), meter, Credentials(der(9), der(9), der(9)))
    assert outcome is None
    assert memory == PairingMemory()


def test_an_early_emh_meter_needs_its_quirk():
    memory = PairingMemory()
    meter = MeterPairing(SymCodec(MK, ID, Quirk.EMH_EARLY), memory)
    outcome, _ = pair(SymCodec(MK, ID), meter, Credentials(der(9), der(9), der(9)))
    assert outcome is None
    outcome, _ = pair(SymCodec(MK, ID, Quirk.EMH_EARLY), meter, Credentials(der(9), der(9), der(9)))
    assert isinstance(outcome, Finished)


def test_replays_are_not_answered_and_not_believed():
    """TR-03116-3 7.1: a counter is above the last authentic one, for both sides, for ever."""
    memory, codec = PairingMemory(), SymCodec(MK, ID)
    meter = MeterPairing(codec, memory)
    sequence = Pairing(codec, Credentials(der(9), der(9), der(9)))
    first = meter.receive(sequence.start().data)
    assert first is not None
    request = sequence.receive(first)
    assert isinstance(request, Send)
    answer = meter.receive(request.data)
    assert answer is not None
    assert meter.receive(request.data) is None  # the same request again
    sequence.receive(answer)
    again = Pairing(codec, Credentials(der(9), der(9), der(9)), sequence.last_counter)
    again.start()
    assert isinstance(again.receive(first), Failed)  # an answer of an earlier pairing


def test_counters_never_wrap():
    memory = PairingMemory(counter=LAST_COUNTER - 2)
    codec = SymCodec(MK, ID)
    meter = MeterPairing(codec, memory)
    outcome, _ = pair(codec, meter, Credentials(der(9), der(9), der(9)))
    assert not isinstance(outcome, Finished)
    assert memory.counter < LAST_COUNTER


def test_a_reset_needs_both_messages_in_a_row():
    memory = PairingMemory(5, der(9), der(9), (der(9),))
    codec = SymCodec(MK, ID)
    meter = MeterPairing(codec, memory)
    assert meter.receive(codec.encode(7, 10)) is None
    assert meter.receive(codec.encode(6, 11)) is not None
    assert meter.receive(codec.encode(2, 20)) is not None
    assert meter.receive(codec.encode(7, 30)) is None
    assert memory.paired


def test_reasons_name_no_secret():
    credentials = Credentials(b"a", b"secret key", b"b")
    assert "secret" not in repr(credentials)
    assert "secret" not in repr(PairingMemory(1, b"c", b"secret", (b"d",)))


@given(st.lists(st.integers(0, 65535), max_size=8), st.lists(st.integers(0, 65535), max_size=8))
def test_algorithms_round_trip(suites, curves):
    assert read_algorithms(write_algorithms(tuple(suites), tuple(curves))) == (
        tuple(suites),
        tuple(curves),
    )


@given(st.binary(max_size=40))
def test_other_layouts_of_the_algorithms_are_no_error(data):
    """The layout is in the DIN text only: what is not ours says nothing, the handshake decides."""
    suites, curves = read_algorithms(data)
    written = write_algorithms(suites, curves)
    assert written == b"\0\0" or data.rstrip(b"\0") == written.rstrip(b"\0")


class Association(RuleBasedStateMachine):
    """Pairings, resets, lost answers, power cuts, forgeries: a meter is paired wholly or not."""

    @initialize(quirk=quirks)
    def begin(self, quirk: Quirk) -> None:
        self.codec = SymCodec(MK, ID, quirk)
        self.memory = PairingMemory()
        self.meter = MeterPairing(self.codec, self.memory)
        self.last = 0
        self.number = 0
        self.complete: set[tuple[bytes, bytes, bytes]] = set()
        self.counters: list[int] = [1]
        self.old: list[bytes] = []

    @rule(cut=st.integers(1, 6), lose=st.booleans())
    def pairing(self, cut: int, lose: bool) -> None:
        self.number += 1
        n = self.number % 200
        wanted = Credentials(der(20 + n, n), der(30, n), der(40, n))
        self._run(Pairing(self.codec, wanted, self.last), cut, lose)
        self.complete.add((wanted.meter_certificate, wanted.meter_key, wanted.gateway_certificate))

    @rule(cut=st.integers(1, 4), lose=st.booleans())
    def reset(self, cut: int, lose: bool) -> None:
        self._run(CryptoReset(self.codec, self.last), cut, lose)

    def _run(self, sequence, cut: int, lose: bool) -> None:
        step, count = sequence.start(), 0
        while isinstance(step, Send) and count < cut:
            count += 1
            self.old.append(step.data)
            answer = self.meter.receive(step.data)
            assert answer is not None, "a rightful gateway is always answered"
            if lose and count == cut:
                break
            step = sequence.receive(answer)
            self.last = sequence.last_counter

    @rule(number=st.integers(0, 500))
    def replay(self, number: int) -> None:
        """An old request, but for the counter question, is not answered."""
        if self.old:
            data = self.old[number % len(self.old)]
            before = (self.memory.certificate, self.memory.key, self.memory.gateway_certificates)
            answer = self.meter.receive(data)
            assert answer is None or data[0] == 1
            assert before == (
                self.memory.certificate, self.memory.key, self.memory.gateway_certificates
            )  # fmt: skip

    @rule(data=st.binary(max_size=60))
    def noise(self, data: bytes) -> None:
        assert self.meter.receive(data) is None

    @rule()
    def power_cut(self) -> None:
        self.meter = MeterPairing(self.codec, self.memory)

    @invariant()
    def whole_or_not_at_all(self) -> None:
        if not hasattr(self, "memory"):
            return
        memory = self.memory
        self.counters.append(memory.counter)
        assert self.counters[-2] <= self.counters[-1]
        if memory.certificate or memory.key or memory.gateway_certificates:
            assert memory.paired
            mine = (memory.certificate, memory.key, memory.gateway_certificates[0])
            assert mine in self.complete | {self._under_way()}

    def _under_way(self) -> tuple[bytes, bytes, bytes]:
        n = self.number % 200
        return (der(20 + n, n), der(30, n), der(40, n))


TestAssociation = pytest.mark.req("LMN-N02")(Association.TestCase)
