"""``smgw pki``: a TEST SM-PKI in a directory."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from smgw_emu.cli.common import DIRECTORY, print_json
from smgw_emu.core.errors import ConfigError

_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_ROLES = ("SMGW", "GWA", "EMT", "GWH")


@click.group("pki")
def command() -> None:
    """Make and use a TEST SM-PKI: root, Sub-CA, triples for SMGW, GWA, EMT and GWH, CRLs.

    \b
      smgw pki init pki
      smgw pki issue pki GWA gwa1
      smgw pki show pki
    """  # noqa: D301  # \\b is click's mark for text not to be wrapped


@command.command("init")
@click.argument("directory", type=DIRECTORY)
@click.option(
    "--hierarchy",
    type=click.Choice(["test", "wirk"]),
    default="test",
    show_default=True,
    help="O=SM-Test-PKI-DE or O=SM-PKI-DE; both are TEST material.",
)
@click.option("--large-root", is_flag=True, help="Root on brainpoolP512r1, Sub-CA on P384r1.")
def init(directory: Path, hierarchy: str, large_root: bool) -> None:
    """Make root, CRL signer and Sub-CA in DIRECTORY."""
    from smgw_emu.bench.pki import Hierarchy, TestPki
    from smgw_emu.bench.pki.folder import save

    if (directory / "pki.json").exists():
        raise ConfigError(f"{directory} holds a PKI already")
    curves = {}
    if large_root:
        curves = {"root_curve": "brainpoolP512r1", "sub_ca_curve": "brainpoolP384r1"}
    pki = TestPki(None, Hierarchy[hierarchy.upper()], **curves)
    save(pki, directory)
    _print_authorities(pki, directory)


def _print_authorities(pki: Any, directory: Path) -> None:
    print_json(
        {
            "directory": str(directory),
            "hierarchy": pki.hierarchy.value,
            "root": pki.root.subject.rfc4514_string(),
            "sub_ca": pki.sub_ca.subject.rfc4514_string(),
            "valid_until": pki.sub_ca.not_valid_after_utc.isoformat(),
        }
    )


@command.command("issue", short_help="Issue a triple, or answer a request package.")
@click.argument("directory", type=DIRECTORY)
@click.argument("role", type=click.Choice(_ROLES, case_sensitive=False), required=False)
@click.argument("name", required=False)
@click.option("--unit", default="", help="OU: market code or GLN of an EMT.")
@click.option("--days", type=click.IntRange(1, 3650), help="Days of validity (the profile's).")
@click.option("--request", "request_file", type=_FILE, help="Answer this CRMF package (DER).")
@click.option(
    "--administrator",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Directory of the GWA that may authorise requests.",
)
def issue(
    directory: Path,
    role: str | None,
    name: str | None,
    unit: str,
    days: int | None,
    request_file: Path | None,
    administrator: Path | None,
) -> None:
    """Issue a triple for ROLE NAME (with new keys), or answer a request package.

    Files go to DIRECTORY/issued/NAME.ROLE/SERIAL/{tls,sig,enc}.{pem,key}; a .pem holds the leaf and
    the Sub-CA.
    """
    from hsm_sim import Purpose
    from smgw_emu.bench.pki import Identity, Participant, Role
    from smgw_emu.bench.pki.folder import open_folder, open_participant, save_participant
    from wan.certificates import common_name

    pki = open_folder(directory)
    if request_file is not None:
        trust = open_participant(administrator).trust() if administrator else None
        issued = pki.answer(request_file.read_bytes(), trust)
        identities = [Identity(issued[purpose], (pki.sub_ca,)) for purpose in Purpose]
        participant = Participant(common_name(identities[0].certificate), *identities)
    elif role and name:
        end = datetime.now(UTC) + timedelta(days=days) if days else None
        participant = pki.participant(
            Role(role.upper()), name, unit=unit, serial=pki.next_serial(f"{name}.{role.upper()}"),
            valid_until=end,
        )  # fmt: skip
    else:
        raise click.UsageError("give ROLE and NAME, or --request FILE")
    place = save_participant(directory, participant)
    print_json({"name": participant.name, "directory": str(place)})


@command.command("revoke")
@click.argument("directory", type=DIRECTORY)
@click.argument("certificate", type=_FILE)
def revoke(directory: Path, certificate: Path) -> None:
    """Revoke CERTIFICATE (PEM or DER) and write new lists."""
    from smgw_emu.bench.pki.folder import open_folder, save_record
    from wan.certificates import common_name, load

    pki, found = open_folder(directory), load(certificate.read_bytes())
    if found.issuer not in {pki.sub_ca.subject, pki.root.subject}:
        raise ConfigError(f"{certificate} was not issued here")
    pki.revoke(found, datetime.now(UTC))
    save_record(pki, directory)
    _write_lists(pki, directory)
    click.echo(f"revoked {common_name(found)}, serial {found.serial_number:x}")


@command.command("crl", short_help="Write the current revocation lists.")
@click.argument("directory", type=DIRECTORY)
def crl(directory: Path) -> None:
    """Write the current lists: sub-ca.crl and the indirect root.crl (PEM)."""
    from smgw_emu.bench.pki.folder import open_folder

    for path in _write_lists(open_folder(directory), directory):
        click.echo(str(path))


def _write_lists(pki: Any, directory: Path) -> list[Path]:
    from cryptography.hazmat.primitives.serialization import Encoding

    now = datetime.now(UTC)
    paths = [directory / "sub-ca.crl", directory / "root.crl"]
    for path, made in zip(paths, (pki.crl(now), pki.root_crl(now)), strict=True):
        path.write_bytes(made.public_bytes(Encoding.PEM))
    return paths


@command.command("show", short_help="Show the inventory, or one certificate.")
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(path: Path, as_json: bool) -> None:
    """Show the inventory of a PKI with days left, or one certificate (PEM or DER)."""
    if path.is_dir():
        _show_inventory(path, as_json=as_json)
        return
    from cryptography import x509

    from wan.certificates import CertificateError, load

    try:
        certificate = load(path.read_bytes())
    except CertificateError as error:
        raise ConfigError(f"{path}: {error}") from error
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    print_json(
        {
            "subject": certificate.subject.rfc4514_string(),
            "issuer": certificate.issuer.rfc4514_string(),
            "serial": f"{certificate.serial_number:x}",
            "not_before": certificate.not_valid_before_utc.isoformat(),
            "not_after": certificate.not_valid_after_utc.isoformat(),
            "curve": getattr(getattr(certificate.public_key(), "curve", None), "name", None),
            "key_usage": sorted(
                name
                for name in ("digital_signature", "key_encipherment", "key_agreement",
                             "key_cert_sign", "crl_sign")
                if getattr(usage, name)
            ),
        }
    )  # fmt: skip


def _show_inventory(directory: Path, *, as_json: bool) -> None:
    from smgw_emu.bench.pki.folder import inventory, open_folder

    pki, now = open_folder(directory), datetime.now(UTC)
    rows = inventory(pki)
    if as_json:
        table = [
            {
                "name": row.common_name,
                "purpose": row.purpose,
                "serial": row.serial,
                "not_after": row.not_after.isoformat(),
                "days_left": row.days_left(now),
                "revoked": row.revoked,
            }
            for row in rows
        ]
        click.echo(json.dumps(table, indent=2))
        return
    click.echo(f"{pki.hierarchy.value}  {pki.root.subject.rfc4514_string()}")
    click.echo(f"{'name':<28}{'for':<6}{'no.':<5}{'until':<12}{'days left':>9}")
    for row in rows:
        left = "revoked" if row.revoked else str(row.days_left(now))
        until = row.not_after.date().isoformat()
        click.echo(f"{row.common_name:<28}{row.purpose:<6}{row.serial:<5}{until:<12}{left:>9}")
