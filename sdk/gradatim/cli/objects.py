"""`gradatim apply | get | describe | delete`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradatim.cli.options import (
    Cluster,
    KindType,
    NameArgument,
    cluster_options,
    kind_argument,
    name_argument,
    output_option,
)
from gradatim.cli.output import report, say, show, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gradatim.api.kinds import Kind
    from gradatim.client.manifests import Manifest
    from gradatim.client.watchevent import WatchEvent


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
@click.option("--force", is_flag=True, help="Take over fields that others own.")
@click.option("--dry-run", type=click.Choice(["none", "server"]), default="none", show_default=True, help="Check only.")
@output_option()
@cluster_options
def apply(*, cluster: Cluster, filenames: tuple[str, ...], force: bool, dry_run: str, output: str) -> None:
    """Create or change objects, server-side.

    Objects that others refer to go first, from whichever file. One that is refused does not keep the rest from being applied, nor does
    a -f that cannot be read as manifests; the exit code is 1 then. With a path that does not exist nothing is applied.
    """
    from gradatim.client.operations import WriteOptions

    manifests, failed = _read_all(filenames, "applied")
    if not manifests:
        raise click.exceptions.Exit(1)
    options = WriteOptions(force=force, dry_run=dry_run == "server")
    bodies: list[dict[str, Any]] = []

    def one(manifest: Manifest) -> None:
        applied = client.apply_manifest(manifest, namespace=cluster.namespace, options=options)
        bodies.append(dict(applied.body))
        if output == "table":
            click.echo(str(applied))

    with cluster.client() as client:
        failed |= not _each(manifests, one)
    show(bodies, output)
    if failed:
        raise click.exceptions.Exit(1)


def _each(manifests: Iterable[Manifest], act: Callable[[Manifest], None]) -> bool:
    """Do something with every manifest, report what is refused, and return whether nothing was. Without a server the first one ends it."""
    from gradatim.client.errors import GradatimError, NotConfiguredError, UnreachableError

    good = True
    for manifest in manifests:
        try:
            act(manifest)
        except (NotConfiguredError, UnreachableError):
            raise
        except GradatimError as error:
            if manifest.origin:
                say(f"{manifest.origin}:")
            report(error)
            good = False
    return good


def _read_all(filenames: Sequence[str], done: str) -> tuple[list[Manifest], bool]:
    """Return the manifests of all files, and whether one was reported as none. Raises `ManifestError` for a path that is not there.

    They come in the order of `apply`; `done` is what happens to none of them then.
    """
    from gradatim.client.errors import ManifestError
    from gradatim.client.manifests import in_order, read_manifests

    for filename in filenames:
        if filename != "-" and not Path(filename).expanduser().exists():
            raise ManifestError(f"{filename} cannot be read: it does not exist", hint=f"nothing was {done}")
    found: list[Manifest] = []
    failed = False
    for filename in dict.fromkeys(filenames):  # standard input can be read once
        try:
            found += read_manifests(filename)
        except ManifestError as error:
            report(error)
            failed = True
    return in_order(found), failed


@click.command()
@kind_argument
@click.argument("name", required=False, cls=NameArgument)
@click.option("-A", "--all-namespaces", is_flag=True, help="List the objects of all namespaces.")
@click.option("-l", "--selector", metavar="LABELS", help="Label selector, e.g. team=hr,stage!=test.")
@click.option("-w", "--watch", is_flag=True, help="Go on and print changes.")
@output_option(wide=True)
@cluster_options
def get(
    *,
    cluster: Cluster,
    kind: Kind,
    name: str | None,
    all_namespaces: bool,
    selector: str | None,
    watch: bool,
    output: str,
) -> None:
    """Show one object or all of a kind."""
    if name and (all_namespaces or selector):
        raise click.UsageError("NAME goes with neither --all-namespaces nor --selector")
    with cluster.client() as client:
        if watch:
            everywhere = all_namespaces and kind.namespaced
            events = client.watch(
                kind.name, name, namespace=cluster.namespace, labels=selector, all_namespaces=all_namespaces
            )
            _print_changes(kind, events, output, namespaced=everywhere)
            return
        if name:
            _print_one(kind, client.get(kind.name, name).to_manifest(), output)
            return
        found = client.list(kind.name, labels=selector, all_namespaces=all_namespaces)
    bodies = [m.to_manifest() for m in found]
    if not show({"apiVersion": "v1", "kind": "List", "items": bodies}, output):
        where = "" if all_namespaces or not kind.namespaced else f" in namespace {client.namespace}"
        _print_table(kind, bodies, output, namespaced=all_namespaces, empty=f"no {kind.plural}{where}")


def _print_changes(kind: Kind, events: Iterable[WatchEvent[Any]], output: str, *, namespaced: bool) -> None:
    """Print every change as a row below one heading; columns widen when a cell needs it."""
    from gradatim.client.display import cells_of, columns_of

    wide, widths = output == "wide", [0]
    for event in events:
        body = event.object.to_manifest()
        if show(body, output):
            continue
        rows = [[event.type, *cells_of(kind, body, now=datetime.now(UTC), wide=wide, namespaced=namespaced)]]
        if widths == [0]:
            rows.insert(0, ["Change", *columns_of(kind, wide=wide, namespaced=namespaced)])
            widths *= len(rows[0])
        widths = [max(width, *(len(row[n]) for row in rows)) for n, width in enumerate(widths)]
        for row in rows:
            click.echo("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip())


def _print_one(kind: Kind, body: dict[str, Any], output: str) -> None:
    if show(body, output):
        return
    from gradatim.client.display import plain_table, why

    _print_table(kind, [body], output, namespaced=False, empty=plain_table([], []))
    if reason := why(body):
        say(reason)


def _print_table(kind: Kind, bodies: list[dict[str, Any]], output: str, *, namespaced: bool, empty: str) -> None:
    from gradatim.client.display import cells_of, columns_of

    namespaced, wide, now = namespaced and kind.namespaced, output == "wide", datetime.now(UTC)
    rows = [cells_of(kind, body, now=now, wide=wide, namespaced=namespaced) for body in bodies]
    table(columns_of(kind, wide=wide, namespaced=namespaced), rows, empty=empty)


@click.command()
@kind_argument
@name_argument
@output_option()
@cluster_options
def describe(*, cluster: Cluster, kind: Kind, name: str, output: str) -> None:
    """Show everything about one object: conditions, run, versions, metrics, rejections, events."""
    from dataclasses import asdict

    from gradatim.cli.describing import describe_body

    with cluster.client() as client:
        body = client.get(kind.name, name).to_manifest()
        events = [asdict(e) for e in client.events(kind.name, name)]
    if not show(body | {"events": events}, output):
        describe_body(body, events)


@click.command()
@click.argument("kind", type=KindType(), required=False)
@click.argument("names", metavar="[NAME...]", nargs=-1, cls=NameArgument)
@click.option(
    "-f",
    "--filename",
    "filenames",
    multiple=True,
    metavar="FILE|DIR|-",
    help="The objects of these manifests: a file, a folder, or - for standard input. May be repeated.",
)
@click.option("--ignore-not-found", is_flag=True, help="An object that is not there is no error.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until the objects are gone.")
@output_option()
@cluster_options
def delete(
    *,
    cluster: Cluster,
    kind: Kind | None,
    names: tuple[str, ...],
    filenames: tuple[str, ...],
    ignore_not_found: bool,
    wait: bool,
    output: str,
) -> None:
    """Delete objects, by KIND NAME... or -f; what they made (runs, collections, aliases) is cleaned up.

    The objects of manifests are deleted in the reverse order of `apply`; with --wait each once the one before is gone. One that is not
    there or is refused does not keep the rest from being deleted, nor does a -f that cannot be read as manifests; the exit code is 1 then.
    With a path that does not exist nothing is deleted.
    """
    from gradatim.client.errors import NotFoundError

    if (kind is None) != bool(filenames):
        raise click.UsageError("give either KIND NAME... or manifests with -f")
    manifests, failed = _read_all(filenames, "deleted") if kind is None else (_named(kind, names), False)
    if not manifests:
        raise click.exceptions.Exit(1)
    deleted: list[dict[str, Any]] = []

    def one(manifest: Manifest) -> None:
        try:
            client.delete_manifest(manifest, namespace=cluster.namespace, wait=wait)
        except NotFoundError:
            if not ignore_not_found:
                raise
            return
        deleted.append({"kind": manifest.kind, "name": manifest.name, "deleted": True})
        if output == "table":
            click.echo(f"{manifest.kind.lower()}/{manifest.name} deleted")

    with cluster.client() as client:
        failed |= not _each(reversed(manifests) if kind is None else manifests, one)
    show(deleted, output)
    if failed:
        raise click.exceptions.Exit(1)


def _named(kind: Kind, names: Sequence[str]) -> list[Manifest]:
    """Return what manifests say of which objects they are. They have no origin to be told beside the name."""
    from gradatim.api.meta import API_VERSION
    from gradatim.client.manifests import Manifest

    if not names:
        raise click.UsageError("Missing argument 'NAME...'.")
    return [Manifest({"apiVersion": API_VERSION, "kind": kind.name, "metadata": {"name": n}}, "") for n in names]
