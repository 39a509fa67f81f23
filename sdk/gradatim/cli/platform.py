"""`gradatim up | down | status`: the local platform, thin over `gradatim.platform`.

After `up` it leaves `client.json` in the state folder, which says where clients find the platform's kubeconfig, tokens and addresses (paths,
never secrets).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradatim.cli.node import node_down, node_option, node_status, node_up, pod_memory_option, with_option
from gradatim.cli.options import output_option, state_option
from gradatim.cli.output import say, show, table

if TYPE_CHECKING:
    from gradatim.platform import PlatformState


@contextmanager
def _platform() -> Iterator[Any]:
    """Give the platform module; its errors become the client's."""
    from gradatim.client.errors import GradatimError, MissingExtraError

    try:
        from gradatim import platform
    except ImportError as error:
        raise MissingExtraError("operator,index,local", "the local platform") from error
    try:
        yield platform
    except platform.PlatformError as error:
        raise GradatimError(str(error)) from error


def _folder(state: Path | None) -> Path:
    from gradatim.client.statedir import default_state

    return state or default_state()


@click.command()
@click.option("--allow-source", type=click.Path(exists=True, file_okay=False, path_type=Path), multiple=True, metavar="DIR",
              help="A folder that `path` sources may name, besides the current one; may be repeated.")  # fmt: skip
@click.option("--cpus", type=click.IntRange(min=1), metavar="N", help="CPUs that Ray schedules on. Default: all.")
@node_option
@with_option
@click.option(
    "--no-kuberay", is_flag=True, help="With --node: leave out KubeRay, for instance to install it with Helm."
)
@pod_memory_option
@state_option
@output_option()
def up(  # noqa: PLR0913 - one parameter per option
    *, state: Path | None, allow_source: tuple[Path, ...], cpus: int | None, node: bool, addons: tuple[str, ...],
    no_kuberay: bool, pod_memory: int | None, output: str,
) -> None:  # fmt: skip
    """Start the local platform, all of it plain processes.

    etcd, API server and controller manager, Weaviate, Ray, the operator.

    With --node a real single-node Kubernetes cluster instead: kubelet, containerd and pods (Linux, root).
    May be repeated: what runs is left alone. The first start compiles what is not cached, which takes minutes.
    """
    from gradatim.cli.progress import progress_line

    if node:
        if allow_source or cpus:
            raise click.UsageError("--allow-source and --cpus are settings of the platform without --node")
        node_up(state, addons, kuberay=not no_kuberay, pod_memory=pod_memory, output=output)
        return
    if addons or no_kuberay:
        raise click.UsageError("--with and --no-kuberay need --node")
    if pod_memory:
        raise click.UsageError("--pod-memory needs --node")
    folder = _folder(state)
    with _platform() as platform, progress_line("up") as line:
        options = platform.UpOptions(folder, allow_sources=allow_source, ray_cpus=cpus)
        found = platform.up(options, lambda component, message: line(f"{component}: {message}"))
        write_client_file(found)
    result = {"kubeconfig": str(found.kubeconfig), "apiServer": found.api_server, "weaviate": found.weaviate}
    result |= {"ray": found.ray_dashboard, "state": str(found.state_dir)}
    if not show(result, output):
        if found.state_dir == _folder(None) and not os.environ.get("KUBECONFIG"):
            say("the local platform is up; `gradatim` finds it by itself, kubectl with:")
        else:
            say("the local platform is up; `gradatim` and kubectl find it with:")
            click.echo(f"export GRADATIM_STATE={found.state_dir}")
        click.echo(f"export KUBECONFIG={found.kubeconfig}")
        say(f"`path` sources may lie in: {', '.join(found.source_roots)} (more with --allow-source)")


def write_client_file(state: PlatformState) -> None:
    """Leave the file by which clients find a platform."""
    from gradatim.platform.dirs import Layout

    folder = state.state_dir
    content = {
        "kubeconfig": str(state.kubeconfig),
        "ray_token_file": str(state.ray_token),
        "ray": state.ray_dashboard,
        "weaviate_api_key_file": str(folder / "secrets" / "weaviate-workload" / "api-key"),
        "weaviate": state.weaviate,
        "weaviate_grpc": state.weaviate_grpc,
    }
    final, new = Layout(folder).client_files
    new.write_text(json.dumps(content, indent=1))
    new.replace(final)


@click.command()
@click.option("--purge", is_flag=True, help="Delete the state too: objects, indexes, artifacts.")
@node_option
@state_option
@output_option()
def down(*, state: Path | None, purge: bool, node: bool, output: str) -> None:
    """Stop the local platform; every process it started ends. The state stays unless purged.

    With --node the single-node cluster, of which nothing stays.
    """
    from gradatim.cli.progress import progress_line

    if node:
        node_down(state, output=output)
        return
    folder = _folder(state)
    with _platform() as platform, progress_line("down") as line:
        platform.down(folder, purge=purge, progress=lambda component, message: line(f"{component}: {message}"))
    if not show({"state": str(folder), "stopped": True, "purged": purge}, output):
        say("the local platform is down")


@click.command()
@node_option
@state_option
@output_option()
def status(*, state: Path | None, node: bool, output: str) -> None:
    """Show the local platform's components.

    Their state, version and address. Exit code 1 if one is not running.
    """
    if node:
        found = node_status(state)
    else:
        with _platform() as platform:
            found = platform.status(_folder(state))
    rows = [
        {"component": str(c.component), "state": c.state, "version": c.version, "pid": c.pid, "address": c.address}
        | {"memoryMiB": round(c.resident_bytes / 2**20), "detail": c.detail, "log": str(c.log)}
        for c in found
    ]
    if not show(rows, output):
        keys = ("component", "state", "version", "pid", "memoryMiB", "address", "detail")
        table(keys, [["" if r[k] is None else str(r[k]) for k in keys] for r in rows])
        for folder in sorted({str(c.log.parent) for c in found}):
            say(f"logs: {folder}")
    if any(r["state"] != "running" for r in rows):
        if output == "table" and not node:
            say("`gradatim up` starts what does not run")
        raise click.exceptions.Exit(1)
