"""What the usual exporters tell, as measurements: asked of every service whose catalogue entry does not say otherwise.

Sources: the metric lists of node_exporter, postgres_exporter, mysqld_exporter, redis_exporter, cAdvisor, kube-state-metrics, the
Prometheus client libraries (process_*), Micrometer (HikariCP, Tomcat, JVM) and the OpenTelemetry semantic conventions. A metric
that is not there is not judged. The service is found under the labels that its own exporter gives it: `service` or `job`, or the
pod's name. Hosts and databases have none of these: all that Prometheus knows are looked at, and the message names the instance.
"""

from __future__ import annotations

from collections.abc import Mapping

from detector.domain.check import Check
from detector.domain.measurement import Measurement, Unit

RECENT_SECONDS = 3600.0
_POD = 'pod=~"$service(-.*)?",container!="",container!="POD"'
_DISKS = 'fstype!~"tmpfs|overlay|squashfs|ramfs|iso9660"'


def _own(template: str) -> str:
    """The expression over the service's own series, found by label `service` or `job`; `@` stands for the matcher."""
    parts = (template.replace("@", f'{label}="$service"') for label in ("service", "job"))
    return " or ".join(f"({part})" for part in parts)


def _full(name: str, used: str, limit: str, above: float = 0.8) -> Measurement:
    return Measurement(name, f"{used} / ({limit} > 0)", above=above, unit=Unit.SHARE)


