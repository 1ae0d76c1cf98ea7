"""What of the shared endpoint faces the internet: Caddy's configuration.

It ends TLS, passes three paths on and answers nothing else. Who may do what is decided behind it:
by the collector's list of members, and by ClickHouse's users.

JSON rather than a Caddyfile: what is not said here is not so. `@ADDRESS@` stands for the machine's
own address, which only the machine knows, and `@CA@` for a name of the CA that signs, so that
nothing that another one has signed is used any longer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from infra.collector.receive import MAX_REQUEST_BYTES
from infra.settings import Settings

ADDRESS, CA = "@ADDRESS@", "@CA@"
ACCESS_LOG, HANDSHAKE_LOG = "access.log", "handshakes.log"
CA_CERTIFICATE, CA_KEY = "ca.pem", "ca.key"
"""In the folder of secrets, for a CA of our own."""
CLIENT_CA, CLIENT_LEAVES = "clients/ca.pem", "clients/allowed"
"""In the folder of secrets, for client certificates: whose, and which of them."""

MAX_QUERY_BYTES = 1024 * 1024
_MAX_HEADER_BYTES = 16 * 1024
_HEADERS_SECONDS, _BODY_SECONDS, _ANSWER_SECONDS, _IDLE_SECONDS = 10, 60, 120, 120
_UPSTREAM_SECONDS = 10
"""How long a request waits for a service that starts again."""
_BUFFERED_BYTES = 256 * 1024
_CA = "local"
"""Caddy makes one of this name in any case."""
_LOG_MIB, _LOG_FILES = 10, 10

_REFUSED_PARAMETERS = "user|password|quota_key|role|session_id|session_check|session_timeout"
"""Of a query's URL: credentials, which would stand in logs, and what outlives a request."""
_PARAMETERS = "(?:[A-Za-z0-9_]+(?:=[^&]*)?(?:&|$))*"
"""Names are written in full, so that none reads differently further on."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where Caddy finds things."""

    listen: str
    """Address and port for TLS, such as :8443."""
    listen_plain: str
    """For the issuer of a public certificate alone, such as :8080."""
    ingest: str
    """Host and port of the collector's door for passwords."""
    ingest_tokens: str
    """For tokens."""
    health: str
    warehouse: str
    """ClickHouse's HTTP(S) endpoint, such as http://clickhouse:8123."""
    secrets: str
    """Folder of files: CA_CERTIFICATE and so on."""
    data: str
    """Folder of certificates; it is to outlive the machine."""
    log: str
    """Folder that ClickHouse reads the access log from."""
    admin: str
    """Unix socket that `caddy reload` talks to."""


def config(
    settings: Settings, placement: Placement, *, address: str = ADDRESS, ca: str = CA
) -> dict[str, Any]:
    """The whole configuration as plain data."""
    edge = settings.edge
    names = [edge.domain] if edge.acme else [*([edge.domain] if edge.domain else []), address]
    servers = {"edge": _server(settings, placement, names, address)}
    if edge.acme:
        servers["plain"] = _plain(placement)
    return {
        # Inside the container alone.
        "admin": {"listen": f"unix/{placement.admin}", "config": {"persist": False}},
        "logging": _logging(placement),
        "storage": {"module": "file_system", "root": f"{placement.data}/{ca}"},
        "apps": {
            "http": {
                "http_port": _port(placement.listen_plain),
                "https_port": _port(placement.listen),
                "grace_period": _seconds(5),
                "servers": servers,
            },
            "tls": _certificates(settings, names),
            "pki": _ca(settings, placement),
        },
    }


def render(config: dict[str, Any]) -> str:
    """JSON as Caddy reads it."""
    return json.dumps(config, indent=2) + "\n"


def _port(listen: str) -> int:
    return int(listen.rpartition(":")[2])


def _seconds(number: int) -> str:
    return f"{number}s"


def _server(
    settings: Settings, placement: Placement, names: list[str], address: str
) -> dict[str, Any]:
    policy: dict[str, Any] = {"protocol_min": "tls1.2", "alpn": ["h2", "http/1.1"]}
    if not settings.edge.acme:
        # Who asks for an address does not say so in the handshake.
        policy["default_sni"] = address
    if settings.edge.client_certificates:
        policy["client_authentication"] = {
            "mode": "require_and_verify",
            "ca": {
                "provider": "file",
                "pem_files": [f"{placement.secrets}/{CLIENT_CA}"],
            },
            # One that is no longer in the folder is revoked.
            "verifiers": [
                {
                    "verifier": "leaf",
                    "leaf_certs_loaders": [
                        {
                            "loader": "folder",
                            "folders": [f"{placement.secrets}/{CLIENT_LEAVES}"],
                        }
                    ],
                }
            ],
        }
    return {
        "listen": [placement.listen],
        "protocols": ["h1", "h2"],
        "read_header_timeout": _seconds(_HEADERS_SECONDS),
        "read_timeout": _seconds(_BODY_SECONDS),
        "write_timeout": _seconds(_ANSWER_SECONDS),
        "idle_timeout": _seconds(_IDLE_SECONDS),
        "max_header_bytes": _MAX_HEADER_BYTES,
        # What it would do by itself is said in full here; it would make a CA of its own besides.
        "automatic_https": {"disable": True},
        "tls_connection_policies": [policy],
        # One policy for all names, so that none is a way round another.
        "strict_sni_host": False,
        "logs": {"default_logger_name": "access"},
        "routes": [
            _banners(),
            {
                "match": [{"host": names}],
                "handle": [{"handler": "subroute", "routes": _routes(settings, placement)}],
            },
            _answer(404),
        ],
        "errors": {"routes": [_banners(), _answer("{http.error.status_code}")]},
    }


