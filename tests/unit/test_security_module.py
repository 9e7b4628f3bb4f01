"""The security module: published PACE numbers, life cycle, PIN, log, secure messaging."""

from __future__ import annotations

import itertools
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from fuzz import fuzz
from hypothesis import given
from hypothesis import strategies as st

from hsm_sim import (
    Curve,
    PinError,
    Purpose,
    SecurityModule,
    SecurityModuleError,
    curves,
    meter_keys,
    pace,
)
from hsm_sim.apdu import (
    Command,
    Ins,
    Response,
    Status,
    command_name,
    decode_command,
    decode_response,
)
from hsm_sim.card import ALLOWED, Card, LifeCycle
from hsm_sim.curves import point_octets, public_key
from hsm_sim.link import MAX_SESSION_NS
from hsm_sim.log import CMS_SEAL, TLS_HANDSHAKE, ApduLog, follows
from hsm_sim.memory import Memory
from hsm_sim.randomness import HmacDrbg, SystemRandom
from hsm_sim.secure_messaging import Channel, SecureMessagingError
from hsm_sim.slots import HAN_TLS, gwa_key, lmn_key, wan_certificate, wan_key
from smgw_emu.core.errors import LocalProtocolError, RemoteProtocolError

SIG, ENC = wan_key(Purpose.SIG), wan_key(Purpose.ENC)
ORDER = curves.ORDERS[Curve.BRAINPOOL_P256]


@pytest.fixture
def module(tmp_path):
    made = SecurityModule(tmp_path / "hsm")
    made.generate(SIG, Curve.BRAINPOOL_P256)
    return made


# -- PACE ----------------------------------------------------------------------------------------


class Fixed:
    """Gives the private keys of the worked example."""

    deterministic = True

    def __init__(self, *keys: str) -> None:
        self._keys = [((int(key, 16) - 1) % (ORDER - 1)).to_bytes(40, "big") for key in keys]

    def octets(self, _count: int) -> bytes:
        return self._keys.pop(0)


@pytest.mark.req("HSM-N05")
def test_pace_as_the_published_worked_example():
    """ICAO Doc 9303-11 appendix G.1 (= TR-03110 worked example): ECDH, generic mapping, AES-128."""
    key = pace.kdf(bytes.fromhex("7E2D2A41C74EA0B38CD36F863939BFA8E9032AAD"), 3)
    assert key.hex() == "89ded1b26624ec1e634c1989302849dd"
    cryptogram = bytes.fromhex("95A3A016522EE98D01E76CB6B98B42C3")
    nonce = pace.decrypt_nonce(key, cryptogram)
    assert nonce.hex() == "3f00c4d39d153f2b2a214a078d899b22"
    assert pace.encrypt_nonce(key, nonce) == cryptogram
    terminal = pace.Exchange(
        nonce,
        Fixed(
            "7F4EF07B9EA82FD78AD689B38D0BC78CF21F249D953BC46F4C6E19259C010F99",
            "A73FB703AC1436A18E0CFA5ABB3F7BEC7A070E7A6788486BEE230C4A22762595",
        ),
    )
    chip = pace.Exchange(
        nonce,
        Fixed(
            "498FF49756F2DC1587840041839A85982BE7761D14715FB091EFA7BCE9058560",
            "107CF58696EF6155053340FD633392BA81909DF7B9706F226F32086C7AFF974A",
        ),
    )
    assert terminal.mapping_key().hex() == (
        "047acf3efc982ec45565a4b155129efbc74650dcbfa6362d896fc70262e0c2cc5e"
        "544552dcb6725218799115b55c9baa6d9f6bc3a9618e70c25af71777a9c4922d"
    )
    terminal.map(chip.mapping_key())
    chip.map(terminal.mapping_key())
    assert curves.pace_octets(terminal._generator).hex() == (
        "048ced63c91426d4f0eb1435e7cb1d74a46723a0af21c89634f65a9ae87a9265e2"
        "8c879506743f8611ac33645c5b985c80b5f09a0b83407c1b6a4d857ae76fe522"
    )
    keys = terminal.agree(chip.ephemeral_key()) if terminal.ephemeral_key() else ()
    assert [item.hex() for item in keys] == [
        "f5f0e35c0d7161ee6724ee513a0d9a7f",
        "fe251c7858b356b24514b3bd5f4297d1",
    ]
    assert chip.agree(terminal.ephemeral_key()) == keys
    assert terminal.token().hex() == "c2b0bd78d94ba866"
    assert chip.token().hex() == "3abb9674bce93c08"
    assert chip.check_token(terminal.token())
    assert not chip.check_token(chip.token())


