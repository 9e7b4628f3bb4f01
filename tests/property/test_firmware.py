"""Packages, boot chain and update: any octets, any damage, the power cut at any octet and step."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec
import pytest
from fuzz import fuzz
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support import scratch

from firmware.chain import BootError, boot
from firmware.flash import FileDisk, Flash, FlashError, install
from firmware.package import (
    HEAD,
    Manifest,
    PackageError,
    build,
    open_package,
    sign_package,
    version_key,
)
from firmware.update import TABLE, Due, Input, State, Updater
from secure_state.machine import Cause
from smgw_emu import profiles
from smgw_emu.bench.pki.manufacturer import new_manufacturer
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.images import ImageStore
from smgw_emu.core.instants import DAY, SECOND, DeviceTime
from smgw_emu.core.logbook import Logbooks
from smgw_emu.core.store import Store
from smgw_emu.lab.firmware import application_of, corrupt, package_of
from wan.cms import Trust

MAKER, FOREIGN = new_manufacturer(), new_manufacturer()
SETTINGS = profiles.load().firmware
MODEL = "CONEXA 3.0"
NOW = DeviceTime.from_seconds(1_800_000_000)
APPLICATION = application_of(profiles.DEFAULT_PROFILE)


def small(version="v3.88.0-cc", *, maker=MAKER, kernel=b"k" * 40, rootfs=b"r" * 70, **changes):
    manifest = Manifest(MODEL, version, **changes)
    images = {"kernel": kernel, "rootfs": rootfs, "application": APPLICATION}
    return sign_package(build(manifest, images), maker.signer())


GOOD = small()
TRUSTED = {Trust(MAKER.certificate_der).key_id: Trust(MAKER.certificate_der)}
SIGNED_PART = HEAD + int.from_bytes(GOOD[8:12], "big")


# -- packages --------------------------------------------------------------------------------------


def test_a_package_holds_what_was_put_in():
    """Manifest and images come back; the hash is over the images' hashes in order."""
    package = open_package(io.BytesIO(GOOD), TRUSTED)
    assert package.signed and package.octets == len(GOOD)
    assert package.read("kernel") == b"k" * 40 and package.read("application") == APPLICATION
    package.check()
    digests = [
        hashlib.sha256(package.read(n)).digest() for n in ("kernel", "rootfs", "application")
    ]
    assert package.manifest.hash == hashlib.sha256(b"".join(digests)).hexdigest()


def test_every_turned_bit_is_found():
    """In the signed part: refused. In the images: the image is named."""
    for offset in range(len(GOOD)):
        data = bytearray(GOOD)
        data[offset] ^= 1 << offset % 8
        if offset < SIGNED_PART:
            with pytest.raises(PackageError):
                open_package(io.BytesIO(bytes(data)), TRUSTED)
        else:
            package = open_package(io.BytesIO(bytes(data)), TRUSTED)
            at = offset - SIGNED_PART
            name = "kernel" if at < 40 else "rootfs" if at < 110 else "application"
            wrong = [n for n in ("kernel", "rootfs", "application") if package.finding(n)]
            assert wrong == [name]


def test_octets_after_the_images_are_found():
    """A longer file is no whole package."""
    package = open_package(io.BytesIO(GOOD + b"x"), TRUSTED)
    with pytest.raises(PackageError, match="1 octets follow"):
        package.check()


def test_every_cut_is_found():
    """A package that ends early is refused or names the image that is not whole."""
    for length in range(len(GOOD)):
        try:
            package = open_package(io.BytesIO(GOOD[:length]), TRUSTED)
        except PackageError:
            assert length < SIGNED_PART
        else:
            with pytest.raises(PackageError, match="octets"):
                package.check()


@fuzz(GOOD)
def test_any_octets_are_a_package_or_a_named_refusal(data):
    """With and without trust: PackageError and nothing else; bounded."""
    for trusted in (TRUSTED, None):
        try:
            package = open_package(io.BytesIO(data), trusted)
            for image in package.manifest.images:
                package.finding(image.name)
        except PackageError as error:
            assert len(str(error)) < 2000


