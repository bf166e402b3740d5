"""What the guard goes by: API keys, certificate names, quotas.

Frozen: a reload reads new rules, and only when all of them are good puts them in place of the old.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sedp.config.loading import Config
from sedp.config.security_settings import TenantSettings
from sedp.daemon.access.keys import KeyRing, read_keys


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may call, and what he may use.

    Args:
        keys: `None` where anybody may call who reaches the socket.
        tenants: limits by tenant; those not named have none.
        pipelines: most events that each takes at once.
    """

    keys: KeyRing | None = None
    tenants: Mapping[str, TenantSettings] = field(default_factory=dict)
    pipelines: Mapping[str, int] = field(default_factory=dict)

    def tenant_names(self) -> frozenset[str]:
        """All tenants that a caller may have."""
        return frozenset() if self.keys is None else self.keys.tenants()


OPEN = Rules()


def read_rules(config: Config) -> Rules:
    """The rules of a config, with its key file read.

    Raises:
        ConfigError: with file and line.
    """
    settings = config.daemon
    pipelines = {pipeline.name: pipeline.in_flight_max for pipeline in config.pipelines}
    if settings.auth is None:
        return Rules(None, {}, pipelines)
    keys = read_keys(config.path.parent / settings.auth.keys)
    return Rules(keys, settings.tenants, pipelines)
