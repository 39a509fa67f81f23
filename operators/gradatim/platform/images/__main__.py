"""`python -m gradatim.platform.images build | list | load | archive`: images without a container engine.

Called by `make images` and by hand. Thin: options in, messages out; everything else is in the package.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import click

from gradatim.platform.errors import PlatformError
from gradatim.platform.images import containerd, layout, report
from gradatim.platform.images.build import Options, Workshop, build
from gradatim.platform.images.catalog import BUILDABLE
from gradatim.platform.images.errors import ImageError

_CHECKOUT = Path(__file__).parents[4]
_OUT = click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder with one OCI layout per image."
)
_NAMES = click.argument("names", nargs=-1, required=True, type=click.Choice(sorted(BUILDABLE)))


def _told(command: Callable[..., None]) -> Callable[..., None]:
    """Show errors as they are, without a traceback."""

    @wraps(command)
    def run(**values: object) -> None:
        try:
            command(**values)
        except PlatformError as error:
            raise click.ClickException(str(error)) from error

    return run


@click.group(name="python -m gradatim.platform.images")
def main() -> None:
    """Build container images of Gradatim without a container engine."""


@main.command(name="build")
@_NAMES
@_OUT
@click.option("--cpu-only", is_flag=True, help="Leave out what torch does without on machines that have no GPU.")
@click.option("--with-demo-model", is_flag=True, help="Add the small embedding model of the examples.")
@click.option("--tag", default="", help="Tag; default: the version of the project.")
@click.option("--source", type=click.Path(path_type=Path), default=_CHECKOUT, help="Checkout to build.")
@_told
def build_command(
    *, names: tuple[str, ...], out: Path, cpu_only: bool, with_demo_model: bool, tag: str, source: Path
) -> None:
    """Build images and print their names and digests."""
    shop = Workshop.at(source.absolute(), os.environ, lambda message: click.echo(message, err=True))
    for name in names:
        # The options are about torch and models: only the index has them.
        options = Options(cpu_only, with_demo_model, tag) if name == "index" else Options(tag=tag)
        built = build(BUILDABLE[name], options, out / name, shop)
        click.echo(f"{built.reference}@{built.digest}")


@main.command(name="list")
@_OUT
@click.option("--top", default=10, help="How many of the largest packages to show.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@_told
def list_command(*, out: Path, top: int, as_json: bool) -> None:
    """Print what the built images hold: layers and packages by size."""
    images = [layout.read(out / name) for name in sorted(BUILDABLE) if (out / name).is_dir()]
    if not images:
        raise ImageError(f"{out} holds no image: build one first")
    click.echo(json.dumps(report.document(images), indent=1) if as_json else report.text(images, top))


@main.command(name="archive")
@click.argument("name", type=click.Choice(sorted(BUILDABLE)))
@_OUT
@_told
def archive_command(name: str, out: Path) -> None:
    """Write an image to standard output, as one archive for containerd, podman, skopeo or Docker."""
    if sys.stdout.isatty():
        raise click.UsageError("an archive is not for a terminal: redirect it to a file or a program")
    layout.stream(layout.read(out / name), sys.stdout.buffer)


@main.command(name="load")
@_NAMES
@_OUT
@click.option("--address", required=True, help="Socket of containerd.")
@click.option(
    "--namespace", default="k8s.io", show_default=True, help="Namespace of containerd; the kubelet's by default."
)
@_told
def load_command(names: tuple[str, ...], out: Path, address: str, namespace: str) -> None:
    """Import images into a running containerd; images that are there already are left alone."""
    for name in names:
        done = containerd.load(out / name, ["ctr", "-a", address, "-n", namespace])
        click.echo(f"{name}: {'imported' if done else 'was there already'}")


if __name__ == "__main__":
    main()