@pytest.mark.parametrize("pin", ["", "123456789", "12345678901x", "１２３４５６７８９０"])
@pytest.mark.req("HSM-N05")
def test_a_pin_has_ten_decimal_digits_at_least(pin):
    """TR-03116-3 table 28."""
    with pytest.raises(RemoteProtocolError, match="10 decimal digits"):
        pace.pin_key(pin)


@pytest.mark.parametrize(
    "point", [b"", b"\x04" * 65, b"\x02" + bytes(32), b"\x04" + bytes(64), bytes(65)]
)
def test_pace_refuses_what_is_no_point(point):
    """Invalid curve points end the run."""
    exchange = pace.Exchange(bytes(16), SystemRandom())
    with pytest.raises(RemoteProtocolError):
        exchange.map(point)


@pytest.mark.req("HSM-N05")
def test_the_pin_counter(tmp_path):
    """Three tries; each wrong one is counted even if power is cut right after; a good one resets."""
    SecurityModule(tmp_path / "hsm").generate("A", Curve.P256)
    wrong = "0000000000"
    for left in (2, 1):
        module = SecurityModule(tmp_path / "hsm", pin=wrong)  # a new power-up each time
        with pytest.raises(PinError) as caught:
            module.random(1)
        assert caught.value.tries == left == module.pin_tries
    assert SecurityModule(tmp_path / "hsm").random(4)
    assert SecurityModule(tmp_path / "hsm").pin_tries == 3
    for _ in range(3):
        with pytest.raises(PinError):
            SecurityModule(tmp_path / "hsm", pin=wrong).random(1)
    with pytest.raises(PinError, match="blocked"):
        SecurityModule(tmp_path / "hsm").random(1)  # even the right one


def test_a_pin_change_cut_short_locks_nobody_out(module, tmp_path):
    """The new PIN is noted before the card takes it; whichever holds, the gateway gets in."""
    pin_file = tmp_path / "hsm.pin"
    old = pin_file.read_text()
    module.change_pin("98765432109876")
    assert pin_file.read_text() == "98765432109876"
    pin_file.write_text(f"{old}\n98765432109876")  # cut after the card changed
    again = SecurityModule(tmp_path / "hsm")
    assert again.slots() == [SIG]
    assert pin_file.read_text() == "98765432109876"
    assert again.pin_tries == 3 if again._link._channel is None else True
    with pytest.raises(SecurityModuleError, match="digits"):
        again.change_pin("short")


# -- access and life cycle -----------------------------------------------------------------------


def bare_card(tmp_path) -> Card:
    return Card(Memory(tmp_path / "hsm"), SystemRandom())


def status(card: Card, *fields, **more) -> int:
    return decode_response(card.process(Command(*fields, **more).encode())).status


def test_without_a_channel_nothing_but_the_way_in(module, tmp_path):
    """6982 for every instruction but PACE, GET CHALLENGE and the open part of GET DATA."""
    card = bare_card(tmp_path)
    for ins in Ins:
        found = status(card, 0, ins, 0, 0, b"\x84\x01A", 256)
        if ins is Ins.GET_CHALLENGE:
            assert found == Status.OK
        elif ins not in ALLOWED[LifeCycle.INTEGRATION]:
            assert found == Status.CONDITIONS
        elif ins is not Ins.GET_DATA:
            assert found == Status.SECURITY_STATUS
    assert status(card, 0, 0x99) == Status.UNKNOWN_INSTRUCTION
    assert status(card, 0x80, Ins.GET_CHALLENGE, expected=8) == Status.UNKNOWN_CLASS
    assert card.process(b"\x00") == b"\x67\x00"
    assert status(card, 0, Ins.GET_DATA, 0, 1, expected=256) == Status.OK
    assert status(card, 0, Ins.GET_DATA, 0, 2, expected=256) == Status.SECURITY_STATUS


