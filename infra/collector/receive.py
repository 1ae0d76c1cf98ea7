"""Step 1: receive. OTLP over HTTP and gRPC; logs and metrics. Where members log in: HTTP only.

Traces have no pipeline, so the receiver answers them 404 (HTTP) or UNIMPLEMENTED (gRPC).
"""

from __future__ import annotations

from typing import Any

from infra.collector import authenticate
from infra.collector.placement import Placement
from infra.settings import Settings

MAX_REQUEST_BYTES = 20 * 1024 * 1024


def receivers(settings: Settings, placement: Placement) -> dict[str, Any]:
    """The one door; on a shared endpoint, those that members log in at."""
    http = {
        "endpoint": f"{placement.listen}:{placement.otlp_http_port}",
        "max_request_body_size": MAX_REQUEST_BYTES,
    }
    if authenticate.wanted(placement):
        return authenticate.receivers(settings, placement, http)
    return {
        "otlp": {
            "protocols": {
                "http": http,
                "grpc": {
                    "endpoint": f"{placement.listen}:{placement.otlp_grpc_port}",
                    "max_recv_msg_size_mib": MAX_REQUEST_BYTES // 1024 // 1024,
                },
            }
        }
    }


def processors(settings: Settings) -> dict[str, Any]:
    """Refuse (503, the client tries again) rather than be killed for want of memory."""
    limit = settings.limits.collector_memory_mib * 8 // 10
    return {
        "memory_limiter": {
            "check_interval": "1s",
            "limit_mib": limit,
            "spike_limit_mib": limit // 4,
        }
    }
