"""Names that lead somewhere else when they are taken for a path, in every place for a string."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from urllib.parse import quote

from tests.hostile.case import Case

MARK = "h0stile"  # in every name; no file of ours has it
TARGETS = [
    f"../../../../etc/{MARK}", f"/etc/{MARK}", f"..\\..\\{MARK}", f"C:\\{MARK}",
    f"file:///etc/{MARK}", f"....//....//{MARK}", f"./{MARK}", f"~/{MARK}",
    f"double/../../{MARK}", f"{MARK}\0.yaml", f"{MARK}/.", f"//{MARK}", f"\\\\server\\{MARK}",
    f"http://127.0.0.1/{MARK}", f"|{MARK}", f"$({MARK})", f"`{MARK}`", f"{MARK};ls",
    f"{MARK}\r\nX-A: b", f"{MARK}\n", f"/dev/{MARK}", f"/proc/self/{MARK}", f"{{{{{MARK}}}}}",
    f"%n%s{MARK}", f"${{jndi:ldap://{MARK}}}", f"{MARK}' OR 1=1", f"<script>{MARK}</script>",
    f"..{MARK}", f"dоuble{MARK}", f"ｄouble{MARK}", f"․․／{MARK}", f"..∕{MARK}", f"‮{MARK}",
    f"{MARK}\ufeff", f"é{MARK}", f"e\u0301{MARK}", f".{MARK}", f"{MARK}.pyc",
    f"__import__('{MARK}')", f"-{MARK}", f"{MARK}:Double", "", f"hostile_stages/../{MARK}",
    f"CON{MARK}", f"{MARK} ", f" {MARK}", f"{MARK}%", f"{MARK}%zz", f"\x1b[2J{MARK}",
]  # fmt: skip
FIXED = ["../hostile.yaml", "hostile.yaml", "/etc/passwd", "../../../../../../etc/passwd", "."]
DEEP = [
    f"{'../' * 1_000}etc/{MARK}",
    MARK + "a" * 4_096,
    "a/" * 2_048 + MARK,
    f"%2e%2e%2f{MARK}" * 50,
]
PATHS = [
    "/v2/models/{}", "/v2/models/{}/infer", "/v2/models/{}/ready",
    "/v2/models/double/versions/{}", "/v2/models/double/versions/{}/infer", "/v2/models/{}/stats",
    "/v2/models/{}/config", "/{}", "/v2/{}", "/v2/repository/models/{}/load",
    "/v2/repository/models/{}/unload", "/admin/store/{}/update", "/static/{}",
    "/admin/store/{}/rollback", "/v2/systemsharedmemory/region/{}/register", "/status.json/{}",
    "/v2/models/double/{}", "/v2/health/live?{}", "/v2/trace/setting/{}", "/v2/logging/{}",
]  # fmt: skip
HEADERS = [
    "X-Request-Id", "traceparent", "tracestate", "Content-Type", "Content-Encoding", "Accept",
    "Accept-Encoding", "Host", "Authorization", "X-Api-Key", "X-Request-Timeout-Seconds",
    "Inference-Header-Content-Length", "Cookie", "X-Forwarded-For", "Referer", "Range",
    "If-None-Match", "Expect", "Origin",
]  # fmt: skip
FIELDS = [
    "input name", "datatype", "output name", "id", "parameter name", "parameter", "data",
    "region", "key",
]  # fmt: skip


def _name(dice: Random) -> str:
    draw = dice.random()
    if draw < 0.05:
        return dice.choice(DEEP)
    return dice.choice(FIXED if draw < 0.15 else TARGETS)


def _in_url(name: str, dice: Random) -> str:
    """Percent-encoded once, twice, too much, in part, or wrongly."""
    raw = name.encode(errors="surrogatepass")
    match dice.randrange(6):
        case 0:
            return quote(raw)
        case 1:
            return quote(raw, safe="")
        case 2:
            return quote(quote(raw, safe=""), safe="")
        case 3:
            return "".join(f"%{byte:02x}" for byte in raw)
        case 4:
            return quote(raw).replace(".", "%2e").replace("/", "%c0%af")
    return quote(raw, safe="/\\:?*~${}();|<>'`").replace("%5C", "\\")


def _json(field: str, name: str) -> bytes:
    tensor: dict[str, object] = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
    body: dict[str, object] = {"inputs": [tensor]}
    match field:
        case "input name":
            tensor["name"] = name
        case "datatype":
            tensor["datatype"] = name
        case "data":
            tensor["data"] = [name]
        case "output name":
            body["outputs"] = [{"name": name}]
        case "id":
            body["id"] = name
        case "parameter name":
            body["parameters"] = {name: name}
        case "parameter":
            body["parameters"] = {"timeout": name, "mine": name}
        case "region":
            tensor["parameters"] = {"shared_memory_region": name}
        case _:
            body[name] = {name: [name]}
    return json.dumps(body).encode()


def cases(dice: Random, count: int) -> Iterator[Case]:
    """Names in paths, headers and bodies in turn."""
    for number in range(count):
        name = _name(dice)
        match number % 3:
            case 0:
                path = dice.choice(PATHS)
                target = path.replace("{}", _in_url(name, dice))
                yield Case(path, _request(dice.choice(["GET", "POST", "PUT"]), target))
            case 1:
                header = dice.choice(HEADERS)
                value = "".join(c for c in name if c not in "\r\n\0")
                line = f"{header}: {value}\r\n".encode(errors="surrogatepass")
                yield Case(
                    header, _request("POST", "/v2/models/double/infer", line, _json("", "a"))
                )
            case _:
                field = dice.choice(FIELDS)
                body = _json(field, name)
                yield Case(field, _request("POST", "/v2/models/double/infer", b"", body))


def _request(method: str, target: str, header: bytes = b"", body: bytes = b"") -> bytes:
    host = b"" if header.startswith(b"Host") else b"Host: a\r\n"
    head = f"{method} {target} HTTP/1.1\r\nContent-Length: {len(body)}\r\n".encode()
    return head + host + header + b"\r\n" + body
