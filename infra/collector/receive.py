"""Step 1: receive. OTLP over HTTP and gRPC; logs and metrics.

Traces have no pipeline, so the receiver answers them 404 (HTTP) or UNIMPLEMENTED (gRPC).
"""

from __future__ import annotations

from typing import Any

from infra.collector.placement import Placement
from infra.settings import Settings

MAX_REQUEST_BYTES = 20 * 1024 * 1024


def receivers(placement: Placement) -> dict[str, Any]:
    """The one door."""
    return {
        "otlp": {
            "protocols": {
                "http": {
                    "endpoint": f"{placement.listen}:{placement.otlp_http_port}",
                    "max_request_body_size": MAX_REQUEST_BYTES,
                },
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
