"""What a run measured, for whoever runs it with `-s`; pytest shows it of failures anyway."""

from __future__ import annotations

import sys


def tell(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")
