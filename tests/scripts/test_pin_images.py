"""Pinning digests rewrites the images and nothing else."""

from __future__ import annotations

from infra import versions
from scripts.pin_images import VERSIONS, images, pinned


def test_every_image_gets_its_digest_and_can_be_pinned_again() -> None:
    text = VERSIONS.read_text()
    names = images(text)
    assert sorted(name.split(":")[0] for name in names) == [
        "clickhouse/clickhouse-server",
        "otel/opentelemetry-collector-contrib",
        "prom/prometheus",
    ]
    first = pinned(text, dict.fromkeys(names, "sha256:" + "a" * 64))
    again = pinned(first, dict.fromkeys(names, "sha256:" + "b" * 64))
    for result, letter in ((first, "a"), (again, "b")):
        scope: dict[str, str] = {}
        exec(result, scope)
        assert scope["CLICKHOUSE_IMAGE"].endswith("@sha256:" + letter * 64)
        assert scope["COLLECTOR_IMAGE"].endswith("@sha256:" + letter * 64)
        assert scope["COLLECTOR_VERSION"] == versions.COLLECTOR_VERSION
