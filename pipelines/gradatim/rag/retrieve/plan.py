"""What one query will do: the index's default retrieval with the caller's overrides, checked.

The retriever makes a plan per query before it touches the store. Pure. An override that does not exist or is out of range is an error.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from gradatim.api.ragindex import Retrieval
from gradatim.rag.model import RagError


class QueryError(RagError):
    """A question or an option of a query cannot be used."""


MAX_QUESTION_CHARS = 32_768


def plan_query(defaults: Retrieval, top_k: int | None, overrides: Mapping[str, object]) -> Retrieval:
    """Return the retrieval to run. `overrides` are fields of Retrieval by Python or manifest name; None switches a stage off.

    `top_k` above the candidates raises the candidates. Raises QueryError naming the option.
    """
    known = {name: name for name in Retrieval.model_fields} | {
        field.alias: name for name, field in Retrieval.model_fields.items() if field.alias
    }
    values = defaults.model_dump(by_alias=False)
    for name, value in overrides.items():
        if name not in known:
            raise QueryError(f"unknown option {name!r}; known are {', '.join(sorted(Retrieval.model_fields))}")
        values[known[name]] = value
    if top_k is not None:
        values["top_k"] = top_k
    if isinstance(values["top_k"], int) and "candidates" not in overrides:
        values["candidates"] = max(values["candidates"], values["top_k"])
    try:
        return Retrieval.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "retrieval"
        raise QueryError(f"option {where}: {first['msg']}") from error


def check_question(question: str) -> str:
    """Return the question without outer white space. Raises QueryError for an empty or oversized one."""
    text = question.strip()
    if not text:
        raise QueryError("the question is empty; ask something")
    if len(text) > MAX_QUESTION_CHARS:
        raise QueryError(f"the question has {len(text)} characters, more than {MAX_QUESTION_CHARS}; shorten it")
    return text


def fetch_limit(retrieval: Retrieval, *, parents: bool) -> int:
    """Return how many candidates to ask the store for: all of them only where a later stage chooses among them."""
    chooses = retrieval.rerank is not None or retrieval.diversity is not None or retrieval.recency is not None
    return retrieval.candidates if chooses or parents else retrieval.top_k
