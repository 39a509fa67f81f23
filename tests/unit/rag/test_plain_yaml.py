"""YAML of strangers: aliases up to a bound, and one error for whatever else cannot be taken."""

from __future__ import annotations

import pytest

from gradatim.rag import plainyaml
from gradatim.rag.plainyaml import YamlError, load

REPEATED = {
    "a scalar": ("a: &a xx\nb: [*a, *a]", 6, {"a": "xx", "b": ["xx", "xx"]}),
    "a list": ("a: &a [x, y]\nb: *a", 5, {"a": ["x", "y"], "b": ["x", "y"]}),
    "an alias in an alias": ("a: &a x\nb: &b [*a, *a]\nc: *b", 9, {"a": "x", "b": ["x", "x"], "c": ["x", "x"]}),
    "a merged mapping": ("a: &a {k: v}\nb: {<<: *a, l: w}", 5, {"a": {"k": "v"}, "b": {"k": "v", "l": "w"}}),
    "nothing": ("a: [x, y]", 0, {"a": ["x", "y"]}),
}


@pytest.mark.parametrize(("text", "size", "value"), REPEATED.values(), ids=REPEATED.keys())
def test_aliases_count_as_if_they_were_written_out(
    monkeypatch: pytest.MonkeyPatch, text: str, size: int, value: object
) -> None:
    monkeypatch.setattr(plainyaml, "MAX_REPEATED_CHARS", size)
    assert load(text) == value
    monkeypatch.setattr(plainyaml, "MAX_REPEATED_CHARS", size - 1)
    if size:
        with pytest.raises(YamlError, match=f"repeats more than {size - 1} characters by aliases"):
            load(text)


def test_what_is_written_itself_has_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plainyaml, "MAX_REPEATED_CHARS", 0)
    assert load("[" + "x, " * 1000 + "]") == ["x"] * 1000


REFUSED = {
    "no YAML": ("a: [1\nb: 2", "is not valid YAML", 2),
    "two documents": ("a\n---\nb", "is not valid YAML", 2),
    "an alias of nothing": ("a: *b", "is not valid YAML", 1),
    "a character that YAML does not allow": ("a: \x07", "is not valid YAML", None),
    "a value within itself": ("a:\n- &a [*a]", "repeats a value within itself", 2),
    "a mapping that merges itself": ("a: &a\n  <<: *a", "repeats a value within itself", 2),
    "a date that is none": ("2024-02-31", "cannot be read: day is out of range", None),
    "an empty number": ('!!int ""', "does not fit its tag", None),
    "a truth of three values": ("!!bool maybe", "does not fit its tag", None),
    "a time that is none": ("!!timestamp soon", "does not fit its tag", None),
    "deep nesting": ("[" * 700, "cannot be read: maximum recursion depth", None),
    "an object": ("!!python/object/apply:os.getcwd []", "is not valid YAML", 1),
}


@pytest.mark.parametrize(("text", "message", "line"), REFUSED.values(), ids=REFUSED.keys())
def test_refusals(text: str, message: str, line: int | None) -> None:
    with pytest.raises(YamlError, match=message) as caught:
        load(text)
    assert caught.value.line == line
