"""`gradatim node` and the `--node` side of `up`, `down` and `status`: a real single-node cluster, thin over `gradatim.platform.node`.

Its network is a namespace of its own: `gradatim node exec` runs a program in there. Linux and root only; the platform says so itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from gradatim.cli.options import state_option
from gradatim.cli.output import say, show

F = TypeVar("F", bound=Callable[..., Any])
# Kueue is installed in a pod and Helm is only a program; the others are parts of the cluster.
_ADDONS = ("kueue", "helm", "operator", "weaviate", "minio")


def node_option(function: F) -> F:
    """Add `--node`."""
    return click.option("--node", is_flag=True, help="The single-node Kubernetes cluster (Linux, root).")(function)


def with_option(function: F) -> F:
    """Add `--with`."""
    option = click.option(
        "--with", "addons", type=click.Choice(_ADDONS), multiple=True,
        help="With --node: run this in the cluster too; may be repeated.",
    )  # fmt: skip
    return option(function)


def pod_memory_option(function: F) -> F:
    """Add `--pod-memory`."""
    option = click.option(
        "--pod-memory", type=click.IntRange(min=1), metavar="GIB",
        help="With --node: memory for all pods together. Default: the machine's.",
    )  # fmt: skip
    return option(function)


@contextmanager
def _cluster() -> Iterator[Any]:
    """Give the module of the node cluster; its errors become the client's."""
    from gradatim.client.errors import GradatimError, MissingExtraError

    try:
        from gradatim.platform import PlatformError, node
    except ImportError as error:
        raise MissingExtraError("operator,local", "the node cluster") from error
    try:
        yield node
    except PlatformError as error:
        raise GradatimError(str(error)) from error


def _folder(module: Any, state: Path | None) -> Path:
    folder: Path = state or module.default_node_state_dir(os.environ)
    return folder


def node_up(state: Path | None, addons: tuple[str, ...], *, kuberay: bool, pod_memory: int | None, output: str) -> None:
    """Start the cluster."""
    from gradatim.cli.progress import progress_line

    with _cluster() as module, progress_line("up") as line:
        parts = frozenset(module.Part(name) for name in addons if name not in {"kueue", "helm"})
        if kuberay:
            parts |= {module.Part.KUBERAY}
        more = {name: name in addons for name in ("kueue", "helm")} | {"pod_memory": (pod_memory or 0) << 30}
        options = module.NodeOptions(_folder(module, state), addons=parts, **more)
        found = module.up(options, lambda component, message: line(f"{component}: {message}"))
    result = {"kubeconfig": str(found.kubeconfig), "apiServer": found.api_server, "network": str(found.network)}
    if not show(result | {"state": str(found.state_dir)}, output):
        say("the node cluster is up; it answers in its own network only:")
        click.echo("gradatim node exec -- kubectl get nodes")


def node_down(state: Path | None, *, output: str) -> None:
    """End the cluster."""
    from gradatim.cli.progress import progress_line

    with _cluster() as module, progress_line("down") as line:
        folder = _folder(module, state)
        module.down(folder, lambda component, message: line(f"{component}: {message}"))
    if not show({"state": str(folder), "stopped": True, "purged": True}, output):
        say("the node cluster is down, nothing of it is left")


def node_status(state: Path | None) -> Any:
    """Return the parts of the cluster as found now."""
    with _cluster() as module:
        return module.status(_folder(module, state))


@click.group()
def node() -> None:
    """Work with the single-node cluster that `gradatim up --node` starts."""


@node.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--inside", is_flag=True, help="Also with the mounts, processes and resolver of the cluster, such as for ctr."
)
@state_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(*, state: Path | None, inside: bool, command: tuple[str, ...]) -> None:
    """Run COMMAND in the cluster's network, with its kubeconfig and its kubectl. Give it after `--`.

    The command runs as root on this machine: it is no sandbox.
    """
    with _cluster() as module:
        cluster = module.load(_folder(module, state))
    prefix = cluster.inside_prefix if inside else cluster.command_prefix
    sys.stdout.flush()
    os.execvpe(prefix[0], [*prefix, *command], cluster.env)  # noqa: S606 - the user's own words, no shell


@node.command(name="install-prerequisites")
def install_prerequisites() -> None:
    """Install what the cluster needs from the operating system, with apt-get (Debian, Ubuntu; root)."""
    with _cluster() as module:
        installed = module.install_prerequisites(say)
    say(f"installed: {', '.join(installed)}" if installed else "nothing to install")
