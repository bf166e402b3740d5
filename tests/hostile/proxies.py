"""nginx and HAProxy in front of a server, as an operator would set them up.

Both give every request they pass on an id of their own making. A response with another id answers
a request that the proxy never sent: the two have parsed the same bytes differently.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.hostile.served import Address, Served

ID_PREFIX = "via-"

NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log crit;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream sedp {{ server {host}:{port}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{own};
        client_max_body_size 16m;
        location / {{
            proxy_pass http://sedp;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Request-Id {prefix}$request_id;
            proxy_request_buffering off;
        }}
    }}
}}
"""

HAPROXY = """\
global
    maxconn 1024
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
    http-reuse always
    option http-keep-alive
frontend front
    bind 127.0.0.1:{own}
    http-request set-header X-Request-Id {prefix}%[uuid()]
    default_backend back
backend back
    server sedp {host}:{port} pool-purge-delay 60s
"""

COMMANDS: dict[str, tuple[str, Callable[[Path], list[str]]]] = {
    "nginx": (NGINX, lambda config: ["-p", str(config.parent), "-c", str(config)]),
    "haproxy": (HAPROXY, lambda config: ["-db", "-q", "-f", str(config)]),
}


def program(name: str) -> str | None:
    """Where the proxy is installed, if it is; Debian puts both where only root looks."""
    return shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


@contextmanager
def in_front_of(served: Served, name: str, folder: Path) -> Iterator[Address]:
    """Run a proxy; where it listens."""
    text, arguments = COMMANDS[name]
    config = folder / f"{name}.conf"
    own = _free_port()
    host, port = served.data
    config.write_text(text.format(folder=folder, own=own, host=host, port=port, prefix=ID_PREFIX))
    path = program(name)
    assert path is not None
    with subprocess.Popen([path, *arguments(config)], stderr=subprocess.PIPE) as process:
        try:
            _wait_for(own, process)
            yield "127.0.0.1", own
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until it listens; the test's time limit ends it otherwise."""
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    assert process.stderr is not None
    raise AssertionError(process.stderr.read())
