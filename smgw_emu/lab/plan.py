"""``smgw gwa commission --plan FILE``: what a gateway shall be configured with, as TOML.

Tables ``[[wan]]``, ``[[meter]]``, ``[[consumer]]``, ``[[technician]]``, ``[[usage_point]]``,
``[[lmn]]``, ``[[cls]]``, ``[[proxy]]`` and ``[han]`` hold the fields of the profiles; a consumer
may have a ``password`` in place of its digests, a meter a ``master_key`` in hex, certificates may
be names of PEM files beside the plan.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from han.digest import ha1
from smgw_emu.bench.gwa.card import first_certificate
from smgw_emu.bench.gwa.commission import CommissionPlan
from smgw_emu.core.administration import Record
from smgw_emu.core.cls_profiles import ClsProfile, ProxyProfile
from smgw_emu.core.config import Consumer
from smgw_emu.core.errors import ConfigError
from smgw_emu.core.meter_profile import Meter
from smgw_emu.core.usage_point import UsagePoint
from smgw_emu.core.wan_profiles import (
    HanProfile,
    LmnProfile,
    Technician,
    WanProfile,
)

T = TypeVar("T")
KINDS: dict[str, type[Any]] = {
    "wan": WanProfile,
    "meter": Meter,
    "consumer": Consumer,
    "technician": Technician,
    "usage-point": UsagePoint,
    "han": HanProfile,
    "lmn": LmnProfile,
    "cls": ClsProfile,
    "proxy": ProxyProfile,
}


def read_plan(path: Path, realm: str, participants: list[WanProfile]) -> CommissionPlan:
    """Read a plan.

    Args:
        path: the TOML file.
        realm: id of the gateway in lower case, for the digests.
        participants: market participants to put in besides those of the plan.

    Raises:
        ConfigError: names the table and the reason.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    lists = [name for name in table if name not in {"han", "renew", "pairing_s"}]
    shaped = all(
        isinstance(table[n], list) and all(isinstance(r, dict) for r in table[n]) for n in lists
    )
    if not shaped or not isinstance(table.get("pairing_s", 0), int):
        raise ConfigError(f"{path}: a plan holds [[tables]], [han], renew and pairing_s")
    unknown = table.keys() - {kind.replace("-", "_") for kind in KINDS} - {"renew", "pairing_s"}
    if unknown:
        raise ConfigError(f"{path}: no table {', '.join(sorted(unknown))}")
    plan = CommissionPlan(
        participants=list(participants),
        renew=bool(table.get("renew", True)),
        pairing_s=table.get("pairing_s", 600),
    )
    reader = _Reader(path, realm)
    plan.participants += reader.rows(table, "wan", WanProfile, reader.certificates)
    for row in table.get("meter", []):
        key = reader.key(row)
        plan.meters.append((reader.convert("meter", row, Meter), key))
    plan.consumers = reader.rows(table, "consumer", Consumer, reader.consumer)
    plan.technicians = reader.rows(table, "technician", Technician, reader.fingerprints)
    plan.points = reader.rows(table, "usage_point", UsagePoint)
    if "han" in table:
        plan.han.append(reader.convert("han", table["han"], HanProfile))
    plan.lmn = reader.rows(table, "lmn", LmnProfile)
    plan.cls = reader.rows(table, "cls", ClsProfile, reader.fingerprints)
    plan.proxies = reader.rows(table, "proxy", ProxyProfile)
    return plan


def read_record(path: Path, kind: str, realm: str) -> tuple[Record, dict[str, bytes]]:
    """Read one profile from a TOML file of its fields: (record, secrets).

    Raises:
        ConfigError: unknown kind, or a wrong field.
    """
    if kind not in KINDS:
        raise ConfigError(f"no profile kind {kind!r}; there are: {', '.join(KINDS)}")
    try:
        row = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    reader = _Reader(path, realm)
    key = reader.key(row)
    secrets = {"master_key": key} if key else {}
    prepare = {
        "wan": reader.certificates,
        "consumer": reader.consumer,
        "technician": reader.fingerprints,
        "cls": reader.fingerprints,
    }.get(kind, lambda same: same)
    return reader.convert(kind, prepare(row), KINDS[kind]), secrets


class _Reader:
    def __init__(self, path: Path, realm: str) -> None:
        self._path = path
        self._realm = realm

    def convert(self, kind: str, row: dict[str, Any], wanted: type[T]) -> T:
        try:
            return msgspec.convert(row, wanted)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{self._path}: {kind}: {error}") from error

    def key(self, row: dict[str, Any]) -> bytes:
        """Take a meter's master key out of its table; b"" without one."""
        try:
            return bytes.fromhex(str(row.pop("master_key", "")))
        except ValueError as error:
            raise ConfigError(f"{self._path}: master_key is not hexadecimal") from error

    def rows(
        self,
        table: dict[str, Any],
        kind: str,
        wanted: type[T],
        prepare: Callable[[dict[str, Any]], dict[str, Any]] = lambda row: row,
    ) -> list[T]:
        return [self.convert(kind, prepare(row), wanted) for row in table.get(kind, [])]

    def _der(self, text: str) -> bytes:
        try:
            return first_certificate((self._path.parent / text).read_text("ascii"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self._path}: certificate {text}: {error}") from error

    def certificates(self, row: dict[str, Any]) -> dict[str, Any]:
        names = [name for name in ("tls", "sig", "enc") if name in row]
        return row | {name: self._der(row[name]) for name in names}

    def fingerprints(self, row: dict[str, Any]) -> dict[str, Any]:
        found = [
            hashlib.sha256(self._der(text)).hexdigest() if text.endswith(".pem") else text
            for text in row.get("certificates", [])
        ]
        return row | {"certificates": found}

    def consumer(self, row: dict[str, Any]) -> dict[str, Any]:
        row = self.fingerprints(row)
        password = row.pop("password", "")
        if password:
            login = str(row.get("login", ""))
            row["ha1_md5"] = ha1(login, self._realm, password, "MD5")
            row["ha1_sha256"] = ha1(login, self._realm, password, "SHA-256")
        row.setdefault("user_id", f"{row.get('login', '')}.sm")
        return row
