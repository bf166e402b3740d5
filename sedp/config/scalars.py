"""What a YAML scalar means: variables put in, then null, true, numbers or text.

YAML 1.1 reads `no`, `on` and `y` as booleans, `1:30` as ninety and `0o17`, `017` and `1_000` each
its own way, so that a country code becomes false. Here an unquoted scalar is null, true, false,
a decimal number, or itself; everything else is text, and the settings say what they accept.

`${NAME}` and `${NAME:-default}` are replaced from the environment before that, so that an
unquoted `${PORT}` becomes a number; `$${` stands for a literal `${`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

Scalar = str | int | float | bool | None

_VARIABLE = re.compile(r"\$(\$)?\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\})?")
_NAMED: Mapping[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# 19 digits reach beyond int64; longer ones are names, not counts, and stay text.
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})(\.[0-9]{0,40})?([eE][-+]?[0-9]{1,3})?")


def substitute(text: str, environment: Mapping[str, str]) -> str:
    """Replace `${NAME}` and `${NAME:-default}`; the default also stands in for an empty value.

    Raises:
        ValueError: a variable that is not set and has no default, or a `${` that is neither.
    """

    def replace(match: re.Match[str]) -> str:
        escaped, name, default = match.groups()
        if escaped:
            return match[0][1:]
        if name is None:
            raise ValueError(
                f"{text!r} has a ${{ that names no variable; write ${{NAME}} or "
                "${NAME:-default}, or $${ for a literal ${"
            )
        value = environment.get(name)
        if value is None and default is None:
            raise ValueError(
                f"the environment variable {name} is not set; set it, or give a default "
                f"like ${{{name}:-value}}"
            )
        return value or default or ""

    return _VARIABLE.sub(replace, text)


def resolve(text: str) -> Scalar:
    """The value of an unquoted scalar."""
    if text in _NAMED:
        return _NAMED[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text
