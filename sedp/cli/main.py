"""The `sedp` command: one file a verb, imported only when that verb is used.

Exit codes: 0 good, 1 failed, 2 wrong usage or configuration, 130 / 143 stopped by a signal.
"""

from __future__ import annotations

import importlib
import sys

import click

from sedp import __version__
from sedp.errors import ConfigError, SedpError

VERBS = {
    "serve": "Serve the pipelines of a config until SIGTERM or Ctrl-C.",
    "check": "Explain a config's compiled graph, or say what is wrong with it.",
    "schema": "Print the JSON Schema of the config file.",
    "store": "Import into, measure and verify the parameter store.",
    "keys": "Make, show and take back API keys.",
    "audit": "Check that an audit log is as it was written.",
    "replay": "Send recorded requests to a daemon; report quality and latency.",
    "train-cut": "Train what tells a candidate cut how deep it may cut.",
    "rerun": "Feed a recorded stimulus log to a fresh scheduler and compare.",
    "demo": "Prepare the promo-rank example: data, model, store.",
}


class LazyGroup(click.Group):
    """Knows its verbs by name; importing them all would cost a second at every `--help`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(
            f"sedp.cli.{cmd_name.replace('-', '_')}"
        ).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: sedp check configs/promo-rank.yaml && sedp serve configs/promo-rank.yaml",
)
@click.version_option(__version__, prog_name="sedp")
def group() -> None:
    """Staged event-driven inference pipelines for recommender models."""


def main() -> None:
    """Entry point: run a verb, turn deliberate errors into one line and an exit code."""
    try:
        code = group.main(prog_name="sedp", standalone_mode=False)
    except click.Abort:  # Ctrl-C
        code = 130
    except click.ClickException as err:
        err.show()
        code = err.exit_code
    except SedpError as err:
        click.echo(f"sedp: {err}", err=True)
        code = 2 if isinstance(err, ConfigError) else 1
    sys.exit(code if isinstance(code, int) else 0)
