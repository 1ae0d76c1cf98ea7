"""ClickHouse's own settings: one set for every stack, plus what the engine at hand needs."""

from __future__ import annotations

from typing import Literal

from infra.settings import Settings
from infra.warehouse.xml import document

Engine = Literal["libchdb", "server"]

_MIB = 1024 * 1024
_SHARE_OF_MEMORY = 85
"""Percent of the memory limit; the rest is what ClickHouse does not count: code, page tables."""
_AUDIT_DAYS = 90
"""How long the server itself keeps the audit logs. No setting: a change would restart it."""
_SYSTEM_LOGS = ("query_log", "query_views_log", "session_log", "part_log")
_UNUSED_LOGS = (
    "trace_log",
    "text_log",
    "metric_log",
    "asynchronous_metric_log",
    "asynchronous_insert_log",
    "processors_profile_log",
    "opentelemetry_span_log",
    "zookeeper_log",
    "crash_log",
    "error_log",
    "latency_log",
    "query_metric_log",
    "query_thread_log",
    "blob_storage_log",
    "backup_log",
    "s3queue_log",
    "background_schedule_pool_log",
)


def _shared(settings: Settings, *, behind_edge: bool) -> dict[str, object]:
    """What is the same on every stack.

    `behind_edge`: where people come from is what the edge says, who overwrites what they claim.
    """
    fsync = int(settings.queue.fsync)
    return {
        **({"auth_use_forwarded_address": 1} if behind_edge else {}),
        "mark_cache_size": 64 * _MIB,
        "uncompressed_cache_size": 0,
        # A summary that was replaced is gone from the disk soon.
        "database_atomic_delay_before_drop_table_sec": 10,
        "merge_tree": {
            # What the collector was told is stored stays stored through a power cut, whatever it
            # was merged into since.
            "fsync_after_insert": fsync,
            "fsync_part_directory": fsync,
            "min_rows_to_fsync_after_merge": fsync,
            "min_compressed_bytes_to_fsync_after_merge": fsync,
            # What was deleted is gone from the disk soon. Where parts are synced, none that was
            # replaced is needed after a power cut; else the system has written what came instead
            # of it in a minute.
            "finished_mutations_to_keep": 1,  # 0 means all of them
            "old_parts_lifetime": 1 if settings.queue.fsync else 60,
            "cleanup_delay_period": 2,
            "cleanup_delay_period_random_add": 1,
            "max_cleanup_delay_period": 10,
        },
        "access_control_improvements": {
            "users_without_row_policies_can_read_rows": "false",
            "on_cluster_queries_require_cluster_grant": "true",
            "select_from_system_db_requires_grant": "true",
            "select_from_information_schema_requires_grant": "true",
            "settings_constraints_replace_previous": "true",
        },
    }


def _logs(engine: Engine) -> dict[str, object]:
    """The logs that are the audit trail; the server's other logs are off.

    libchdb keeps `system` in memory, where a log table on disk breaks the second start.
    """
    kept: dict[str, object] = {}
    for name in _SYSTEM_LOGS:
        entry: dict[str, object] = {"database": "system", "table": name}
        if engine == "libchdb":
            entry["engine"] = (
                "ENGINE = Memory SETTINGS max_rows_to_keep = 20000, min_rows_to_keep = 10000"
            )
        else:
            entry["partition_by"] = "toYYYYMM(event_date)"
            entry["ttl"] = f"event_date + INTERVAL {_AUDIT_DAYS} DAY DELETE"
        entry["flush_interval_milliseconds"] = 1000
        kept[name] = entry
    return kept


def embedded_config_xml(
    settings: Settings,
    *,
    data: str,
    users_file: str,
    log_folder: str,
    engine: Engine,
    behind_edge: bool = False,
) -> str:
    """A whole config.xml for a server that runs as a plain process on 127.0.0.1."""
    return document(
        {
            "path": f"{data}/",
            "tmp_path": f"{data}/tmp/",
            "user_files_path": f"{data}/user_files/",
            "format_schema_path": f"{data}/format_schemas/",
            "listen_host": "127.0.0.1",
            "http_port": settings.ports.clickhouse_http,
            "users_config": users_file,
            "user_directories": {"users_xml": {"path": users_file}},
            "logger": {
                "level": "warning",
                "log": f"{log_folder}/clickhouse-server.log",
                "errorlog": f"{log_folder}/clickhouse-server.err.log",
                "size": "10M",
                "count": 2,
            },
            "max_server_memory_usage": settings.limits.clickhouse_memory_mib
            * _MIB
            * _SHARE_OF_MEMORY
            // 100,
            **_shared(settings, behind_edge=behind_edge),
            **_logs(engine),
        }
    )


def image_config_xml(settings: Settings, *, behind_edge: bool = False) -> str:
    """config.d/telemetry.xml: what the official image's own configuration is changed by.

    Of the memory limit it takes its share by itself, so that a changed limit is no changed file,
    which would replace the container.
    """
    return document(
        {
            "listen_host": "0.0.0.0",
            "tcp_port": {"@remove": "remove"},
            "mysql_port": {"@remove": "remove"},
            "postgresql_port": {"@remove": "remove"},
            "interserver_http_port": {"@remove": "remove"},
            "logger": {
                "level": "warning",
                "console": 1,
                "log": {"@remove": "remove"},
                "errorlog": {"@remove": "remove"},
            },
            "max_server_memory_usage_to_ram_ratio": f"0.{_SHARE_OF_MEMORY}",
            **_shared(settings, behind_edge=behind_edge),
            **{name: {"@remove": "remove"} for name in _UNUSED_LOGS},
            **_logs("server"),
        }
    )