def test_the_life_of_a_module(tmp_path):
    """Manufacturing to end of life; keys may be deleted in operation only; the end wipes all."""
    module = SecurityModule(tmp_path / "hsm")
    assert module.life_cycle is LifeCycle.INTEGRATION
    module.generate("A", Curve.P384)
    with pytest.raises(SecurityModuleError, match="not allowed in life cycle state integration"):
        module.delete("A")
    assert module.advance() is LifeCycle.PRE_PERSONALISED
    assert module.advance() is LifeCycle.OPERATIONAL
    with pytest.raises(SecurityModuleError):
        module.advance()
    module.write_file("A", b"certificate")
    module.delete("A")
    with pytest.raises(SecurityModuleError, match="empty"):
        module.delete("A")
    module.generate("B", Curve.BRAINPOOL_P512)
    module.terminate()
    assert not list((tmp_path / "hsm").glob("*.p8"))
    with pytest.raises(SecurityModuleError):
        SecurityModule(tmp_path / "hsm").random(1)


def test_a_card_in_manufacturing_wants_its_pin_first(tmp_path):
    """ACTIVATE without a PIN is refused."""
    card = bare_card(tmp_path)
    assert status(card, 0, Ins.ACTIVATE) == Status.CONDITIONS
    assert status(card, 0, Ins.CHANGE_REFERENCE_DATA, 1, 0, b"123") == Status.WRONG_DATA
    assert status(card, 0, Ins.CHANGE_REFERENCE_DATA, 1, 0, b"1234567890") == Status.OK
    assert status(card, 0, Ins.SELECT, 4, 0, b"A") == Status.CONDITIONS
    assert status(card, 0, Ins.ACTIVATE) == Status.OK
    assert card.life_cycle is LifeCycle.INTEGRATION


