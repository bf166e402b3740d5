"""Every parser of ours that reads bytes from outside, as a function from bytes to nothing.

Each must end in a result or in the error it declares, whatever the bytes are; any other exception
goes through and is a finding. `test_parsers` runs them in the usual tests, `fuzz` with coverage.
"""

from __future__ import annotations

from tests.hostile.operator_parsers import OPERATOR_PARSERS
from tests.hostile.request_parsers import REQUEST_PARSERS
from tests.hostile.store_parsers import STORE_PARSERS

PARSERS = REQUEST_PARSERS | OPERATOR_PARSERS | STORE_PARSERS
