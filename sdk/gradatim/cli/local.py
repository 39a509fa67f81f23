"""`gradatim run -f`: the same job on this machine, without a cluster, and what is left of it taken away again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradatim.cli.options import output_option
from gradatim.cli.output import say, show, table

if TYPE_CHECKING:
    from gradatim.client.local import LocalBackend, LocalOutcome
    from gradatim.client.manifests import Manifest


@click.command()
@click.option(
    "-f",
    "--filename",
    "filenames",
    required=True,
    multiple=True,
    metavar="FILE|DIR|-",
    help="Manifests: a file, a folder, or - for standard input. May be repeated.",
)
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), default=Path(".gradatim/local"), show_default=True,
              metavar="DIR", help="Where artifacts and status are kept.")  # fmt: skip
@click.option("--weaviate", metavar="URL", help="Weaviate to load indexes into. Default: the local platform's.")
@click.option("--weaviate-grpc", metavar="URL", help="Its gRPC address. Default: port 50051 of the same host.")
@click.option("--weaviate-key-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="DIR/NAME/api-key",
              help="File with its API key.")  # fmt: skip
@click.option("--force", is_flag=True, help="Build although nothing changed.")
@click.option("--delete", "remove", is_flag=True, help="Run nothing; remove what earlier runs of these manifests left.")
@output_option()
def run(  # noqa: PLR0913 - one parameter per option
    *,
    filenames: tuple[str, ...],
    state: Path,
    weaviate: str | None,
    weaviate_grpc: str | None,
    weaviate_key_file: Path | None,
    force: bool,
    remove: bool,
    output: str,
) -> None:
    """Run Datasets and RAGIndexes on this machine without a cluster: same outputs, same gates.

    Datasets run first, then the indexes that read them, whichever file they stand in. A ComputeProfile among the manifests is optional.
    Stops at the first failure, also when a gate refuses a version; the version before it stays active then. An index that did not
    change is judged anew by its gates.

    With --delete collections, artifacts and status of these objects are removed, as far as they are there. While Weaviate does not answer
    nothing is removed. Without --weaviate it is the one that the index was loaded into.
    """
    if weaviate is None and (weaviate_grpc or weaviate_key_file):
        raise click.UsageError("--weaviate-grpc and --weaviate-key-file go with --weaviate")
    if remove and force:
        raise click.UsageError("--force builds and --delete removes: give one of them")
    from gradatim.client.local import LocalBackend
    from gradatim.client.manifests import read_manifests
    from gradatim.client.vectorstore import VectorAccess

    vectors = VectorAccess.of_address(weaviate, weaviate_grpc, weaviate_key_file) if weaviate else None
    manifests = [manifest for name in filenames for manifest in read_manifests(name)]
    backend = LocalBackend(state, vectors)
    if remove:
        _delete_all(backend, manifests, output)
        return
    outcomes = _run_all(backend, manifests, force=force, live=output == "table")
    show([_summary(o) for o in outcomes], output)
    if not all(o.ok for o in outcomes):
        raise click.exceptions.Exit(1)


def _delete_all(backend: LocalBackend, manifests: list[Manifest], output: str) -> None:
    removed = backend.delete(manifests)
    if show([{**asdict(r), "deleted": r.deleted} for r in removed], output):
        return
    for one in removed:
        name, count = f"{one.kind.lower()}/{one.name}", len(one.collections)
        collections = f"{count} collection{'' if count == 1 else 's'}" if count else ""
        parts = [p for p in (collections, "artifacts" if one.artifacts else "", "status" if one.status else "") if p]
        if parts:
            click.echo(f"{name} deleted: {', '.join(parts)}")
        else:
            say(f"{name}: nothing of it was left")
        for what in one.left:
            say(f"{name}: left {what}")


def _run_all(backend: LocalBackend, manifests: list[Manifest], *, force: bool, live: bool) -> list[LocalOutcome]:
    from gradatim.cli.output import report
    from gradatim.cli.progress import progress_line
    from gradatim.client.local import failure_of

    outcomes: list[LocalOutcome] = []
    with progress_line("run") as line:
        found = backend.run(
            manifests,
            force=force,
            on_progress=lambda name, p: line(
                f"{name} {p.stage}{f': {p.message}' if p.message else ''}", p.percent, p.eta_seconds
            ),
        )
        outcomes.extend(found)
    for outcome in outcomes:
        if live:
            click.echo(f"{outcome.name} {outcome.outcome}: {outcome.message or outcome.reason}")
            _print_details(outcome)
        if not outcome.ok:
            report(failure_of(outcome))
    return outcomes


def _print_details(outcome: LocalOutcome) -> None:
    result = outcome.result
    if result.dataset is not None:
        counts = result.dataset
        click.echo(f"  {counts.rows} rows, {counts.rejected} rejected, {counts.duplicates} duplicates: {counts.uri}")
    if result.index is not None:
        built = result.index
        adopted = f", {built.adopted_vectors} of them adopted" if built.adopted_vectors else ""
        click.echo(
            f"  {built.documents} documents, {built.chunks} chunks ({built.reused_vectors} vectors reused{adopted}),"
            f" collection {built.collection}"
        )
        if built.metrics:
            rows = [[m.name, f"{m.value:.4g}", _interval(m.low, m.high), str(m.samples)] for m in built.metrics]
            table(["Metric", "Value", "Interval", "Samples"], rows)
    for rejection in result.rejections:
        click.echo(f"  rejected {rejection.count}: {rejection.name} ({', '.join(rejection.examples[:3])})")


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.4g} to {high:.4g}"


def _summary(outcome: LocalOutcome) -> dict[str, object]:
    return {
        "object": outcome.thing.to_manifest(),
        "ok": outcome.ok,
        "outcome": outcome.outcome,
        "reason": outcome.reason,
        "message": outcome.message,
        "result": outcome.result.to_manifest(),
    }