@pytest.mark.req("HSM-01")
def test_keys_serve_their_purpose_and_never_leave(module, tmp_path):
    """Key agreement only with ENC keys; no answer of the card ever holds a private scalar."""
    module.generate(ENC, Curve.BRAINPOOL_P256)
    answers = []
    original = module._card.process
    module._card.process = lambda octets: answers.append(original(octets)) or answers[-1]
    other = ec.generate_private_key(ec.BrainpoolP256R1())
    shared = module.agree(ENC, other.public_key())
    assert shared == other.exchange(ec.ECDH(), module.public_key(ENC))
    point, inside = module.agree_ephemeral(other.public_key())
    assert inside == other.exchange(ec.ECDH(), public_key(Curve.BRAINPOOL_P256, point))
    with pytest.raises(SecurityModuleError, match="not allowed"):
        module.agree(SIG, other.public_key())
    with pytest.raises(SecurityModuleError):
        module.agree(ENC, ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(SecurityModuleError, match="in use"):
        module.generate("EPHEMERAL", Curve.P256)
    module.sign_plain(SIG, b"x")
    scalar = module._memory.key(SIG).private_numbers().private_value.to_bytes(32, "big")
    assert all(scalar not in answer for answer in answers)


def test_public_keys_of_others(module):
    """GWA keys: import, verify, refuse a wrong signature, name a missing one."""
    other = ec.generate_private_key(ec.BrainpoolP256R1())
    name = gwa_key(Purpose.SIG)
    with pytest.raises(SecurityModuleError, match="empty"):
        module.verify(name, bytes(32), b"")
    module.import_public_key(name, other.public_key())
    digest = b"\x11" * 32
    signature = other.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    assert module.verify(name, digest, signature)
    for wrong in (b"", b"junk", signature[:-1] + bytes((signature[-1] ^ 1,))):
        assert not module.verify(name, digest, wrong)
    assert not module.verify(name, b"\x12" * 32, signature)
    with pytest.raises(SecurityModuleError):
        module.verify(name, b"short", signature)
    newer = ec.generate_private_key(ec.BrainpoolP256R1())
    module.import_public_key(name, newer.public_key())
    assert not module.verify(name, digest, signature)  # the old key is gone at once


def test_files(module):
    """Certificates lie in the module; too large ones and missing ones are refused."""
    module.write_file(wan_certificate(Purpose.TLS), b"x" * 3000)
    assert module.read_file(wan_certificate(Purpose.TLS)) == b"x" * 3000
    assert module.files() == [wan_certificate(Purpose.TLS)]
    with pytest.raises(SecurityModuleError, match="not in the module"):
        module.read_file("NOTHING")
    with pytest.raises(SecurityModuleError):
        module.write_file("BIG", b"x" * 20_000)
    with pytest.raises(SecurityModuleError):
        module.write_file("../etc", b"x")
    assert lmn_key("1emh0004911613") == "GW_LMN_TLS_PRV_1EMH0004911613"
    assert HAN_TLS == "GW_HAN_TLS_PRV"


def test_a_damaged_or_lost_record_is_named(tmp_path):
    """A module without its record is not taken for a new one."""
    SecurityModule(tmp_path / "hsm").generate("A", Curve.P256)
    (tmp_path / "hsm" / "card.json").write_text("{")
    with pytest.raises(SecurityModuleError, match="damaged"):
        SecurityModule(tmp_path / "hsm")
    (tmp_path / "hsm" / "card.json").unlink()
    with pytest.raises(SecurityModuleError, match="lost"):
        SecurityModule(tmp_path / "hsm")
    (tmp_path / "other").mkdir()
    SecurityModule(tmp_path / "other" / "hsm")
    (tmp_path / "other" / "hsm.pin").unlink()
    with pytest.raises(SecurityModuleError, match="PIN"):
        SecurityModule(tmp_path / "other" / "hsm")


# -- secure messaging ----------------------------------------------------------------------------


@given(
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(max_size=700),
    st.one_of(st.none(), st.integers(1, 65_536)),
    st.binary(max_size=700),
    st.sampled_from(list(Status)),
)
def test_what_is_wrapped_comes_out_unchanged(p1, p2, data, expected, answer, code):
    """Commands and responses of any length, both directions, with counters in step."""
    ours, theirs = Channel(b"k" * 16, b"m" * 16), Channel(b"k" * 16, b"m" * 16)
    command = Command(0, Ins.GET_DATA, p1, p2, data, expected)
    for _ in range(2):
        wire = decode_command(ours.wrap(command).encode())
        assert len(data) < 8 or data not in wire.encode()
        assert theirs.unwrap(wire) == command
        reply = theirs.wrap_response(Response(code, answer))
        assert ours.unwrap_response(decode_response(reply.encode())) == Response(code, answer)


@pytest.mark.req("HSM-N05")
def test_every_changed_octet_is_noticed():
    """One flipped bit anywhere, a replay or a lost command: 6988 or an error, never a wrong answer."""
    wire = Channel(b"k" * 16, b"m" * 16).wrap(Command(0, Ins.GET_CHALLENGE, 1, 2, b"data", 16))
    octets = wire.encode()
    for position, bit in itertools.product(range(len(octets)), range(8)):
        changed = bytearray(octets)
        changed[position] ^= 1 << bit
        theirs = Channel(b"k" * 16, b"m" * 16)
        try:
            command = decode_command(bytes(changed))
            opened = theirs.unwrap(command)
        except (SecureMessagingError, RemoteProtocolError):
            continue
        # only the outer Le, which is not protected, may differ
        assert opened == Command(0, Ins.GET_CHALLENGE, 1, 2, b"data", 16)
        assert position == len(octets) - 1
    theirs = Channel(b"k" * 16, b"m" * 16)
    theirs.unwrap(wire)
    with pytest.raises(SecureMessagingError):
        theirs.unwrap(wire)


def test_a_broken_channel_is_dropped(module):
    """A plain command is 6987, a wrong MAC 6988; both end the channel, the next command is 6982."""
    for wrong, code in ((Command(0, Ins.GET_CHALLENGE, expected=8), Status.SM_MISSING),
                        (Command(0x0C, Ins.GET_CHALLENGE, data=b"\x8e\x08" + bytes(8)), Status.SM_WRONG)):  # fmt: skip
        module._link._channel = None
        module.random(1)
        assert status(module._card, wrong.cla, wrong.ins, data=wrong.data, expected=8) == code
        assert status(module._card, 0, Ins.READ_BINARY, expected=8) == Status.SECURITY_STATUS


@pytest.mark.req("HSM-N05")
def test_the_channel_is_renewed_after_48_hours(tmp_path):
    """TR-03116-3 chapter 10: at most 48 h of secure messaging."""
    now = [0]
    module = SecurityModule(tmp_path / "hsm", clock=lambda: now[0])
    module.generate("A", Curve.P256)
    module.sign("A", b"x")
    before = sum(entry.command == "MSE: Set AT (PACE)" for entry in module.log)
    now[0] = MAX_SESSION_NS - 1
    module.sign("A", b"x")
    assert sum(entry.command == "MSE: Set AT (PACE)" for entry in module.log) == before
    now[0] = MAX_SESSION_NS
    module.sign("A", b"x")
    assert sum(entry.command == "MSE: Set AT (PACE)" for entry in module.log) == before + 1


_PLAIN = [
    Command(0, Ins.MANAGE_SECURITY_ENVIRONMENT, 0xC1, 0xA4, b"\x80\x01\x00").encode(),
    Command(0x10, Ins.GENERAL_AUTHENTICATE, 0, 0, b"\x7c\x00", 256).encode(),
    Command(0, Ins.GENERATE_KEY_PAIR, 0x80, 0, b"\x84\x01A", 256).encode(),
]


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    SecurityModule(folder / "hsm")
    return SecurityModule(folder / "hsm")


def test_arbitrary_apdus_get_a_status_word(fuzzed):
    """10 000 plain APDUs: two octets of status at least, never an exception."""

    @fuzz(*_PLAIN)
    def run(data):
        card = fuzzed._card
        card.reset()
        answer = card.process(data)
        assert len(answer) >= 2

    run()


def test_arbitrary_commands_inside_the_channel_get_a_status_word(fuzzed):
    """10 000 protected commands with any instruction, parameters and data."""
    seeds = [bytes((ins, 0x80, 0x00)) + b"\x84\x03FUZ" for ins in Ins if ins is not Ins.TERMINATE]

    @fuzz(*seeds)
    def run(data):
        if len(data) < 3 or data[0] in {Ins.TERMINATE, Ins.CHANGE_REFERENCE_DATA, Ins.ACTIVATE}:
            return
        if data[:2] == bytes((Ins.GENERATE_KEY_PAIR, 0x80)) or data[0] == Ins.UPDATE_BINARY:
            return  # works as it should, and writes to the disk each time
        answer = fuzzed._link.transmit(Command(0, data[0], data[1], data[2], data[3:], 256), "")
        assert 0x6000 <= answer.status <= 0x9000

    run()


@fuzz(*_PLAIN, Command(0, 1, 2, 3, b"x" * 300, 65_536).encode())
def test_apdus_are_read_as_they_were_written(data):
    """Short and extended lengths; what decodes encodes to something that decodes the same."""
    try:
        command = decode_command(data)
    except RemoteProtocolError:
        return
    assert decode_command(command.encode()) == command
    assert command_name(command)


# -- log, order, reproducibility -----------------------------------------------------------------


def test_the_log_tells_the_order_and_no_data(module):
    """Names, keys, lengths, status words; neither PIN nor digests nor results."""
    module.sign(SIG, b"reading")
    text = json.dumps([entry.command + entry.key + entry.status for entry in module.log])
    assert "PSO: COMPUTE DIGITAL SIGNATURE" in text
    assert module._link.pin not in text
    assert all(len(entry.key) < 40 for entry in module.log)
    assert [entry.number for entry in module.log] == list(range(1, module.log.total + 1))
    small = ApduLog(3)
    for _ in range(5):
        small.add(Command(0, 0x99), Response(Status.OK), "")
    assert [entry.number for entry in small] == [3, 4, 5]
    assert [entry.number for entry in small.since(4)] == [5]
    assert next(iter(small)).command == "INS 99"


def test_the_norms_order_is_recognised():
    """Figures F28 and F30: order counts, other commands between do not, refusals do not count."""
    log = ApduLog()

    def add(command: Command, key: str = "", code: int = Status.OK) -> None:
        log.add(command, Response(code), key)

    add(Command(0, Ins.GENERAL_AUTHENTICATE), "EPHEMERAL")
    add(Command(0, Ins.GET_CHALLENGE))
    assert not follows(log, CMS_SEAL)
    add(Command(0, Ins.GENERAL_AUTHENTICATE), "EPHEMERAL", Status.CONDITIONS)
    add(Command(0, Ins.PERFORM_SECURITY_OPERATION, 0x9E, 0x9A), "K")
    assert not follows(log, CMS_SEAL)
    add(Command(0, Ins.GENERAL_AUTHENTICATE), "EPHEMERAL")
    add(Command(0, Ins.PERFORM_SECURITY_OPERATION, 0x00, 0xA8), "K")
    assert not follows(log, CMS_SEAL)
    assert not follows(log, TLS_HANDSHAKE)
    add(Command(0, Ins.PERFORM_SECURITY_OPERATION, 0x9E, 0x9A), "K")
    assert follows(log, CMS_SEAL)
    assert follows(log, TLS_HANDSHAKE)


def test_a_seeded_module_repeats_itself(tmp_path):
    """Same seed, same keys, random numbers and signatures; a restart goes on, it does not repeat."""
    made = []
    for name in ("a", "b"):
        module = SecurityModule(tmp_path / name / "hsm", seed="lab 1")
        key = point_octets(module.generate(SIG, Curve.BRAINPOOL_P256))
        made.append((key, module.random(300), module.sign_plain(SIG, b"x")))
        assert module.deterministic
    assert made[0] == made[1]
    again = SecurityModule(tmp_path / "a" / "hsm", seed="lab 1")
    assert again.random(300) != made[0][1]
    other = SecurityModule(tmp_path / "c" / "hsm", seed="lab 2")
    assert other.random(300) != made[0][1]
    module.public_key(SIG).verify(module.sign(SIG, b"x"), b"x", ec.ECDSA(hashes.SHA256()))


def test_the_generator_is_hmac_drbg():
    """Against a second, naive writing of SP 800-90A 10.1.2, octet by octet."""
    import hashlib
    import hmac

    def reference(seed: bytes, counts: list[int]) -> list[bytes]:
        key, value = bytes(32), b"\x01" * 32

        def mac(data: bytes) -> bytes:
            return hmac.new(key, data, hashlib.sha256).digest()

        key = mac(value + b"\x00" + seed)
        value = mac(value)
        key = mac(value + b"\x01" + seed)
        value = mac(value)
        out = []
        for count in counts:
            got = b""
            while len(got) < count:
                value = mac(value)
                got += value
            out.append(got[:count])
            key = mac(value + b"\x00")
            value = mac(value)
        return out

    drbg = HmacDrbg(b"seed")
    counts = [1, 32, 33, 100, 64]
    assert [drbg.octets(count) for count in counts] == reference(b"seed", counts)


# -- keys of meters ------------------------------------------------------------------------------


@pytest.mark.req("HSM-08")
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("", "bb1d6929e95937287fa37d129b756746"),
        ("6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c"),
        (
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
            "dfa66747de9ae63030ca32611497c827",
        ),
    ],
)
def test_the_mac_primitive(message, expected):
    """RFC 4493 chapter 4, examples 1 to 3."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    assert meter_keys.mac(key, bytes.fromhex(message)).hex() == expected


@pytest.mark.req("HSM-08")
def test_meter_keys_as_oms_publishes_them():
    """TR-03116-3 7.2 with the official OMS values (lmn-wireless.md 4)."""
    master, counter, meter = bytes(range(16)), bytes.fromhex("b30a0000"), bytes.fromhex("78563412")
    found = {
        which: meter_keys.derive(master, which, counter, meter).hex()
        for which in meter_keys.MeterKey
    }
    assert found[meter_keys.MeterKey.K_ENC] == "eccf39d475d730b8284fdfdc1995d52f"
    assert found[meter_keys.MeterKey.K_MAC] == "c9cd19ff5a9aad5a6bbda13bd2c4c7ad"
    assert len(set(found.values())) == 4
    # wired: counter and server id MSB first (lmn-wired.md 1.5)
    counter, meter = (512).to_bytes(4, "big"), bytes.fromhex("0a014d54520e0000007b")
    assert [
        meter_keys.derive(master, which, counter, meter).hex() for which in meter_keys.MeterKey
    ] == [
        "4ea7cec4f4f9a65d3284b8552c2cc4f7",
        "4915a9ba05d9485bebb91008670f9e76",
        "5d06b4f165350c4827fa37d78a16864a",
        "4b41db528e545f2f9fe82b5e739d4a58",
    ]
    assert meter_keys.pad(bytes(16)) == bytes(16) + b"\x10" * 16
    for wrong in ((b"short", counter), (master, b"123")):
        with pytest.raises(LocalProtocolError):
            meter_keys.derive(wrong[0], meter_keys.MeterKey.K_ENC, wrong[1], meter)


@pytest.mark.req("HSM-02", "HSM-05")
def test_a_second_generation_beside_the_first(tmp_path):
    """Wirk keys are made, requested, certified and installed while the Guetesiegel set goes on."""
    from datetime import UTC, datetime, timedelta

    from hsm_sim.certificates import subject_key_identifier
    from smgw_emu.bench.pki import Role, TestPki, der
    from wan.certificates import check_path, load
    from wan.cms import Signer
    from wan.requests import KeyToCertify, authorise, build, renew, subject_name

    pki = TestPki()
    gwa = pki.participant(Role.GWA, "gwa1")
    module = SecurityModule(tmp_path / "hsm")
    for purpose in Purpose:
        module.generate(wan_key(purpose, 0), Curve.BRAINPOOL_P256)
    seal = pki.participant(
        Role.SMGW, "ETHE0399000001", {p: module.public_key(wan_key(p, 0)) for p in Purpose}
    )
    for purpose in Purpose:
        module.write_file(wan_certificate(purpose, 0), seal.identity(purpose).certificate_der)

    def to_certify(purpose: Purpose) -> KeyToCertify:
        slot = wan_key(purpose, 1)
        key = module.generate(slot, Curve.BRAINPOOL_P256)
        return KeyToCertify(key, lambda digest: module.sign_digest(slot, digest))

    request = build(
        subject_name("ETHE0399000001.SMGW", "SM-Test-PKI-DE"), {p: to_certify(p) for p in Purpose}
    )
    old = Signer(
        subject_key_identifier(module.public_key(wan_key(Purpose.SIG, 0))),
        lambda digest: module.sign_digest(wan_key(Purpose.SIG, 0), digest),
    )
    issued = pki.answer(authorise(renew(request, old), gwa.signer()), gwa.trust())
    for purpose, certificate in issued.items():
        module.write_file(wan_certificate(purpose, 1), der(certificate))
    again = SecurityModule(tmp_path / "hsm")
    at = datetime.now(UTC) + timedelta(hours=1)
    for generation in (0, 1):
        again.check(tuple(wan_key(purpose, generation) for purpose in Purpose))
        for purpose in Purpose:
            certificate = load(again.read_file(wan_certificate(purpose, generation)))
            assert certificate.public_key() == again.public_key(wan_key(purpose, generation))
            check_path(certificate, (pki.sub_ca,), pki.root, at, purpose=purpose)