@given(st.text(max_size=30))
def test_versions_are_three_numbers(text):
    """Compared by numbers, not by letters; anything else is refused."""
    try:
        key = version_key(text)
    except PackageError:
        return
    assert len(key) == 3 and text.lstrip("v").split("-")[0] == ".".join(
        text.lstrip("v").split("-")[0].split(".")
    )


def test_versions_compare_by_number():
    """v3.9.0 is older than v3.87.0."""
    assert version_key("v3.9.0") < version_key("v3.87.0-cc") < version_key("3.87.1")


def test_what_cannot_be_built_is_told():
    """Missing images, empty ones, odd versions."""
    images = {"kernel": b"k", "rootfs": b"r", "application": APPLICATION}
    for manifest, parts in (
        (Manifest(MODEL, "one"), images),
        (Manifest(MODEL, "v1.2.3", min_version="x"), images),
        (Manifest(MODEL, "v1.2.3"), images | {"extra": b"e"}),
        (Manifest(MODEL, "v1.2.3"), images | {"kernel": b""}),
    ):
        with pytest.raises(ConfigError):
            build(manifest, parts)
    with pytest.raises(ConfigError, match="security or functional"):
        package_of(kind="party")


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not installed")
def test_openssl_verifies_the_signed_manifest(tmp_path):
    """The signature is CMS as others know it: openssl cms -verify with the manufacturer's certificate."""
    (tmp_path / "m.cms").write_bytes(GOOD[HEAD:SIGNED_PART])
    from cryptography.hazmat.primitives.serialization import Encoding

    (tmp_path / "c.pem").write_bytes(MAKER.certificate.public_bytes(Encoding.PEM))
    out = subprocess.run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-in", tmp_path / "m.cms", "-certfile",
         tmp_path / "c.pem", "-noverify", "-binary"],
        capture_output=True, timeout=30,
    )  # fmt: skip
    assert out.returncode == 0, out.stderr
    assert b'"version":"v3.88.0-cc"' in out.stdout
    (tmp_path / "m.cms").write_bytes(small(maker=FOREIGN)[HEAD:SIGNED_PART])
    out = subprocess.run(
        ["openssl", "cms", "-verify", "-inform", "DER", "-in", tmp_path / "m.cms", "-certfile",
         tmp_path / "c.pem", "-noverify", "-binary"],
        capture_output=True, timeout=30,
    )  # fmt: skip
    assert out.returncode != 0


# -- boot chain ------------------------------------------------------------------------------------


def device(folder: Path, package: bytes = b"") -> Flash:
    install(folder / "flash", package or small("v3.87.0-cc"), MAKER.certificate_der)
    return Flash(folder / "flash")


def outcome(flash: Flash) -> Cause | None:
    try:
        boot(flash)
    except BootError as error:
        return error.cause
    return None


@pytest.mark.req("SEC-02", "SEC-05", "SEC-40", "F08", "F09")
def test_the_chain_against_the_manual(tmp_path):
    """What each stage finds means what D-2.1 and D-2.5 say."""

    def case(name, work, expected):
        flash = device(tmp_path / name)
        work(flash)
        assert outcome(flash) is expected, name

    case("whole", lambda _f: None, None)
    case("kernel", lambda f: corrupt(f, "a", "kernel"), Cause.IMAGE)
    case("rootfs", lambda f: corrupt(f, "a", "rootfs"), Cause.IMAGE)
    case("application", lambda f: corrupt(f, "a", "application"), Cause.BOOT_CHECK)
    case("empty", lambda f: f.path("a").unlink(), Cause.IMAGE)
    case("noise", lambda f: f.path("a").write_bytes(b"noise"), Cause.IMAGE)
    case(
        "cut",
        lambda f: f.path("a").write_bytes(f.path("a").read_bytes()[: SIGNED_PART + 50]),
        Cause.IMAGE,
    )
    case(
        "foreign",
        lambda f: f.path("a").write_bytes(small("v3.87.0-cc", maker=FOREIGN)),
        Cause.BOOT_CHECK,
    )
    case("other version", lambda f: f.path("a").write_bytes(small("v3.87.1-cc")), Cause.VERSION)
    case("expectation", lambda f: f.change(expected="v9.9.9"), Cause.VERSION)
    case("product", lambda f: f.change(product="another"), Cause.BOOT_CHECK)
    case("no record", lambda f: (f.directory / "boot.json").unlink(), Cause.IMAGE)
    case("torn record", lambda f: (f.directory / "boot.json").write_bytes(b'{"act'), Cause.IMAGE)
    case("certificate", lambda f: (f.directory / "manufacturer.der").write_bytes(b"x"), Cause.IMAGE)
    case("latched", lambda f: f.change(failed={"log-storage": "full"}), Cause.LOG_STORAGE)
    case("profile", lambda f: f.path("a").write_bytes(unreadable_profile()), Cause.BOOT_CHECK)


