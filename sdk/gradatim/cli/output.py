"""Prints results for people and for programs, and errors for both.

Used by every command. Results go to standard output, everything else to standard error, so that output can be piped.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from gradatim.client.errors import GradatimError


def say(text: str) -> None:
    """Tell a person something that is not the result."""
    click.echo(text, err=True)


def show(value: object, output: str) -> bool:
    """Print `value` as JSON or YAML if asked for; return whether it was."""
    if output == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
        return True
    if output == "yaml":
        import yaml

        many = isinstance(value, list)
        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, explicit_start=many).rstrip())
        return True
    return False


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str = "nothing found") -> None:
    """Print an aligned table, or to standard error that there is none."""
    from gradatim.client.display import plain_table

    text = plain_table(heads, rows)
    click.echo(text) if text else say(empty)


def section(title: str, pairs: Mapping[str, Any]) -> None:
    """Print a titled block of names and values; empty values are left out."""
    shown = {k: str(v) for k, v in pairs.items() if v not in (None, "", [], {})}
    if not shown:
        return
    click.echo(f"{title}:" if title else "", nl=bool(title))
    width = max(map(len, shown)) + 1
    indent = "  " if title else ""
    for key, value in shown.items():
        first, *rest = value.splitlines() or [""]
        click.echo(f"{indent}{key + ':':<{width}} {first}")
        for line in rest:
            click.echo(f"{indent}{'':<{width}} {line}")


def unusable(error: OSError) -> GradatimError:
    """Return the error of a file or folder that this machine refuses: which one, as far as is known, and why."""
    from gradatim.client.errors import GradatimError

    why = error.strerror or str(error)
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    hint = "free space on that disk, then run the command again" if full else ""
    return GradatimError(f"{error.filename}: {why}" if error.filename else why, hint=hint)


def report(error: GradatimError) -> None:
    """Print an error and what to do about it."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
    if error.hint:
        click.echo(f"{click.style('hint:', fg='cyan')} {error.hint}", err=True)
