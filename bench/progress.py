"""What a bench is at, for those who wait: lines on stderr, so that figures on stdout stay alone."""

from __future__ import annotations

import click


def tell(text: str) -> None:
    """One line."""
    click.echo(f"  … {text}", err=True)
