"""Every command and option has help, and the reference page is the one that the commands give."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from gradatim.cli.reference import commands, render

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"
ALL = dict(commands())
WANTED = {
    "up", "down", "status", "apply", "get", "describe", "delete", "wait", "rerun", "suspend", "resume", "logs", "events", "metrics",
    "run", "index", "index query", "index evaluate", "index versions", "index rollback", "crds", "version", "completion",
    "node", "node exec", "node install-prerequisites",
}  # fmt: skip
WITHOUT_OUTPUT = {"gradatim", "gradatim index", "gradatim logs", "gradatim completion"} | {
    f"gradatim {path}" for path in ("node", "node exec", "node install-prerequisites")
}


def test_all_commands_of_the_design_are_there() -> None:
    assert {path.removeprefix("gradatim").strip() for path in ALL} - {""} == WANTED


@pytest.mark.parametrize("path", ALL)
def test_a_command_says_what_it_does(path: str) -> None:
    command = ALL[path]
    assert command.help
    assert command.help.strip().split("\n")[0].endswith((".", ":"))
    silent = [o.name for o in command.params if isinstance(o, click.Option) and not o.help]
    assert silent == []


@pytest.mark.parametrize("path", sorted(set(ALL) - WITHOUT_OUTPUT))
def test_a_command_can_be_read_by_programs(path: str) -> None:
    option = next(o for o in ALL[path].params if o.name == "output")
    assert isinstance(option.type, click.Choice)
    assert {"json", "yaml"} <= set(option.type.choices)


def test_the_reference_page_is_current() -> None:
    text = PAGE.read_text()
    assert text == render(), "run `make generate`"
    for path in ALL:
        assert f"`{path}`" in text or path == "gradatim"
