"""The keys of who may call: TLS, API keys, and what each tenant may use.

See `sedp.config.settings` for how these types are used.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from sedp.config.section import FilePath, Section
from sedp.units import KIB, TIB, byte_count


class TlsSettings(Section, frozen=True, kw_only=True):
    """Encryption, TLS 1.2 or later; relative paths start at this file's folder."""

    certificate: Annotated[FilePath, Meta(description="PEM file: certificate, then its chain.")]
    key: Annotated[FilePath, Meta(description="PEM file: private key of the certificate.")]
    client_ca: Annotated[
        FilePath | None,
        Meta(description="PEM file of CAs; callers must then show a certificate of one of them."),
    ] = None


class AuthSettings(Section, frozen=True, kw_only=True):
    """Who may call."""

    keys: Annotated[
        FilePath,
        Meta(description="File of API keys; `sedp keys create` writes it. Read again on reload."),
    ]


class TenantSettings(Section, frozen=True, kw_only=True):
    """What one tenant may use; what is left out is not limited."""

    requests_per_second: Annotated[
        Annotated[float, Meta(gt=0, le=1e9)] | None,
        Meta(description="Requests a second, with bursts of one second."),
    ] = None
    bytes_per_second: Annotated[
        Annotated[int, byte_count(KIB, TIB, "Bytes a second.")] | None,
        Meta(description="Bytes of request bodies a second, with bursts of one second."),
    ] = None
    in_flight_max: Annotated[
        Annotated[int, Meta(ge=1, le=65_536)] | None,
        Meta(description="Requests inside at once."),
    ] = None
    weight: Annotated[
        float,
        Meta(
            gt=0,
            le=1000,
            description="Share of a full pipeline, against the weights of other tenants.",
        ),
    ] = 1.0
