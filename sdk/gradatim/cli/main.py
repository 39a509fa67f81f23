"""Entry point of the `gradatim` command: the tree of commands, and errors turned into exit codes.

Exit codes: 0 done, 1 failed (one line `error: …` on standard error, and a hint where there is one), 2 wrong usage.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import Any

import click

from gradatim.cli.about import completion, crds, version
from gradatim.cli.index import index
from gradatim.cli.local import run
from gradatim.cli.node import node
from gradatim.cli.objects import apply, delete, describe, get
from gradatim.cli.output import report, unusable
from gradatim.cli.platform import down, status, up
from gradatim.cli.runs import events, logs, metrics, rerun, resume, suspend, wait

_SECTIONS: tuple[tuple[str, tuple[click.Command, ...]], ...] = (
    ("Local platform", (up, down, status, node)),
    ("Objects", (apply, get, describe, delete)),
    ("Runs", (wait, rerun, suspend, resume, logs, events, metrics, run)),
    ("Indexes", (index,)),
    ("About", (crds, version, completion)),
)


class _Tree(click.Group):
    """Commands by section, in the order of the table; errors of ours end with code 1."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section."""
        del ctx
        for title, commands in _SECTIONS:
            with formatter.section(title):
                formatter.write_dl([(c.name or "", c.get_short_help_str(80)) for c in commands])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of the client, or a file that cannot be used, becomes a message and exit code 1."""
        from gradatim.client.errors import GradatimError

        try:
            return super().invoke(ctx)
        except GradatimError as error:
            report(error)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # who read our output has gone: click ends without a word
            report(unusable(error))
        raise click.exceptions.Exit(1)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    del param
    if value and not ctx.resilient_parsing:
        from gradatim.client.release import release

        click.echo(f"gradatim {release()}")
        ctx.exit()


@click.group(cls=_Tree, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print this release and exit."
)
def cli() -> None:
    """Adapt large language models on Kubernetes, one measured step at a time.

    Where a command takes KIND NAME, it takes KIND/NAME too.
    """


for _title, _commands in _SECTIONS:
    for _command in _commands:
        cli.add_command(_command)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    cli.main(args=None if argv is None else list(argv), prog_name="gradatim")


if __name__ == "__main__":
    main(sys.argv[1:])
