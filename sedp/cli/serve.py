"""`sedp serve`: run the daemon until a signal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sedp.daemon.server import Daemon

EXAMPLE_LENGTH_MAX = 2_000
INTERRUPTED = 130


@click.command(
    epilog="""Examples:

    \b
    sedp serve configs/promo-rank.yaml
    PORT=8010 ADMIN_PORT=8011 sedp serve configs/promo-rank.yaml
    sedp serve configs/promo-rank.yaml --stimulus-log run.log

    SIGTERM or Ctrl-C answers what is in flight and stops; a second one stops at once."""
)
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--stimulus-log",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Record what the scheduler hears and says, for `sedp rerun`.",
)
def command(config: Path, stimulus_log: Path | None) -> None:
    """Serve the pipelines of CONFIG over HTTP (Open Inference Protocol v2)."""
    try:
        _serve(config, stimulus_log)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _serve(path: Path, stimulus_log: Path | None) -> None:
    import logging
    import os

    from sedp.config.loading import load
    from sedp.daemon.server import serve

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve(load(path, os.environ), stimulus_log=stimulus_log, announce=_announce)
    click.echo("sedp stopped; all that was in flight is answered")


def _announce(daemon: Daemon) -> None:
    from sedp.daemon.oip_metadata import example_request

    base = f"http://{daemon.data_address}"
    click.echo(f"sedp serves {daemon.config.path}")
    click.echo(f"  inference  {base}/v2")
    click.echo(f"  status     http://{daemon.admin_address}/")
    click.echo(f"  metrics    http://{daemon.admin_address}/metrics")
    click.echo("Try:")
    for pipeline in daemon.config.pipelines:
        url = f"{base}/v2/models/{pipeline.name}"
        example = example_request(pipeline)
        if example is None or len(example) > EXAMPLE_LENGTH_MAX:
            click.echo(f"  curl -s {url}")
        else:
            click.echo(f"  curl -s {url}/infer -d {_quoted(example)}")
    sys.stdout.flush()


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
