"""`gradatim index query | evaluate | versions | rollback`."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gradatim.cli.options import Cluster, cluster_options, name_argument, output_option
from gradatim.cli.output import say, show, table

if TYPE_CHECKING:
    from gradatim.client.filters import Condition
    from gradatim.client.search import IndexSearch, Passage, SearchAnswer


F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def index() -> None:
    """Ask, measure and switch indexes."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an index is: on a cluster, by its status or another address, or in a folder of `gradatim run`."""

    cluster: Cluster
    endpoint: str | None
    grpc_endpoint: str | None
    local: Path | None

    def open(self, name: str) -> IndexSearch:
        """Open the index for questions."""
        from gradatim.client.search import open_local_search, open_search

        if self.local is not None:
            return open_local_search(self.local, name, namespace=self.cluster.namespace, state=self.cluster.state)
        from gradatim.api.ragindex import RAGIndex

        with self.cluster.client() as client:
            found = client.get(RAGIndex, name)
        return open_search(found, endpoint=self.endpoint, grpc_endpoint=self.grpc_endpoint, state=self.cluster.state)


def local_option(function: F) -> F:
    """Add `--local`, the state folder of a run without a cluster."""
    return click.option(
        "--local",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="An index that `gradatim run` made in this state folder.",
    )(function)


def place_options(function: F) -> F:
    """Add the options that say where the index is; the command gets them as `place`."""

    @click.option("--endpoint", metavar="URL", help="Weaviate, if the address in the index's status is not reachable.")
    @click.option("--grpc-endpoint", metavar="URL", help="Its gRPC address. Default: port 50051 of the same host.")
    @local_option
    @cluster_options
    @functools.wraps(function)
    def wrapped(
        *, cluster: Cluster, endpoint: str | None, grpc_endpoint: str | None, local: Path | None, **kwargs: object
    ) -> object:
        return function(place=Place(cluster, endpoint, grpc_endpoint, local), **kwargs)

    return wrapped  # type: ignore[return-value]


@index.command()
@name_argument
@click.argument("questions", metavar="QUESTION...", nargs=-1, required=True)
@click.option(
    "-k", "--top", type=click.IntRange(1, 200), metavar="N", help="Passages to return. Default: the index's own."
)
@click.option("--filter", "filters", multiple=True, metavar="FIELD=VALUE",
              help="Only passages whose metadata match; also FIELD>=VALUE, FIELD<=VALUE. May be repeated.")  # fmt: skip
@click.option("--tenant", metavar="NAME", help="Tenant, for an index with tenancy.")
@click.option("--explain", is_flag=True, help="Show the scores of every stage and where the time went.")
@output_option()
@place_options
def query(  # noqa: PLR0913 - one parameter per option
    *,
    place: Place,
    name: str,
    questions: tuple[str, ...],
    top: int | None,
    filters: tuple[str, ...],
    tenant: str | None,
    explain: bool,
    output: str,
) -> None:
    """Ask an index and print the passages it finds, with where they stand. Needs the extra `index`.

    Several questions are asked in turn; the model is loaded once. As JSON or YAML their answers are one list.
    """
    from gradatim.client.filters import parse_filters

    conditions = parse_filters(filters)
    answers = []
    with place.open(name) as search:
        for question in questions:
            answer = search.query(question, top, filters=conditions, tenant=tenant, explain=explain)
            answers.append(answer.as_json())
            if output != "table":
                continue
            if len(questions) > 1:
                click.secho(f"\n{question}", bold=True)
            _print_answer(answer, conditions, explain=explain)
    show(answers if len(questions) > 1 else answers[0], output)


def _print_answer(answer: SearchAnswer, filters: Sequence[Condition], *, explain: bool) -> None:
    for number, passage in enumerate(answer.passages, start=1):
        _print_passage(number, passage)
    if not answer.passages:
        from gradatim.cli.passages import none_found

        for line in none_found(filters):
            say(line)
    if explain:
        click.echo(f"version {answer.version}, collection {answer.collection}")
        click.echo("time: " + ", ".join(f"{k} {v:.1f} ms" for k, v in answer.timings.items()))


