"""Operator settings, read once from the environment.

Used by `main`. Frozen afterwards: nothing else in the operator reads the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class SettingsError(ValueError):
    """A variable has a value that cannot be used."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Timing of Runs, in seconds. Tests shorten them; the meaning of a status never depends on them."""

    poll_min: float = 1.0
    poll_max: float = 30.0
    heartbeat_timeout: float = 180.0
    result_grace: float = 15.0
    stop_grace: float = 120.0
    deadline_grace: float = 60.0
    queue_deadline: float = 604_800.0
    pod_fence: float = 60.0
    retry_base: float = 5.0
    retry_max: float = 300.0
    cleanup_deadline: float = 900.0
    progress_interval: float = 30.0
    dependency_deadline: float = 900.0


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that an administrator may set. Durations in seconds."""

    namespace: str = "gradatim-system"
    watch_namespaces: tuple[str, ...] = ()
    workers: int = 16
    resync: float = 300.0
    drift: float = 3600.0
    stray_age: float = 600.0
    metrics_port: int = 8080
    health_port: int = 8081
    listen: str = "127.0.0.1"
    log_level: str = "INFO"
    log_format: str = "json"
    test_runtime: str = ""
    store_reads_per_second: float = 50.0
    stall_after: float = 300.0
    runs: RunSettings = field(default_factory=RunSettings)


def _number(env: Mapping[str, str], name: str, default: float, low: float) -> float:
    text = env.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise SettingsError(f"{name} must be a number, not {text!r}") from None
    if not low <= value < float("inf"):
        raise SettingsError(f"{name} must be at least {low:g}, not {text}")
    return value


def load(env: Mapping[str, str]) -> Settings:
    """Return the settings in `env`. Raises `SettingsError` that names the variable and what it may be."""
    named = (n.strip() for n in env.get("GRADATIM_WATCH_NAMESPACES", "").split(","))
    namespaces = tuple(dict.fromkeys(n for n in named if n))
    base, runs = Settings(), RunSettings()
    return Settings(
        namespace=env.get("GRADATIM_OPERATOR_NAMESPACE", base.namespace),
        watch_namespaces=namespaces,
        workers=int(_number(env, "GRADATIM_WORKERS", base.workers, 1)),
        resync=_number(env, "GRADATIM_RESYNC_SECONDS", base.resync, 1),
        drift=_number(env, "GRADATIM_DRIFT_SECONDS", base.drift, 1),
        stray_age=_number(env, "GRADATIM_STRAY_AGE_SECONDS", base.stray_age, 0),
        metrics_port=int(_number(env, "GRADATIM_METRICS_PORT", base.metrics_port, 0)),
        health_port=int(_number(env, "GRADATIM_HEALTH_PORT", base.health_port, 0)),
        listen=env.get("GRADATIM_LISTEN", base.listen),
        log_level=env.get("GRADATIM_LOG_LEVEL", base.log_level).upper(),
        log_format=env.get("GRADATIM_LOG_FORMAT", base.log_format),
        test_runtime=env.get("GRADATIM_TEST_RUNTIME", ""),
        store_reads_per_second=_number(env, "GRADATIM_STORE_READS_PER_SECOND", base.store_reads_per_second, 1),
        stall_after=_number(env, "GRADATIM_STALL_AFTER_SECONDS", base.stall_after, 10),
        runs=RunSettings(
            poll_min=_number(env, "GRADATIM_POLL_MIN_SECONDS", runs.poll_min, 0.05),
            poll_max=_number(env, "GRADATIM_POLL_MAX_SECONDS", runs.poll_max, 0.05),
            heartbeat_timeout=_number(env, "GRADATIM_HEARTBEAT_TIMEOUT_SECONDS", runs.heartbeat_timeout, 1),
            result_grace=_number(env, "GRADATIM_RESULT_GRACE_SECONDS", runs.result_grace, 0),
            stop_grace=_number(env, "GRADATIM_STOP_GRACE_SECONDS", runs.stop_grace, 0),
            deadline_grace=_number(env, "GRADATIM_DEADLINE_GRACE_SECONDS", runs.deadline_grace, 0),
            queue_deadline=_number(env, "GRADATIM_QUEUE_DEADLINE_SECONDS", runs.queue_deadline, 1),
            pod_fence=_number(env, "GRADATIM_POD_FENCE_SECONDS", runs.pod_fence, 1),
            retry_base=_number(env, "GRADATIM_RETRY_BASE_SECONDS", runs.retry_base, 0),
            retry_max=_number(env, "GRADATIM_RETRY_MAX_SECONDS", runs.retry_max, 0),
            cleanup_deadline=_number(env, "GRADATIM_CLEANUP_DEADLINE_SECONDS", runs.cleanup_deadline, 1),
            progress_interval=_number(env, "GRADATIM_PROGRESS_SECONDS", runs.progress_interval, 0),
            dependency_deadline=_number(env, "GRADATIM_DEPENDENCY_DEADLINE_SECONDS", runs.dependency_deadline, 1),
        ),
    )
