"""`sedp serve`: run the daemon until a signal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sedp.supervisor.service import Service

EXAMPLE_LENGTH_MAX = 2_000
INTERRUPTED = 130
WORKERS_MAX = 256


@click.command(
    epilog="""Examples:

    \b
    sedp serve configs/promo-rank.yaml
    PORT=8010 ADMIN_PORT=8011 sedp serve configs/promo-rank.yaml
    sedp serve configs/promo-rank.yaml --workers 1 --stimulus-log run.log

    \b
    SIGTERM or Ctrl-C   answers what is in flight and stops; a second one stops at once
    SIGHUP              reads CONFIG again; when it has a fault, the old one stays
    SIGUSR2             replaces the workers, one after the other"""
)
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--workers",
    type=click.IntRange(1, WORKERS_MAX),
    metavar="N",
    help="Processes that serve, whatever daemon.workers says.",
)
@click.option(
    "--stimulus-log",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Record what the scheduler hears and says, for `sedp rerun`.",
)
def command(config: Path, workers: int | None, stimulus_log: Path | None) -> None:
    """Serve the pipelines of CONFIG over HTTP (Open Inference Protocol v2)."""
    try:
        _serve(config, workers, stimulus_log)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _serve(path: Path, workers: int | None, stimulus_log: Path | None) -> None:
    import logging

    from sedp.supervisor.processes import set_threads

    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("sedp").setLevel(logging.INFO)
    set_threads(path, workers, is_recorded=stimulus_log is not None)

    from sedp.supervisor.service import serve  # imports numpy, which reads what was set

    serve(path, workers=workers, stimulus_log=stimulus_log, announce=_announce)
    click.echo("sedp stopped; all that was in flight is answered")


def _announce(service: Service, workers: int) -> None:
    from sedp.daemon.oip.metadata import example_request
    from sedp.supervisor.processes import describe_threads

    scheme = "https" if service.config.daemon.tls else "http"
    base = _url(scheme, service.data_address)
    admin = _url(scheme, service.admin_address)
    served_by = "one process" if workers == 1 else f"{workers} workers"
    click.echo(f"sedp serves {service.config.path} with {served_by}")
    click.echo(f"  inference  {base}/v2")
    if service.config.daemon.grpc:
        click.echo(f"  gRPC       {service.config.daemon.grpc}")
    click.echo(f"  status     {admin}/")
    click.echo(f"  metrics    {admin}/metrics")
    config = service.config
    threads = describe_threads(config.runs, config.daemon.threads, workers)
    click.echo(f"  threads    {threads}")
    click.echo("Try:")
    for pipeline in service.config.pipelines:
        url = f"{base}/v2/models/{pipeline.name}"
        example = example_request(pipeline)
        if example is None or len(example) > EXAMPLE_LENGTH_MAX:
            click.echo(f"  curl -s {url}")
        else:
            click.echo(f"  curl -s {url}/infer -d {_quoted(example)}")
    sys.stdout.flush()


def _url(scheme: str, address: str) -> str:
    """Where to point a client; a Unix socket has no URL that all clients understand."""
    return address if address.startswith("unix:") else f"{scheme}://{address}"


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