DEPLOY = (
    Measurement(
        "version new in the last hour",
        _own(
            "(count by (version) ({__name__=~'.+_build_info',@}) unless "
            "count by (version) ({__name__=~'.+_build_info',@} offset 1h)) and on () "
            "({__name__=~'.+_build_info',@} offset 1h) or 0 * count by (version) ({__name__=~'.+_build_info',@})"
        ),
        above=0.0,
    ),
    Measurement(
        "deployments in the last hour",
        # every change of the specification counts a generation, and that of an autoscaler is no deploy
        'changes(kube_deployment_status_observed_generation{deployment="$service"}[1h]) - '
        'changes(kube_deployment_spec_replicas{deployment="$service"}[1h])'
        ' or changes(kube_deployment_status_observed_generation{deployment="$service"}[1h])',
        above=0.0,
    ),
    Measurement("process started", _own("max by (instance) (process_start_time_seconds{@})"), since_seconds=RECENT_SECONDS),
)
DATABASE = (
    Measurement("PostgreSQL up", "pg_up", below=1.0),
    _full(
        "PostgreSQL connections used",
        "sum by (instance) (pg_stat_activity_count)",
        "max by (instance) (pg_settings_max_connections)",
    ),
    Measurement(
        "PostgreSQL longest transaction",
        "max by (instance, datname) (pg_stat_activity_max_tx_duration)",
        above=60.0,
        unit=Unit.SECONDS,
    ),
    Measurement(
        "PostgreSQL replication lag",
        "max by (instance) (pg_replication_lag_seconds or pg_replication_lag)",
        above=30.0,
        unit=Unit.SECONDS,
    ),
    Measurement(
        "PostgreSQL mean query time",
        "sum by (instance, datname) (rate(pg_stat_statements_seconds_total[$window])) / "
        "sum by (instance, datname) (rate(pg_stat_statements_calls_total[$window]))",
        above=0.5,
        unit=Unit.SECONDS,
    ),
    Measurement("MySQL up", "mysql_up", below=1.0),
    _full("MySQL connections used", "mysql_global_status_threads_connected", "mysql_global_variables_max_connections"),
    Measurement("MySQL slow queries", "increase(mysql_global_status_slow_queries[$window])", above=10.0),
    Measurement(
        "MySQL replication lag",
        "mysql_slave_status_seconds_behind_master or mysql_slave_status_seconds_behind_source",
        above=30.0,
        unit=Unit.SECONDS,
    ),
    Measurement("Redis up", "redis_up", below=1.0),
    _full("Redis clients used", "redis_connected_clients", "redis_config_maxclients"),
    _full("Redis memory used", "redis_memory_used_bytes", "redis_memory_max_bytes", 0.95),
    Measurement("Redis rejected connections", "increase(redis_rejected_connections_total[$window])", above=0.0),
    Measurement("Redis link to its master", "redis_master_link_up", below=1.0),
    Measurement(
        "query p95",
        _own(
            "histogram_quantile(0.95, sum by (le) (rate(db_query_duration_seconds_bucket{@}[$window]))) or "
            "histogram_quantile(0.95, sum by (le) (rate(db_client_operation_duration_seconds_bucket{@}[$window])))"
        ),
        above=0.5,
        unit=Unit.SECONDS,
    ),
)
CONFIGURATION = (
    Measurement("last reload of the configuration good", _own("{__name__=~'.+_config_last_reload_successful',@}"), below=1.0),
    Measurement(
        "configuration loaded",
        _own("{__name__=~'.+_config_last_reload_success_timestamp_seconds',@}"),
        since_seconds=RECENT_SECONDS,
    ),
    Measurement("configuration hash changed, times", _own("changes({__name__=~'.+_config_hash',@}[1h])"), above=0.0),
)
RESOURCES = (
    Measurement(
        "CPU of the host", '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[$window]))', above=0.9, unit=Unit.SHARE
    ),
    Measurement(
        "memory of the host", "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", above=0.9, unit=Unit.SHARE
    ),
    Measurement(
        "disk",
        f"max by (instance, mountpoint) (1 - node_filesystem_avail_bytes{{{_DISKS}}} / node_filesystem_size_bytes{{{_DISKS}}})",
        above=0.9,
        unit=Unit.SHARE,
    ),
    Measurement(
        "memory of the container",
        f"max by (pod, container) (container_memory_working_set_bytes{{{_POD}}}) / "
        f"(max by (pod, container) (container_spec_memory_limit_bytes{{{_POD}}}) > 0)",
        above=0.9,
        unit=Unit.SHARE,
    ),
    Measurement(
        "CPU throttled",
        f"sum by (pod) (rate(container_cpu_cfs_throttled_periods_total{{{_POD}}}[$window])) / "
        f"sum by (pod) (rate(container_cpu_cfs_periods_total{{{_POD}}}[$window]))",
        above=0.25,
        unit=Unit.SHARE,
    ),
    Measurement(
        "killed for lack of memory",
        f'max by (pod) (kube_pod_container_status_last_terminated_reason{{reason="OOMKilled",{_POD}}}) * on (pod) '
        f"sum by (pod) (increase(kube_pod_container_status_restarts_total{{{_POD}}}[1h]))",
        above=0.0,
    ),
    Measurement("OOM kills of the host", "increase(node_vmstat_oom_kill[1h])", above=0.0),
    Measurement(
        "file descriptors", _own("max by (instance) (process_open_fds{@} / process_max_fds{@})"), above=0.8, unit=Unit.SHARE
    ),
    Measurement(
        "memory of the process",  # a limit that is none is -1 or as large as an address space can be
        _own("max by (instance) (process_virtual_memory_bytes{@} / (process_virtual_memory_max_bytes{@} > 0 < 1e15))"),
        above=0.9,
        unit=Unit.SHARE,
    ),
    Measurement(
        "CPU of the process",
        _own("max by (instance) (rate(process_cpu_seconds_total{@}[$window]) / on (instance, job) go_sched_gomaxprocs_threads{@})"),
        above=0.9,
        unit=Unit.SHARE,
    ),
    Measurement(
        "heap",
        _own(
            "max by (instance) (sum by (instance) (jvm_memory_used_bytes{area='heap',@}) / "
            "(sum by (instance) (jvm_memory_max_bytes{area='heap',@}) > 0))"
        ),
        above=0.95,
        unit=Unit.SHARE,
    ),
)
CONCURRENCY = (
    Measurement("PostgreSQL deadlocks", "sum by (instance, datname) (increase(pg_stat_database_deadlocks[$window]))", above=0.0),
    Measurement("PostgreSQL exclusive locks", 'sum by (instance, datname) (pg_locks_count{mode="accessexclusivelock"})', above=5.0),
    Measurement("MySQL waits for row locks", "mysql_global_status_innodb_row_lock_current_waits", above=5.0),
    Measurement("MySQL deadlocks", "increase(mysql_global_status_innodb_deadlocks[$window])", above=0.0),
    Measurement("lock timeouts", _own("sum by (instance) (increase(lock_timeouts_total{@}[$window]))"), above=0.0),
    Measurement("deadlocked threads", _own("max by (instance) (jvm_threads_deadlocked{@})"), above=0.0),
    Measurement(
        "threads busy",
        _own("max by (instance) (tomcat_threads_busy_threads{@} / (tomcat_threads_config_max_threads{@} > 0))"),
        above=0.9,
        unit=Unit.SHARE,
    ),
    Measurement(
        "executor busy",
        _own("max by (instance, name) (executor_active_threads{@} / (executor_pool_max_threads{@} > 0))"),
        above=0.9,
        unit=Unit.SHARE,
    ),
    Measurement(
        "waiting for a database connection",
        _own("max by (instance, pool) (hikaricp_connections_pending{@} or db_client_connections_pending_requests{@})"),
        above=0.0,
    ),
)
P99 = (
    Measurement(
        "p99",
        _own("histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket{@}[$window])))"),
        above=1.0,
        unit=Unit.SECONDS,
    ),
)
DEFAULTS: Mapping[Check, tuple[Measurement, ...]] = {
    Check.DEPLOY: DEPLOY,
    Check.DATABASE: DATABASE,
    Check.CONFIGURATION: CONFIGURATION,
    Check.RESOURCES: RESOURCES,
    Check.CONCURRENCY: CONCURRENCY,
    Check.P99: P99,
}
