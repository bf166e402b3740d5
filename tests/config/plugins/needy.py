"""A module whose own dependency is not installed."""

import no_such_dependency  # type: ignore[import-not-found]  # noqa: F401