def _plain(placement: Placement) -> dict[str, Any]:
    """Nothing but what the issuer of the certificate asks for, which Caddy answers before this."""
    return {
        "listen": [placement.listen_plain],
        "protocols": ["h1"],
        "read_header_timeout": _seconds(_HEADERS_SECONDS),
        "read_timeout": _seconds(_HEADERS_SECONDS),
        "write_timeout": _seconds(_HEADERS_SECONDS),
        "idle_timeout": _seconds(_HEADERS_SECONDS),
        "max_header_bytes": _MAX_HEADER_BYTES,
        "automatic_https": {"disable": True},
        "logs": {"default_logger_name": "access"},
        "routes": [_banners(strict=False), _answer(404)],
    }


def _banners(*, strict: bool = True) -> dict[str, Any]:
    """Nothing says what programs answer here; with TLS, never without it again."""
    stay = {"set": {"Strict-Transport-Security": ["max-age=31536000"]}} if strict else {}
    gone = ["Server", "Via", "Alt-Svc", "X-Powered-By", "X-ClickHouse-*", "Access-Control-*"]
    return {
        "handle": [
            {"handler": "headers", "response": {"deferred": True, "delete": gone, **stay}},
        ]
    }


def _answer(status: int | str, *, close: bool = False) -> dict[str, Any]:
    """An answer without a body."""
    found: dict[str, Any] = {"handler": "static_response", "status_code": status}
    return {"handle": [{**found, **({"close": True} if close else {})}]}


def _routes(settings: Settings, placement: Placement) -> list[dict[str, Any]]:
    """The first that matches answers."""
    post = {"method": ["POST"], **_exactly("/v1/(logs|metrics)(?:[?].*)?")}
    # To anything else the collector does not even say that who asks is not let in.
    ingest = {
        **post,
        "header_regexp": {
            "Content-Type": {
                "pattern": "^application/(?:json|x-protobuf)(?:; ?charset=[-A-Za-z0-9]+)?$"
            }
        },
    }
    signal = {"handler": "rewrite", "uri": "/v1/{http.regexp.route.1}?"}
    tokens = [
        _route(
            {**ingest, "header": {"Authorization": ["Bearer *"]}},
            signal,
            _to_collector(placement.ingest_tokens),
            MAX_REQUEST_BYTES,
        )
    ]
    methods, login = {"method": ["GET", "POST"]}, {"header": {"Authorization": ["Basic *"]}}
    query = {**methods, **_exactly("/query(?:[?].*)?")}
    well = {
        **_exactly(f"/query(?:[?]{_PARAMETERS})?"),
        "not": [_matches("{http.request.uri.query}", f"(?:^|&)(?:{_REFUSED_PARAMETERS})(?:=|&|$)")],
    }
    return [
        *(tokens if settings.identity.oidc_issuer else []),
        _route(ingest, signal, _to_collector(placement.ingest), MAX_REQUEST_BYTES),
        {"match": [post], **_answer(415), "terminal": True},
        _route(
            {**methods, **login, **well},
            {"handler": "rewrite", "strip_path_prefix": "/query"},
            _to_warehouse(placement.warehouse),
            MAX_QUERY_BYTES,
        ),
        {"match": [{**query, **login}], **_answer(400), "terminal": True},
        {"match": [query], **_answer(401), "terminal": True},
        _route(
            {"method": ["GET"], **_exactly("/healthz(?:[?].*)?")},
            {"handler": "rewrite", "uri": "/?"},
            _to_health(placement.health),
            0,
        ),
    ]


def _exactly(uri: str) -> dict[str, Any]:
    """A matcher of path and parameters as they were sent: what `path` matches, it has decoded."""
    return _matches("{http.request.uri}", f"^{uri}$")


def _matches(what: str, pattern: str) -> dict[str, Any]:
    return {"vars_regexp": {what: {"name": "route", "pattern": pattern}}}


def _route(
    match: dict[str, Any], rewrite: dict[str, Any], proxy: dict[str, Any], most: int
) -> dict[str, Any]:
    limit = [{"handler": "request_body", "max_size": most}] if most else []
    return {"match": [match], "handle": [*limit, rewrite, proxy], "terminal": True}