def _print_passage(number: int, passage: Passage) -> None:
    from gradatim.cli.passages import WIDTH, body, heading

    click.secho(heading(number, passage), bold=True)
    for line in body(passage, min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)):
        click.echo(line)


@index.command()
@name_argument
@click.option("--questions", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="JSON lines with question and gold passages, as in spec.evaluation.questions.")  # fmt: skip
@click.option("-k", "cutoffs", type=click.IntRange(1, 100), multiple=True, default=(1, 5, 10), show_default=True,
              help="Cut-offs of the metrics; may be repeated.")  # fmt: skip
@output_option()
@place_options
def evaluate(
    *,
    place: Place,
    name: str,
    questions: Path,
    cutoffs: tuple[int, ...],
    output: str,
) -> None:
    """Measure an index on your own questions: precision, recall, nDCG, MRR with intervals. Needs the extra `index`."""
    from gradatim.cli.progress import progress_line

    with place.open(name) as search, progress_line(f"evaluate {name}") as line:
        metrics = search.evaluate(
            questions, cutoffs, lambda done, total: line(f"{done} of {total}", 100 * done // total)
        )
    if show([m.to_manifest() for m in metrics], output):
        return
    rows = [
        [
            m.name,
            f"{m.value:.4f}",
            "" if m.low is None or m.high is None else f"{m.low:.4f} to {m.high:.4f}",
            str(m.samples),
        ]
        for m in metrics
    ]
    table(["Metric", "Value", "Interval", "Samples"], rows)


@index.command()
@name_argument
@output_option()
@local_option
@cluster_options
def versions(*, cluster: Cluster, name: str, local: Path | None, output: str) -> None:
    """List the versions of an index, newest first; the one that serves is marked with *."""
    from gradatim.api.ragindex import RAGIndex
    from gradatim.client.display import age
    from gradatim.client.versions import index_versions

    if local is not None:
        from gradatim.client.search import read_local_index

        found = read_local_index(local, name, namespace=cluster.namespace)
    else:
        with cluster.client() as client:
            found = client.get(RAGIndex, name)
    known = index_versions(found)
    if show([v.to_manifest() for v in known], output):
        return
    active = found.status.active.digest if found.status and found.status.active else None
    pin = found.spec.versions.pin.digest if found.spec.versions.pin else None
    now = datetime.now(UTC)
    rows = [
        [
            ("* " if v.digest == active else "  ") + v.label + (" (pinned)" if v.digest == pin else ""),
            v.digest.removeprefix("sha256:")[:10],
            str(v.documents),
            str(v.chunks),
            "passed" if v.passed else "refused",
            "dropped" if v.collection_dropped else "dropping" if v.dropping else "there",
            age(v.created or "", now),
        ]
        for v in known
    ]
    table(
        ["  Version", "Digest", "Documents", "Chunks", "Gates", "Collection", "Age"],
        rows,
        empty=f"{name} has no version yet",
    )


@index.command()
@name_argument
@click.argument("version", metavar="LABEL|DIGEST", required=False)
@click.option("--unpin", is_flag=True, help="Serve the newest good version again.")
@output_option()
@cluster_options
def rollback(*, cluster: Cluster, name: str, version: str | None, unpin: bool, output: str) -> None:
    """Pin an index to one of its versions: queries switch to it, nothing is rebuilt."""
    if unpin == (version is not None):
        raise click.UsageError("give either a version or --unpin")
    with cluster.client() as client:
        found = client.rollback(name, version) if version is not None else client.unpin(name)
    if not show(found.to_manifest(), output):
        pin = found.spec.versions.pin
        click.echo(f"ragindex/{name} pinned to {pin.digest}" if pin else f"ragindex/{name} unpinned")
