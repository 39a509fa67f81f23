"""`gradatim wait | rerun | suspend | resume | logs | events | metrics`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from gradatim.cli.options import Cluster, Duration, cluster_options, kind_argument, name_argument, output_option
from gradatim.cli.output import say, show, table

if TYPE_CHECKING:
    from gradatim.api.kinds import Kind
    from gradatim.cli.progress import Line
    from gradatim.client.waiting import Goal, WaitUpdate


@click.command()
@kind_argument
@name_argument
@click.option("--for", "goal", metavar="CONDITION", help="What to wait for. Default: the kind's own, Ready.")
@click.option("--timeout", type=Duration(), default="30m", show_default=True, help="Give up after, e.g. 90s, 30m, 1h.")
@output_option()
@cluster_options
def wait(*, cluster: Cluster, kind: Kind, name: str, goal: str | None, timeout: float, output: str) -> None:
    """Wait until an object is ready, with a progress line; fail with the reason when it will not be."""
    from gradatim.cli.progress import progress_line

    if goal is not None and goal != kind.summary:
        problem = f"a {kind.singular} has no condition {goal} to wait for, only {kind.summary}"
        raise click.BadParameter(problem, param_hint="--for")
    with cluster.client() as client, progress_line(f"{kind.singular}/{name}") as line:
        found = client.wait(
            kind.name,
            name,
            goal=cast("Goal", goal or kind.summary),
            timeout_seconds=timeout,
            on_progress=lambda update: _show_progress(line, update),
        )
    if not show(found.to_manifest(), output):
        click.echo(f"{kind.singular}/{name} is {goal or kind.summary}")


def _show_progress(line: Line, update: WaitUpdate) -> None:
    status: Any = getattr(update.object, "status", None)
    quality = getattr(status, "quality_text", None) if status else None
    suffix = f" [{quality} now]" if quality else ""
    progress = update.progress
    running = progress is not None and status.run is not None and not status.run.done
    if progress is None or not running:
        line(f"{update.text}{suffix}" if update.text else "")
        return
    doing = f"{progress.stage}: {progress.message}" if progress.message else progress.stage
    line(f"{doing}{suffix}", progress.percent, progress.eta_seconds)


@click.command()
@kind_argument
@name_argument
@output_option()
@cluster_options
def rerun(*, cluster: Cluster, kind: Kind, name: str, output: str) -> None:
    """Run once more, whether anything changed or not.

    Refused while the object is suspended or pinned to a version, since nothing would start.
    """
    with cluster.client() as client:
        found = client.rerun(kind.name, name)
    if not show(found.to_manifest(), output):
        click.echo(f"{kind.singular}/{name} will run again; follow it with: gradatim wait {kind.singular} {name}")


@click.command()
@kind_argument
@name_argument
@output_option()
@cluster_options
def suspend(*, cluster: Cluster, kind: Kind, name: str, output: str) -> None:
    """Stop the active run at its next checkpoint and start none until resumed."""
    with cluster.client() as client:
        found = client.suspend(kind.name, name)
    if not show(found.to_manifest(), output):
        click.echo(f"{kind.singular}/{name} suspended")


@click.command()
@kind_argument
@name_argument
@output_option()
@cluster_options
def resume(*, cluster: Cluster, kind: Kind, name: str, output: str) -> None:
    """Let a suspended object run again."""
    with cluster.client() as client:
        found = client.resume(kind.name, name)
    if not show(found.to_manifest(), output):
        click.echo(f"{kind.singular}/{name} resumed")


@click.command()
@kind_argument
@name_argument
@click.option("-f", "--follow", is_flag=True, help="Wait for the run to start, and go on until it is done.")
@cluster_options
def logs(*, cluster: Cluster, kind: Kind, name: str, follow: bool) -> None:
    """Print the log of the latest attempt.

    If that is not the run you asked for, because it has not started yet, a line on standard error says so; with --follow it is waited for.

    Logs come from the Ray cluster. The local platform's token is found by itself; for another cluster put the token into a file and
    name it in $GRADATIM_RAY_TOKEN_FILE.
    """
    with cluster.client() as client:
        for piece in client.logs(kind.name, name, follow=follow, on_note=_once(say)):
            click.echo(piece, nl=False)


def _once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Tell a line only when it differs from the one before."""
    last = ""

    def told(text: str) -> None:
        nonlocal last
        if text != last:
            last = text
            tell(text)

    return told


@click.command()
@kind_argument
@name_argument
@output_option()
@cluster_options
def events(*, cluster: Cluster, kind: Kind, name: str, output: str) -> None:
    """List the events of one object, oldest first."""
    from gradatim.client.display import age

    with cluster.client() as client:
        found = client.events(kind.name, name)
    if show([asdict(e) for e in found], output):
        return
    now = datetime.now(UTC)
    rows = [[age(e.time, now), e.type, e.reason, str(e.count), e.message] for e in found]
    table(["Age", "Type", "Reason", "Count", "Message"], rows, empty=f"no events for {kind.singular} {name}")


@click.command()
@kind_argument
@name_argument
@click.option("-m", "--metric", "chosen", multiple=True, metavar="NAME", help="Only this metric; may be repeated.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.png", help="Draw them as a picture."
)
@output_option()
@cluster_options
def metrics(
    *, cluster: Cluster, kind: Kind, name: str, chosen: tuple[str, ...], plot: Path | None, output: str
) -> None:
    """Show the metrics of all versions, with intervals."""
    from gradatim.client.errors import NotFoundError

    with cluster.client() as client:
        history = client.metrics(kind.name, name)
    if missing := [m for m in chosen if m not in history.names]:
        raise NotFoundError(f"there is no metric {', '.join(missing)}; there are: {', '.join(history.names) or 'none'}")
    rows = [r for r in history.rows() if not chosen or r["metric"] in chosen]
    if plot is not None:
        history.plot(chosen, path=plot)
        say(f"wrote {plot}")
    if show(rows, output):
        return
    cells = [
        [
            r["version"] + (" *" if r["active"] else ""),
            r["metric"],
            _number(r["value"]),
            _interval(r),
            str(r["samples"]),
        ]
        for r in rows
    ]
    table(
        ["Version", "Metric", "Value", "Interval", "Samples"],
        cells,
        empty=f"no metrics of {kind.singular} {name} yet; an index has some once spec.evaluation names questions",
    )


def _number(value: float) -> str:
    return f"{value:.4g}" if value != int(value) else str(int(value))


def _interval(row: dict[str, Any]) -> str:
    return "" if row["low"] is None or row["high"] is None else f"{row['low']:.4g} to {row['high']:.4g}"
