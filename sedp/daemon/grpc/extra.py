"""The gRPC plane, if its libraries are installed: they are an extra, and slow to import."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sedp.errors import ConfigError

if TYPE_CHECKING:
    from sedp.daemon.grpc.plane import GrpcPlane


def load_grpc_plane() -> type[GrpcPlane]:
    """Import it; to be called only when `daemon.grpc` is set.

    Raises:
        ConfigError: a library is missing.
    """
    # gRPC logs to stderr without bound, and would speak up at every start of another program.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    try:
        from sedp.daemon.grpc.plane import GrpcPlane
    except ModuleNotFoundError as err:
        raise ConfigError(
            f"daemon.grpc: {err.name} is not installed; pip install 'sedp[grpc]', or leave it out"
        ) from err
    return GrpcPlane
