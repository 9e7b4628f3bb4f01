"""What every generated ``config.toml`` begins with."""

from __future__ import annotations

from smgw_emu.core.ids import DeviceId


def quoted(text: str) -> str:
    """Return a TOML basic string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def inline(value: object) -> str:
    """Return a value of TOML on one line; tables become inline tables."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {inline(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(inline(item) for item in value) + "]"
    return quoted(value) if isinstance(value, str) else str(value)


def head(
    comment: str,
    device: DeviceId,
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
        '# profile = "own.toml"  # behaviour other than the firmware brings',
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
