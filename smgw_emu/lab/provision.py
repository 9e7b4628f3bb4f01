"""Making a gateway: id, keys, certificates, a consumer, a meter, contracts, an empty store.

Stands in for factory and administrator until the WAN can do it. Everything is TEST material.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import ssl
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from han.digest import ha1
from hsm_sim import Curve, Purpose, SecurityModule
from hsm_sim.certificates import han_certificate
from hsm_sim.files import write_private
from hsm_sim.interface import KeyModule, open_module
from hsm_sim.slots import HAN_TLS, gwa_certificate, gwa_key, wan_certificate, wan_key
from lmn.sml import SmlFile, SmlReceiver, decode_messages
from lmn.sml.report import reports
from smgw_emu.bench.pki import Participant, Role, TestPki, der, issue_consumer_key
from smgw_emu.bench.pki.folder import save, save_participant
from smgw_emu.core.config import Consumer, parse_config
from smgw_emu.core.config import SecurityModule as ModuleSettings
from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.ids import MEDIUM_GATEWAY, DeviceId
from smgw_emu.core.instants import DeviceTime, WorldTime
from smgw_emu.core.obis import ACTIVE_ENERGY_IMPORT
from smgw_emu.core.store import Store
from smgw_emu.core.values import UNIT_WATT_HOUR
from smgw_emu.lab.access import (
    Access,
    ControlAccess,
    HanAccess,
    write_access,
)
from smgw_emu.lab.config_text import head, inline, quoted
from smgw_emu.lab.firmware import install_firmware
from smgw_emu.lab.meter_note import NO_METERS, MeterNote
from smgw_emu.profiles import DEFAULT_PROFILE, load
from wan.admin.keys import ROOT, sub_ca_file
from wan.certificates import ec_key

ADMINISTRATOR = "gwa1"
LAB_PKI = "lab-pki"  # keys of the counterparts; no part of the device
DEFAULT_METER = "1EMU0000000001"
_QUARTER_S = 900
_CONTRACTS = ((1, "taf1", "Datensparsamer Tarif"), (7, "taf7", "Zählerstandsgang"))


@dataclass(frozen=True, slots=True)
class Plan:
    """What to make; empty strings are filled with random TEST values."""

    now: WorldTime
    gateway_id: str = ""
    profile: str = DEFAULT_PROFILE
    consumer: str = "consumer1"
    password: str = ""
    meter_id: str = ""
    meter_source: str = ""
    han_host: str = "127.0.0.1"
    han_port: int = 8443
    control_port: int = 8460
    wakeup_port: int = 0
    seed: str = ""
    strict_module: bool = False
    pkcs11: str = ""
    token: str = ""
    token_pin: str = ""
    contracts: Path | None = None
    lmn_port: str = ""
    radio_port: str = ""
    meters: MeterNote = NO_METERS


def create_gateway(directory: Path, plan: Plan) -> Access:
    """Make a gateway in a new directory; a failure leaves nothing behind.

    Raises:
        ConfigError: the directory is in use, or a value of the plan cannot be used.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory} exists and is not empty")
    created = not directory.exists()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _fill(directory, plan)
    except OSError as error:
        raise ConfigError(f"cannot make {directory}: {error.strerror}") from error
    except BaseException:
        _clean(directory, whole=created)
        raise


def _clean(directory: Path, *, whole: bool) -> None:
    if whole:
        shutil.rmtree(directory, ignore_errors=True)
        return
    for item in directory.iterdir():
        shutil.rmtree(item, ignore_errors=True) if item.is_dir() else item.unlink()


def _fill(directory: Path, plan: Plan) -> Access:
    # numbers from 99 000 000 on are TEST devices (own convention)
    number = 99_000_000 + secrets.randbelow(1_000_000)
    try:
        device = DeviceId.parse(plan.gateway_id or f"ETHE03{number:08d}")
    except RemoteProtocolError as error:
        raise ConfigError(f"gateway id: {error}") from error
    if device.medium != MEDIUM_GATEWAY:
        raise ConfigError(f"gateway id: {device} is not of medium E (DIN 43863-5)")
    password = plan.password or secrets.token_urlsafe(12)
    p12_password = secrets.token_urlsafe(12)
    start = plan.now.datetime()
    module = _module(directory, plan)
    hash_name = load(plan.profile).tls.certificate_hash
    pki = _issue_certificates(directory, device, module, start, hash_name)
    key = issue_consumer_key(plan.consumer, p12_password, start)
    p12 = directory / f"{plan.consumer}.p12"
    write_private(p12, key.pkcs12)
    realm = device.lower
    consumer = Consumer(
        login=plan.consumer,
        user_id=f"{plan.consumer}.sm",
        ha1_md5=ha1(plan.consumer, realm, password, "MD5"),
        ha1_sha256=ha1(plan.consumer, realm, password, "SHA-256"),
        certificates=(_fingerprint(key.certificate),),
    )
    text = _config_text(plan, device, consumer)
    parse_config(text)
    plan.meters.bring_keys(module)
    write_private(directory / "config.toml", text.encode())
    Store(directory / "state.db").close()
    install_firmware(directory, plan.profile, pki.manufacturer)
    access = Access(
        HanAccess(
            plan.han_host,
            plan.han_port,
            plan.consumer,
            password,
            str(p12.resolve()),
            p12_password,
            str((directory / "certs" / "han.pem").resolve()),
        ),
        ControlAccess(f"http://127.0.0.1:{plan.control_port}/v1"),
    )
    write_access(directory, access)
    return access


