"""YAML that strangers wrote: the front matter of documents and the cards of data sets.

Used by the Markdown parser and the huggingFace source. PyYAML copies an aliased mapping wherever it is merged, so that some hundred bytes
stand for more pairs than memory holds, and a value that contradicts its tag leaves it as any error at all. Here either is one error. It
must build plain values only, never objects.
"""

from __future__ import annotations

from typing import Any

import yaml

from gradatim.rag.model import RagError

# Cards repeat the columns of one configuration in hundreds of others; what is beyond this was written to do harm.
MAX_REPEATED_CHARS = 1 << 22


class YamlError(RagError):
    """A text that is not taken as YAML. `line` counts from 1 and is None where it is not known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def load(text: str) -> object:
    """Value of a text of one YAML document; raises YamlError."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader with a bound
    except yaml.YAMLError as error:
        raise YamlError("is not valid YAML", _line(getattr(error, "problem_mark", None))) from error
    except (RecursionError, ValueError, OverflowError) as error:  # deep nesting, or a date such as 2024-02-31
        raise YamlError(f"cannot be read: {error}") from error
    except (LookupError, AttributeError, TypeError) as error:
        raise YamlError("cannot be read: a value does not fit its tag") from error


class _Loader(yaml.SafeLoader):
    """Knows how long the text would be if its aliases were written out: one character for each value, and those of scalars."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._written = 0
        self._repeated = 0
        self._sizes: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        alias = self.check_event(yaml.AliasEvent)
        event: Any = self.current_event
        before = self._written
        node = super().compose_node(parent, index)
        if alias:
            self._repeat(event)
            return node
        self._written += 1 + len(getattr(event, "value", ""))
        if event.anchor is not None:
            self._sizes[event.anchor] = self._written - before
        return node

    def _repeat(self, alias: Any) -> None:
        size = self._sizes.get(alias.anchor)
        if size is None:
            raise YamlError("repeats a value within itself", _line(alias.start_mark))
        self._written += size
        self._repeated += size
        if self._repeated > MAX_REPEATED_CHARS:
            raise YamlError(f"repeats more than {MAX_REPEATED_CHARS} characters by aliases", _line(alias.start_mark))


def _line(mark: yaml.Mark | None) -> int | None:
    return None if mark is None else mark.line + 1