_SENT = ("Authorization", "Content-Type", "Content-Encoding", "Accept-Encoding")
"""What of a request's headers is passed on."""


def _proxy(upstream: str, *, answers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "handler": "reverse_proxy",
        # A client that is refused while it still sends may not see why.
        "request_buffers": _BUFFERED_BYTES,
        "upstreams": [{"dial": upstream}],
        "transport": {
            "protocol": "http",
            "dial_timeout": _seconds(3),
            "response_header_timeout": _seconds(_ANSWER_SECONDS),
            # Where a connection is to live on, the collector reads to its end what it refuses; else
            # it closes, and that looks like a failure. It closes idle ones after a minute.
            "keep_alive": {"enabled": True, "idle_timeout": _seconds(30)},
            "compression": False,
        },
        # A service that starts again refuses connections for a moment; nothing of it is sent twice.
        "load_balancing": {
            "try_duration": _seconds(_UPSTREAM_SECONDS),
            "try_interval": "250ms",
        },
        "headers": {
            "request": {
                "delete": ["*"],
                "set": {
                    **{name: [f"{{http.request.header.{name}}}"] for name in _SENT},
                    "Host": [upstream],
                    "User-Agent": ["telemetry-edge"],
                    "X-Forwarded-For": ["{http.request.remote.host}"],
                },
            }
        },
        "handle_response": answers,
    }


def _refusals() -> dict[str, Any]:
    """Who is not let in has to connect anew for another try, and connections are counted."""
    return {
        "match": {"status_code": [401, 403]},
        "routes": [_answer("{http.reverse_proxy.status_code}", close=True)],
    }


def _to_collector(upstream: str) -> dict[str, Any]:
    return _proxy(upstream, answers=[_refusals()])


def _to_warehouse(address: str) -> dict[str, Any]:
    """Over TLS where it is somebody else's; then its certificate must be of a public issuer."""
    scheme, _, host = address.partition("://")
    upstream = host if ":" in host else f"{host}:{443 if scheme == 'https' else 80}"
    found = _proxy(upstream, answers=[_refusals()])
    if scheme == "https":
        found["transport"]["tls"] = {"server_name": host.partition(":")[0]}
    return found


def _to_health(upstream: str) -> dict[str, Any]:
    """Well or not; nothing more."""
    return _proxy(
        upstream,
        answers=[
            {"match": {"status_code": [200]}, "routes": [_answer(200)]},
            {"routes": [_answer(503)]},
        ],
    )


def _certificates(settings: Settings, names: list[str]) -> dict[str, Any]:
    edge = settings.edge
    if edge.acme:
        issuer = {"module": "acme", **({"email": edge.acme_email} if edge.acme_email else {})}
    else:
        issuer = {"module": "internal", "ca": _CA, "lifetime": "168h"}
    return {
        "certificates": {"automate": names},
        # It takes empty folders away, now and then under the first certificate.
        "disable_storage_clean": True,
        "automation": {"policies": [{"subjects": names, "issuers": [issuer]}]},
    }


def _ca(settings: Settings, placement: Placement) -> dict[str, Any]:
    """The one CA there is. Its key is a secret that the machine is given; what it signs lives for
    days. With public certificates it signs nothing."""
    root = {
        "certificate": f"{placement.secrets}/{CA_CERTIFICATE}",
        "private_key": f"{placement.secrets}/{CA_KEY}",
        "format": "pem_file",
    }
    own = {} if settings.edge.acme else {"root": root, "intermediate_lifetime": "720h"}
    return {"certificate_authorities": {_CA: {"install_trust": False, **own}}}


def _logging(placement: Placement) -> dict[str, Any]:
    """Who asked when for what path, and how it ended; no parameters, no texts, no credentials."""
    encoder = {
        "format": "filter",
        "wrap": {"format": "json"},
        "fields": {
            "request>uri": {"filter": "regexp", "regexp": "[?].*$", "value": ""},
            "request>headers": {"filter": "delete"},
            "resp_headers": {"filter": "delete"},
        },
    }

    def file(name: str, files: int) -> dict[str, Any]:
        return {
            "output": "file",
            "filename": f"{placement.log}/{name}",
            "mode": "0640",
            "roll_size_mb": _LOG_MIB,
            "roll_keep": files,
            "roll_gzip": False,
        }

    return {
        "logs": {
            "default": {
                "writer": {"output": "stderr"},
                "encoder": encoder,
                "level": "WARN",
                "exclude": ["http.log.access", "http.stdlib"],
            },
            "access": {
                "writer": file(ACCESS_LOG, _LOG_FILES),
                "encoder": encoder,
                "include": ["http.log.access.access"],
            },
            # Who did not get so far as to ask: foreign or revoked certificates, old TLS.
            "handshakes": {
                "writer": file(HANDSHAKE_LOG, 2),
                "encoder": {"format": "json"},
                "level": "DEBUG",
                "include": ["http.stdlib"],
            },
        }
    }
