"""A gateway as the factory delivers it: seal certificates and the administrator's address, no more.

Beside the gateway's directory content it makes ``delivery-note.json`` for the administrator.
Everything is TEST material.
"""

from __future__ import annotations

import base64
import secrets
import shutil
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hsm_sim import Purpose
from hsm_sim.files import write_private
from hsm_sim.interface import open_module
from smgw_emu.bench.gwa import AdministratorCard, NotedDevice
from smgw_emu.bench.gwa.note import write_note
from smgw_emu.bench.pki import TestPki, der
from smgw_emu.core.config import SecurityModule as ModuleSettings
from smgw_emu.core.config import parse_config
from smgw_emu.core.errors import ConfigError, RemoteProtocolError
from smgw_emu.core.ids import MEDIUM_GATEWAY, DeviceId
from smgw_emu.core.instants import WorldTime
from smgw_emu.core.store import Store
from smgw_emu.core.wan_profiles import WanProfile
from smgw_emu.lab.access import Access, ControlAccess, HanAccess, write_access
from smgw_emu.lab.config_text import head, quoted
from smgw_emu.lab.firmware import install_firmware
from smgw_emu.lab.provision import deliver, install_han_certificate, install_seal
from smgw_emu.profiles import DEFAULT_PROFILE, load

NOTE = "delivery-note.json"


@dataclass(frozen=True, slots=True)
class FactoryPlan:
    """What to make.

    Attributes:
        now: beginning of validity.
        administrator: who shall be called.
        pki: issues the Guetesiegel certificates.
        gateway_id: DIN 43863-5, "" for a random TEST id.
        profile: firmware line.
        lines: meter ports that exist (serial device, tcp://, recording).
        lmn_port: RS-485 port of wired meters.
        radio_port: receiver of wireless meters.
        host: address of HAN and wake-up.
        han_port, control_port, wakeup_port: TCP and UDP ports, 0 for free ones.
        seed, strict_module: of the security module.
        time_valid: whether the clock came with valid time; a factory's has none.
    """

    now: WorldTime
    administrator: AdministratorCard
    pki: TestPki
    gateway_id: str = ""
    profile: str = DEFAULT_PROFILE
    lines: tuple[str, ...] = ()
    lmn_port: str = ""
    radio_port: str = ""
    host: str = "127.0.0.1"
    han_port: int = 0
    control_port: int = 0
    wakeup_port: int = 0
    seed: str = ""
    strict_module: bool = False
    time_valid: bool = False


def make_gateway(directory: Path, plan: FactoryPlan) -> NotedDevice:
    """Make a gateway in a new directory; returns its line of the delivery note.

    Raises:
        ConfigError: the directory is in use, or a value of the plan cannot be used.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory} exists and is not empty")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _fill(directory, plan)
    except OSError as error:
        raise ConfigError(f"cannot make {directory}: {error.strerror}") from error
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _fill(directory: Path, plan: FactoryPlan) -> NotedDevice:
    number = 99_000_000 + secrets.randbelow(1_000_000)  # TEST devices, own convention
    try:
        device = DeviceId.parse(plan.gateway_id or f"ETHE03{number:08d}")
    except RemoteProtocolError as error:
        raise ConfigError(f"gateway id: {error}") from error
    if device.medium != MEDIUM_GATEWAY:
        raise ConfigError(f"gateway id: {device} is not of medium E (DIN 43863-5)")
    profile = load(plan.profile)
    settings = ModuleSettings(strict=plan.strict_module, seed=plan.seed)
    module = open_module(settings, directory)
    install_han_certificate(
        directory, device, module, plan.now.datetime(), profile.tls.certificate_hash
    )
    gateway = install_seal(directory, device, module, plan.pki)
    deliver(module)
    text = _config(plan, device)
    parse_config(text)
    write_private(directory / "config.toml", text.encode())
    Store(directory / "state.db").close()
    install_firmware(directory, plan.profile, plan.pki.manufacturer)
    write_access(
        directory,
        Access(
            HanAccess(plan.host, plan.han_port, "", "", "", "", str(directory / "certs/han.pem")),
            ControlAccess(f"http://127.0.0.1:{plan.control_port}/v1"),
        ),
    )

    def pem(purpose: Purpose) -> str:
        return ssl.DER_cert_to_PEM_cert(gateway.identity(purpose).certificate_der)

    noted = NotedDevice(
        str(device),
        profile.device.model,
        profile.device.firmware_version,
        pem(Purpose.TLS),
        pem(Purpose.SIG),
        pem(Purpose.ENC),
        ssl.DER_cert_to_PEM_cert(der(plan.pki.sub_ca)),
        f"{plan.host}:{plan.wakeup_port}" if plan.wakeup_port else "",
        "tcp" if profile.wakeup.transport == "tcp" else "udp",
    )
    write_note(directory / NOTE, (noted,))
    return noted


def _config(plan: FactoryPlan, device: DeviceId) -> str:
    lines = head(
        "A TEST gateway as a factory delivers it, made by `smgw init --factory`",
        device,
        plan.host,
        plan.han_port,
        plan.control_port,
        plan.wakeup_port,
        time_valid=plan.time_valid,
    )
    lines += ["[security_module]", f"strict = {str(plan.strict_module).lower()}"]
    if plan.seed:
        lines.append(f"seed = {quoted(plan.seed)}  # reproducible: its keys are no secret")
    for source in plan.lines:
        lines += ["", "[[line]]", f"source = {quoted(source)}"]
    if plan.lmn_port:
        lines += ["", "[[line]]", f"source = {quoted(plan.lmn_port)}", 'protocol = "hdlc"']
    if plan.radio_port:
        lines += ["", "[[line]]", f"source = {quoted(plan.radio_port)}", 'protocol = "wmbus"']
    for profile in plan.administrator.profiles():
        lines += _wan(profile)
    return "\n".join(lines) + "\n"


def _wan(profile: WanProfile) -> Iterable[str]:
    """Return one ``[[wan]]`` table; certificates in base64."""
    lines = ["", "[[wan]]"]
    plain = msgspec.structs.asdict(profile)
    defaults = msgspec.structs.asdict(WanProfile("", profile.scenario, profile.role, (), b""))
    for name, value in plain.items():
        if value == defaults[name] and name not in {"scenario", "role"}:
            continue
        lines.append(f"{name} = {_value(value)}")
    return lines


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return f'"{base64.b64encode(value).decode()}"'
    if isinstance(value, tuple):
        return f"[{', '.join(quoted(str(item)) for item in value)}]"
    return str(value) if isinstance(value, int) else quoted(str(value))
