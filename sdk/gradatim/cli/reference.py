"""Writes the reference of the command line (`docs/reference/cli.md`) from the commands themselves.

Called by `make generate` and `make verify`, and by a test. It runs no command and writes nothing but that page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from gradatim.cli.main import cli

_HEAD = """# Command line

Generated from the commands by `gradatim.cli.reference`; do not edit.

Exit codes: 0 done, 1 failed (`error: …` on standard error, and a hint where there is one), 2 wrong usage. Results go to standard output,
progress to standard error. The cluster is that of `--kubeconfig`, else the local platform of `--state`, else that of `$KUBECONFIG`, else the
local platform of `$GRADATIM_STATE` or `~/.local/state/gradatim`, else that of `~/.kube/config`.
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Give every command with its full name, groups before their members."""
    yield from _below("gradatim", cli)


def render() -> str:
    """Return the page."""
    parts = [_HEAD]
    parts += [_entry(path, command) for path, command in commands() if path != "gradatim"]
    return "\n".join(parts)


def _below(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands) if path != "gradatim" else command.commands:
            yield from _below(f"{path} {name}", command.commands[name])


def _entry(path: str, command: click.Command) -> str:
    # The names that `gradatim` hands down: click keeps the help option of the first context that asks, so another here would stay.
    names = cli.context_settings["help_option_names"]
    context = click.Context(command, info_name=path, max_content_width=110, terminal_width=110, help_option_names=names)
    lines = command.get_help(context).splitlines()
    return "\n".join([f"## `{path}`", "", "```text", *(line.rstrip() for line in lines), "```", ""])


def main(arguments: list[str]) -> int:
    """Write the page below the current folder; with `--check` only compare. Returns the exit code."""
    page = Path("docs/reference/cli.md")
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m gradatim.cli.reference [--check]\n")
        return 2
    if not arguments:
        page.write_text(render())
        return 0
    if page.is_file() and page.read_text() == render():
        return 0
    sys.stderr.write(f"error: {page} is not current: run `make generate`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
