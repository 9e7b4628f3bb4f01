"""What every generated ``config.toml`` begins with."""

from __future__ import annotations

from smgw_emu.core.ids import DeviceId


def quoted(text: str) -> str:
    """Return a TOML basic string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def head(
    comment: str,
    device: DeviceId,
    profile: str,
    host: str,
    han_port: int,
    control_port: int,
    wakeup_port: int,
    *,
    time_valid: bool = True,
) -> list[str]:
    """Return the lines of identity, clock and listeners."""
    return [
        f"# {comment}; every key is explained in docs/configuration.md",
        "",
        "[gateway]",
        f'id = "{device}"',
        f'profile = "{profile}"',
        'authority = "TEST"',
        "",
        "[clock]",
        f"valid = {str(time_valid).lower()}",
        "",
        "[han]",
        f'host = "{host}"',
        f"port = {han_port}",
        "",
        "[control]",
        'host = "127.0.0.1"',
        f"port = {control_port}",
        "",
        "[wakeup]",
        f'host = "{host}"',
        f"port = {wakeup_port}",
        "",
    ]
