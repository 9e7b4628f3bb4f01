"""The ``smgw`` command: one module per sub-command, imported only when used.

Exit codes: 0 done; 1 the operation failed or the gateway refused; 2 wrong usage or configuration;
3 gateway not running or not reachable; 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys

import click

from smgw_emu import __version__
from smgw_emu.core.errors import ConfigError, SmgwError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_INTERRUPTED = 130

_COMMANDS = {
    "init": "Make a new TEST gateway in a directory.",
    "run": "Run a gateway until it is interrupted.",
    "demo": "Meter, gateway and consumer, live or as one checked pass.",
    "status": "Show a running gateway: lamps, state, meters, clock.",
    "leds": "Draw the front of a running gateway, live.",
    "power": "Switch a running gateway on and off; mains, battery.",
    "firmware": "Build, sign, show firmware packages; see and repair partitions.",
    "han": "Ask a gateway as its consumer (IF_GW_CON).",
    "export": "Write a contract's values: AR 2418-6 XML, CSV, plot.",
    "verify": "Check the signatures of a contract's values.",
    "meter": "Run a virtual meter on a pty, a TCP port or into a file.",
    "module": "Show the security module: keys, files, command log.",
    "pki": "Make and use a TEST SM-PKI: certificates, requests, revocation.",
    "gwa": "Act as the administrator: commission, configure, read logs, wake up.",
    "emt": "Act as a market participant: receive values.",
    "aemt": "Act as an active EMT: switch plants through gateways.",
    "steuerbox": "Act as a controllable system behind a gateway.",
    "decode": "Explain recorded bytes as JSON.",
}


class UnreachableError(SmgwError):
    """The gateway does not run or cannot be reached."""


class _Commands(click.Group):
    """Sub-commands by name; help needs no import of the whole program."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"smgw_emu.cli.{cmd_name}_")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed or refused, 2 wrong usage or configuration, "
    "3 gateway not running or not reachable, 130 interrupted.",
)
@click.version_option(__version__, prog_name="smgw")
def smgw() -> None:
    """Emulator of a German Smart Meter Gateway (BSI TR-03109), CONEXA 3.0 class.

    \b
    First steps:
      smgw demo                 everything at once, with a virtual meter
      smgw init gateway         a gateway of your own, then
      smgw run gateway          start it, and
      smgw han -d gateway info  talk to it as its consumer
    """  # noqa: D301  # \\b is click's mark for text not to be wrapped


def _fail(message: str, code: int) -> int:
    click.echo(f"smgw: {message}", err=True)
    return code


def run_command(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code, prints one line per error."""
    try:
        result = smgw.main(args=arguments, prog_name="smgw", standalone_mode=False)
    except click.exceptions.Abort:
        return _fail("interrupted", EXIT_INTERRUPTED)
    except click.ClickException as error:
        hint = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f" (see {error.ctx.command_path} --help)"
        return _fail(error.format_message() + hint, EXIT_USAGE)
    except KeyboardInterrupt:
        return _fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # who read our output has gone, as `smgw ... | head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ConfigError as error:
        return _fail(str(error), EXIT_USAGE)
    except UnreachableError as error:
        return _fail(str(error), EXIT_UNREACHABLE)
    except SmgwError as error:
        return _fail(str(error), EXIT_FAILED)
    return result if isinstance(result, int) else 0


def main() -> None:
    """Entry point of the ``smgw`` command."""
    sys.exit(run_command())