def unreadable_profile():
    images = {"kernel": b"k", "rootfs": b"r", "application": b"nonsense = 1"}
    return sign_package(build(Manifest(MODEL, "v3.87.0-cc"), images), MAKER.signer())


@fuzz(
    msgspec.json.encode({"active": "a", "expected": "v3.87.0-cc", "product": MODEL}),
    msgspec.json.encode({"product": MODEL, "expected": "v3.87.0-cc", "failed": {"image": "x"}}),
    msgspec.json.encode({"product": MODEL, "update": "scheduled", "due": 1, "faulty_since": 2}),
)
def test_any_boot_record_ends_the_chain_with_a_cause_or_boots(data):
    """Bytes of the boot record: defined, never a traceback."""
    _FLASH.directory.joinpath("boot.json").write_bytes(data)
    outcome(_FLASH)
    try:
        update = updater(Path(_FOLDER.name), log=_LOG)
    except FlashError:
        return
    assert update.state in State
    update.next_deadline()


_FOLDER = tempfile.TemporaryDirectory(dir=scratch())
_FLASH = device(Path(_FOLDER.name))
_LOG = Logbooks(Store(":memory:"), {})


# -- update: the power cut at any octet and step ----------------------------------------------------


class PowerCut(Exception):
    """The power is gone."""


class CuttingDisk(FileDisk):
    """A disk whose power ends after so many octets; a rename counts as one."""

    def __init__(self, budget: int) -> None:
        self.left = budget
        self.used = 0

    def _spend(self, octets: int) -> int:
        allowed = min(octets, self.left)
        self.left -= allowed
        self.used += allowed
        return allowed

    def write(self, path, blocks):
        with path.open("wb") as file:
            for block in blocks:
                allowed = self._spend(len(block))
                file.write(block[:allowed])
                file.flush()
                if allowed < len(block):
                    raise PowerCut

    def replace(self, path, data):
        allowed = self._spend(len(data))
        path.with_name(path.name + ".new").write_bytes(data[:allowed])
        if allowed < len(data) or not self._spend(1):
            raise PowerCut
        path.with_name(path.name + ".new").replace(path)


def updater(folder: Path, disk: FileDisk | None = None, log: Logbooks | None = None) -> Updater:
    flash = Flash(folder / "flash", disk)
    images = ImageStore(folder / "images")
    return Updater(flash, images, SETTINGS, MODEL, log or Logbooks(Store(":memory:"), {}))


def put(folder: Path, name: str, package: bytes) -> None:
    ImageStore(folder / "images").put(name, 0, package, len(package))


def digest(package: bytes) -> bytes:
    return hashlib.sha256(package).digest()


def whole_update(folder: Path, disk: FileDisk | None) -> None:
    """Verify, activate, switch, confirm."""
    update = updater(folder, disk)
    update.block("fw")
    assert update.verify("fw", digest(GOOD), NOW) == ""
    assert update.activate("fw", None, NOW) == ""
    assert update.on_deadline(NOW) is Due.RESTART
    update.confirm(NOW)


