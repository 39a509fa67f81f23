"""Writes one object for a person: what it is, how it stands, and why.

Called by `gradatim describe`. It reads a manifest's JSON form and prints; it asks no server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
import yaml

from gradatim.cli.output import section, table
from gradatim.client.display import age, why

Body = Mapping[str, Any]


def describe_body(body: Body, events: Sequence[Body]) -> None:
    """Print an object and its events."""
    meta, status = body["metadata"], body.get("status") or {}
    section(
        "",
        {
            "Name": meta["name"],
            "Namespace": meta.get("namespace"),
            "Kind": body["kind"],
            "Age": age(str(meta.get("creationTimestamp") or ""), datetime.now(UTC)),
            "Generation": f"{meta.get('generation', 0)} (observed {status.get('observedGeneration', -1)})",
            "State": status.get("state"),
            "Reason": why(body),
            "Deleted": meta.get("deletionTimestamp"),
        },
    )
    click.echo("Spec:")
    click.echo("\n".join(f"  {line}" for line in yaml.safe_dump(body["spec"], sort_keys=False).rstrip().splitlines()))
    _rows("Conditions", ("type", "status", "reason", "message"), status.get("conditions"))
    _run(status)
    _versions(status)
    _quality(status)
    _events(events)


def _rows(title: str, keys: Sequence[str], items: Sequence[Body] | None) -> None:
    if items:
        click.echo(f"{title}:")
        table([k.title() for k in keys], [[_cell(i.get(k)) for k in keys] for i in items])


def _cell(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _run(status: Body) -> None:
    run, progress = status.get("run") or {}, status.get("progress") or {}
    section(
        "Run",
        {
            "name": run.get("name"),
            "trigger": run.get("trigger"),
            "done": _cell(run.get("done")),
            "cost": _cost(run.get("cost")),
        },
    )
    section("Progress", {k: progress.get(k) for k in ("stage", "percent", "step", "total", "etaSeconds", "message")})
    _rows(
        "Attempts",
        ("number", "outcome", "failure", "reason", "startedAt", "finishedAt", "message"),
        run.get("attempts"),
    )


def _cost(cost: Body | None) -> str | None:
    """Return a Run's cost in words: amounts are texts with four decimals."""
    if not cost:
        return None
    hours = [f"{cost.get('cpuHours')} CPU hours"]
    if float(cost.get("acceleratorHours") or 0):
        hours.append(f"{cost['acceleratorHours']} accelerator hours")
    return f"{cost.get('amount')} {cost.get('currency')} ({', '.join(hours)})"


def _versions(status: Body) -> None:
    active = status.get("active") or {}
    section("Active", {k: v for k, v in active.items() if not isinstance(v, list | dict)})
    _rows("Metrics", ("name", "value", "low", "high", "samples"), active.get("metrics"))
    _rows("Gates", ("name", "passed", "reason", "message"), active.get("gates"))
    section("Adoption", status.get("adoption") or {})
    section("Candidate", status.get("candidate") or {})
    _rows("History", ("label", "digest", "documents", "chunks", "rows", "passed", "created"), status.get("history"))


def _quality(status: Body) -> None:
    found = status.get("validation") or {}
    failed = [r for r in found.get("results") or [] if not r.get("success")]
    # The list is bounded; where it does not hold all that failed, nothing is said about the rest.
    complete = len(failed) == found.get("failed", 0)
    warnings = sum(r.get("severity") == "warning" for r in failed) if complete else 0
    if found:
        section("Validation", _validation(found, warnings, used=_is_valid(status)))
    columns = ("expectation", "column", "failed", "observed", "examples")
    for title, warns in (("Failed expectations", False), ("Warnings", True)):
        _rows(title, columns, [r for r in failed if (r.get("severity") == "warning") is warns])
    _rows("Rejections", ("name", "count", "examples"), status.get("rejections"))


def _validation(found: Body, warnings: int, *, used: bool) -> dict[str, str]:
    """Return the summary in words that agree with the condition DataValid."""
    left_out = ", on the data as read; the rows that failed are left out" if used and not found.get("success") else ""
    evaluated, failed = found.get("evaluated", 0), found.get("failed", 0) - warnings
    rejected, reasons = found.get("rejected", 0), found.get("rejections") or []
    # The reason of a row that an expectation took out is the expectation's name.
    judged = sum(r.get("count", 0) for r in reasons if str(r.get("name")).startswith("expect_"))
    return {
        "success": f"{_cell(found.get('success', False))}{left_out}",
        "expectations": f"{evaluated} checked, {failed} failed" + (f", {warnings} warned" if warnings else ""),
        "rejected": f"{rejected} of {found.get('rows', 0)}" + (f", {judged} of them by expectations" if judged else ""),
    }


def _is_valid(status: Body) -> bool:
    return any(c.get("type") == "DataValid" and c.get("status") == "True" for c in status.get("conditions") or [])


def _events(events: Sequence[Body]) -> None:
    if not events:
        click.echo("Events: none")
        return
    click.echo("Events:")
    now = datetime.now(UTC)
    rows = [[age(str(e["time"]), now), str(e["type"]), str(e["reason"]), str(e["message"])] for e in events]
    table(["Age", "Type", "Reason", "Message"], rows)
