"""`gradatim crds | version | completion`: what needs no cluster."""

from __future__ import annotations

import click

from gradatim.cli.options import Cluster, cluster_options, output_option
from gradatim.cli.output import show

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.option("-o", "--output", type=click.Choice(["yaml", "json"]), default="yaml", show_default=True, help="Format.")
def crds(output: str) -> None:
    """Print the CustomResourceDefinitions, for `kubectl apply -f -`."""
    from gradatim.api.crd import all_crds

    if output == "json":
        show({"apiVersion": "v1", "kind": "List", "items": all_crds()}, output)
        return
    import yaml

    fast = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # not every platform has the compiled one
    click.echo(yaml.dump_all(all_crds(), Dumper=fast, sort_keys=False, explicit_start=True).rstrip())


@click.command()
@click.option("--client", "client_only", is_flag=True, help="Ask no cluster.")
@output_option()
@cluster_options
def version(*, cluster: Cluster, client_only: bool, output: str) -> None:
    """Print the version of this release, and of the cluster if there is one."""
    from gradatim.api.meta import GROUP, VERSION
    from gradatim.client.errors import NotConfiguredError
    from gradatim.client.release import release

    found = {"client": release(), "api": f"{GROUP}/{VERSION}"}
    if not client_only:
        try:
            with cluster.client() as client:
                found["kubernetes"] = client.server_version()
                found["server"] = client.server
        except NotConfiguredError:
            if cluster.kubeconfig or cluster.context or cluster.state:
                raise
    if not show(found, output):
        for key, value in found.items():
            click.echo(f"{key}: {value}")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """Print a completion script for a shell.

    For instance `source <(gradatim completion bash)` in the shell's start file.
    """
    from click.shell_completion import get_completion_class

    from gradatim.cli.main import cli

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(found(cli, {}, "gradatim", "_GRADATIM_COMPLETE").source())