@pytest.mark.req("F05", "F06", "GW-83")
def test_a_power_cut_at_every_octet_of_the_whole_update_leaves_a_device_that_boots():
    """Old or new, never between; the update can always be done again, and then it is done."""
    with tempfile.TemporaryDirectory(dir=scratch()) as place:
        cut_everywhere(Path(place))


def cut_everywhere(tmp_path):
    folder = tmp_path / "device"
    device(folder)
    put(folder, "fw", GOOD)
    shutil.copytree(folder, tmp_path / "whole")
    counting = CuttingDisk(1 << 40)
    whole_update(tmp_path / "whole", counting)
    assert boot(Flash(tmp_path / "whole" / "flash")).manifest.version == "v3.88.0-cc"
    versions = set()
    for budget in range(counting.used):
        trial = tmp_path / "trial"
        shutil.copytree(folder, trial)
        with pytest.raises(PowerCut):
            whole_update(trial, CuttingDisk(budget))
        booted = boot(Flash(trial / "flash"))
        versions.add(booted.manifest.version)
        assert booted.manifest.version == booted.record.expected
        again = updater(trial)
        again.look(NOW + SECOND)
        faulty = again.record.faulty_since is not None
        assert faulty == bool(
            not again._flash.is_empty(again.record.inactive)
            and again._flash.fault(again.record.inactive)
        )
        finish(again)
        assert boot(Flash(trial / "flash")).manifest.version == "v3.88.0-cc"
        assert again.state is State.CONFIRMED and again.record.faulty_since is None
        shutil.rmtree(trial)
    assert versions == {"v3.87.0-cc", "v3.88.0-cc"}


def finish(update: Updater) -> None:
    """Go on from wherever the update is."""
    if update.state not in {State.SCHEDULED, State.BOOTING, State.CONFIRMED}:
        if update.state is not State.STAGED:
            assert update.verify("fw", digest(GOOD), NOW) == ""
        assert update.activate("fw", None, NOW) == ""
    if update.state is State.SCHEDULED:
        assert update.on_deadline(NOW) is Due.RESTART
    update.confirm(NOW)


VERSIONS = ("v3.86.0-cc", "v3.87.0-cc", "v3.88.0-cc", "v3.89.1-cc")
PACKAGES = {version: small(version) for version in VERSIONS}


