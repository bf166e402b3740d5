"""What the warm tier notes of a version it serves, with a checksum: LMDB has none."""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass

from sedp.storage.rows.bucket import BucketShape

_SUM_BYTES = 4
_LAYOUT = 2  # of buckets; those of another one are as good as damaged, and made anew


def sign(data: bytes) -> bytes:
    """`data` behind its checksum."""
    return zlib.crc32(data).to_bytes(_SUM_BYTES, "little") + data


def unsign(signed: bytes) -> bytes | None:
    """What was signed; None if it was damaged since."""
    data = signed[_SUM_BYTES:]
    return data if sign(data) == signed else None


@dataclass(frozen=True, slots=True)
class WarmVersion:
    """A version in the warm tier.

    Args:
        shape: of its buckets.
        rows: how many it has here.
    """

    shape: BucketShape
    rows: int

    def encode(self) -> bytes:
        """Bytes that `decode` reads."""
        fields = {"layout": _LAYOUT, "shape": asdict(self.shape), "rows": self.rows}
        return sign(json.dumps(fields).encode())

    @classmethod
    def decode(cls, signed: bytes) -> WarmVersion | None:
        """The version of these bytes; None if they are damaged, or of another layout."""
        data = unsign(signed)
        if data is None:
            return None
        fields = json.loads(data)
        if fields.get("layout") != _LAYOUT:
            return None
        return cls(BucketShape(**fields["shape"]), fields["rows"])