def _module(directory: Path, plan: Plan) -> KeyModule:
    """Open the security module: a new card, or the token the plan names."""
    if plan.pkcs11:
        write_private(directory / "hsm.pin", plan.token_pin.encode())
    return open_module(_settings(plan), directory)


def _fingerprint(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()


def _issue_certificates(
    directory: Path, device: DeviceId, module: KeyModule, start: datetime, hash_name: str
) -> TestPki:
    """Make the HAN certificate, the Guetesiegel triple and an administrator; fill the module."""
    pki = TestPki(start)
    administrator = pki.participant(Role.GWA, ADMINISTRATOR)
    install_han_certificate(directory, device, module, start, hash_name)
    gateway = install_seal(directory, device, module, pki)
    for purpose in Purpose:
        theirs = administrator.identity(purpose)
        name = f"gwa-{purpose.lower()}.der"
        (directory / "certs" / name).write_bytes(theirs.certificate_der)
        module.write_file(gwa_certificate(purpose), theirs.certificate_der)
        module.import_public_key(gwa_key(purpose), ec_key(theirs.certificate))
    save(pki, directory / LAB_PKI)
    save_participant(directory / LAB_PKI, gateway)
    save_participant(directory / LAB_PKI, administrator)
    deliver(module)
    return pki


def install_han_certificate(
    directory: Path, device: DeviceId, module: KeyModule, start: datetime, hash_name: str
) -> None:
    """Make the HAN key and its self-signed certificate."""
    folder = directory / "certs"
    folder.mkdir(mode=0o755, exist_ok=True)
    han_key = module.generate(HAN_TLS, Curve.P384)
    han = han_certificate(
        str(device),
        han_key,
        lambda digest: module.sign_digest(HAN_TLS, digest),
        start,
        hash_name,
    )
    (folder / "han.der").write_bytes(han)
    (folder / "han.pem").write_bytes(ssl.DER_cert_to_PEM_cert(han).encode())


def install_seal(directory: Path, device: DeviceId, module: KeyModule, pki: TestPki) -> Participant:
    """Make the Guetesiegel keys in the module, have them certified, store the certificates."""
    folder = directory / "certs"
    keys = {purpose: module.generate(wan_key(purpose), Curve.BRAINPOOL_P256) for purpose in Purpose}
    gateway = pki.participant(Role.SMGW, str(device), keys)
    for purpose in Purpose:
        own = gateway.identity(purpose).certificate_der
        (folder / f"wan-{purpose.lower()}-0.der").write_bytes(own)
        module.write_file(wan_certificate(purpose), own)
    module.write_file(sub_ca_file(0), der(pki.sub_ca))
    module.write_file(ROOT, der(pki.root))
    (folder / "wan-sub-ca-0.der").write_bytes(der(pki.sub_ca))
    (folder / "test-root.pem").write_text(ssl.DER_cert_to_PEM_cert(der(pki.root)))
    return gateway


def deliver(module: KeyModule) -> None:
    """Bring a card's life cycle to where a delivered gateway has it."""
    if isinstance(module, SecurityModule):
        module.advance()  # integration -> pre-personalised: delivered with seal keys
        module.advance()  # -> operational: installed


def _config_text(plan: Plan, device: DeviceId, consumer: Consumer) -> str:
    meters, tables = _meters(plan)
    wanted = _contracts(plan.contracts) if plan.contracts else []
    quarter = plan.now.seconds // _QUARTER_S * _QUARTER_S
    begin = DeviceTime.from_seconds(quarter).iso()
    lines = [
        *head(
            "A TEST gateway made by `smgw init`",
            device,
            plan.han_host,
            plan.han_port,
            plan.control_port,
            plan.wakeup_port,
        ),
        *_module_section(plan),
        *tables,
        "",
        "[[consumer]]",
        f'login = "{consumer.login}"',
        f'user_id = "{consumer.user_id}"',
        f'ha1_md5 = "{consumer.ha1_md5}"',
        f'ha1_sha256 = "{consumer.ha1_sha256}"',
        f'certificates = ["{consumer.certificates[0]}"]',
    ]
    rows: list[dict[str, object]] = [
        {"name": f"{name}-{number}", "taf": taf, "description": description, "meters": [meter]}
        for number, meter in enumerate(meters, start=1)
        for taf, name, description in _CONTRACTS
    ]
    filled = {"consumer": consumer.login, "meters": [meters[0]], "start": begin}
    for row in rows + wanted:
        lines += ["", "[[usage_point]]"]
        lines += [f"{key} = {inline(value)}" for key, value in (row | (filled | row)).items()]
    return "\n".join(lines) + "\n"


def _contracts(path: Path) -> list[dict[str, object]]:
    """Return the contracts of a file; what they leave out is filled in.

    Raises:
        ConfigError: not a TOML file of [[usage_point]] tables.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    rows = table.get("usage_point")
    if not isinstance(rows, list) or table.keys() != {"usage_point"}:
        raise ConfigError(f"{path}: [[usage_point]] tables are expected, nothing else")
    return [row for row in rows if isinstance(row, dict)]


def _named(rows: list[dict[str, object]]) -> list[str]:
    """Return the registers that contracts name: the meter's profile must have them."""
    codes: list[object] = []
    for row in rows:
        named = row.get("obis", [])
        codes += [*(named if isinstance(named, list) else []), row.get("power", "")]
    return [code for code in dict.fromkeys(codes) if isinstance(code, str) and code]


def _settings(plan: Plan) -> ModuleSettings:
    return ModuleSettings(
        kind="pkcs11" if plan.pkcs11 else "card",
        strict=plan.strict_module,
        seed=plan.seed,
        library=plan.pkcs11,
        token=plan.token,
    )


def _module_section(plan: Plan) -> list[str]:
    lines = ["[security_module]", f"strict = {str(plan.strict_module).lower()}"]
    if plan.seed:
        lines.append(f"seed = {quoted(plan.seed)}  # reproducible: its keys are no secret")
    if plan.pkcs11:
        lines += [
            'kind = "pkcs11"',
            f"library = {quoted(plan.pkcs11)}",
            f"token = {quoted(plan.token)}",
        ]
    return [*lines, ""]


def _meters(plan: Plan) -> tuple[list[str], list[str]]:
    """Return the ids of the meters, and the tables of ports, meters and LMN profiles."""
    tables: list[str] = []
    if plan.lmn_port:
        tables += ["[[line]]", f"source = {quoted(plan.lmn_port)}", 'protocol = "hdlc"', ""]
    if plan.radio_port:
        tables += ["[[line]]", f"source = {quoted(plan.radio_port)}", 'protocol = "wmbus"', ""]
    if plan.meters.meters:
        ids = [meter.id for meter, _ in plan.meters.meters]
        return ids, tables + plan.meters.config_lines()[1:]
    meter, registers = _meter(plan)
    wanted = _contracts(plan.contracts) if plan.contracts else []
    registers += [code for code in _named(wanted) if code not in registers]
    tables += [
        "[[meter]]",
        f'id = "{meter}"',
        f"source = {quoted(plan.meter_source)}",
        f"obis = {inline(registers)}",
    ]
    return [meter], tables


def _meter(plan: Plan) -> tuple[str, list[str]]:
    """Return the meter's id and registers; a recording is asked for both."""
    path = Path(plan.meter_source.partition("?")[0])
    if not plan.meter_id and plan.meter_source and path.is_file():
        return peek_recording(path)
    return plan.meter_id or DEFAULT_METER, [ACTIVE_ENERGY_IMPORT.hex]


def peek_recording(path: Path) -> tuple[str, list[str]]:
    """Return the id of the meter in a recording and its energy registers.

    Raises:
        ConfigError: no usable SML frame in it.
    """
    receiver = SmlReceiver()
    with path.open("rb") as file:
        events = receiver.receive(file.read(1 << 20))
    for event in events:
        if not isinstance(event, SmlFile):
            continue
        try:
            found = reports(decode_messages(event.payload))
        except RemoteProtocolError:
            continue
        for report in found:
            registers = [
                value.obis.hex
                for value in report.values
                if value.unit == UNIT_WATT_HOUR and value.obis.can_be_registered
            ]
            if registers:
                return report.meter.upper(), registers
    raise ConfigError(f"no meter with an energy register found in {path}")