class UpdateLife(RuleBasedStateMachine):
    """The update against a model of what people expect: which version runs, what lies beside it.

    The model knows versions and ages, no states: a good package that is not older than what has run
    is staged, a damaged one makes the other partition faulty from now on, a foreign or older one
    changes nothing; an activation changes the version once; a power cut changes nothing that was
    done.
    """

    @initialize()
    def begin(self):
        self.folder = Path(tempfile.mkdtemp(dir=scratch()))
        device(self.folder)
        self.now = NOW
        self.running, self.newest = "v3.87.0-cc", "v3.87.0-cc"
        self.beside: str | None = None  # version in the other partition, "" faulty, None empty
        self.since: DeviceTime | None = None
        self.staged = False
        self.due: DeviceTime | None = None
        self.dead = False
        self.start()

    def start(self):
        self.update = updater(self.folder)
        self.update.look(self.now)

    def teardown(self):
        if hasattr(self, "folder"):
            shutil.rmtree(self.folder)

    def alive(self):
        return not self.dead

    @precondition(alive)
    @rule(version=st.sampled_from(VERSIONS), kind=st.sampled_from(["good", "damaged", "foreign"]),
          cut=st.none() | st.integers(0, 3000))  # fmt: skip
    def load(self, version, kind, cut):
        package = PACKAGES[version] if kind != "foreign" else small(version, maker=FOREIGN)
        if kind == "damaged":
            package = package[:-1] + bytes((package[-1] ^ 1,))
        put(self.folder, "fw", package)
        self.update.block("fw")
        before = self.beside
        self.update._flash._disk = FileDisk() if cut is None else CuttingDisk(cut)
        allowed = (
            self.due is None and kind != "foreign"
            and version_key(version) >= version_key(self.newest)
        )  # fmt: skip
        try:
            said = self.update.verify("fw", digest(package), self.now)
        except PowerCut:
            if allowed:  # what lies there now is old, whole or torn: only a look tells
                fault = self.update._flash.fault(self.inactive())
                empty = self.update._flash.is_empty(self.inactive())
                self.beside = None if empty else "" if fault else self.version_beside()
                self.note_fault()
            self.start()
            self.staged = self.update.state is State.STAGED
            assert not self.staged or self.beside
            return
        finally:
            self.update._flash._disk = FileDisk()
        assert (said == "") == (allowed and kind == "good")
        if allowed:
            self.beside = "" if kind == "damaged" else version
            self.staged = kind == "good"
            self.note_fault()
        else:
            assert self.beside == before
            self.staged = self.update.state is State.STAGED

    def inactive(self):
        return self.update._flash.record().inactive

    def version_beside(self):
        return self.update._flash.version(self.inactive())

    def note_fault(self):
        if self.beside == "":
            self.since = self.since or self.now
        else:
            self.since = None

    @precondition(alive)
    @rule(hours=st.integers(0, 48))
    def order(self, hours):
        said = self.update.activate("fw", self.now + hours * 3600 * SECOND, self.now)
        assert (said == "") == (self.staged and self.due is None)
        if said == "":
            self.due = self.now + hours * 3600 * SECOND

    @precondition(alive)
    @rule(hours=st.integers(1, 24 * 12))
    def wait(self, hours):
        self.now = self.now + hours * 3600 * SECOND
        self.settle()

    def settle(self):
        due = self.update.on_deadline(self.now)
        if self.since is not None and self.now - self.since >= 30 * DAY:
            assert due is Due.STALE
            self.dead = True
        elif self.due is not None and self.now >= self.due:
            assert due is Due.RESTART
            self.running, self.beside = self.beside, self.running
            self.newest = self.running
            self.due, self.staged = None, False
            self.start()
            assert boot(self.update._flash).manifest.version == self.running
            self.update.confirm(self.now)
        else:
            assert due is Due.NOTHING

    @precondition(lambda self: self.dead)
    @rule()
    def workbench(self):
        """Secure State Boot: only the manufacturer helps."""
        shutil.rmtree(self.folder)
        self.begin()

    @precondition(alive)
    @rule()
    def power_cut(self):
        self.start()
        self.settle()

    @precondition(lambda self: not self.dead and self.beside)
    @rule()
    def rot(self):
        """A bit turns in the other partition; the next self-test sees it."""
        corrupt(self.update._flash, self.inactive(), "kernel")
        self.update.look(self.now)
        self.beside, self.staged, self.due = "", False, None
        self.note_fault()

    @invariant()
    def is_as_expected(self):
        if not hasattr(self, "folder"):
            return
        flash = Flash(self.folder / "flash")
        booted = boot(flash)
        assert booted.manifest.version == self.running == booted.record.expected
        record = booted.record
        assert record.faulty_since == (None if self.since is None else self.since.ns)
        assert (self.beside is None) == flash.is_empty(record.inactive)
        if self.beside:
            assert flash.version(record.inactive) == self.beside
        elif self.beside == "":
            assert flash.fault(record.inactive)
        assert (record.due is not None) == (self.due is not None)


TestUpdateLife = UpdateLife.TestCase
TestUpdateLife.settings = settings(stateful_step_count=15)


def test_the_table_of_the_update_is_closed():
    """Every state is reached, and nothing but IDLE is only a beginning."""
    reached = set(TABLE.values())
    assert reached == set(State) - {State.IDLE}
    assert {event for _, event in TABLE} == set(Input)


def test_a_record_that_cannot_be_read_is_named(tmp_path):
    """FlashError, not a traceback."""
    with pytest.raises(FlashError, match="boot record"):
        Flash(tmp_path).record()
