"""Parses what workloads leave in the artifact store. Pure.

Called with bytes by the observe steps. They are untrusted: whoever can run pods in a namespace can write them. So the schema is strict,
numbers are finite, the stamp must match, every output must belong to the object, and nothing passes that the API server would later
refuse in a status. Verdicts are not taken from here; the operator recomputes them.
"""

from __future__ import annotations

import re
from datetime import datetime
from urllib.parse import unquote

from pydantic import ValidationError

from gradatim.api.reasons import Reason
from gradatim.api.run import MAX_DOCUMENT_BYTES, ProgressDocument, RunConfig, RunResult, Stamp
from gradatim.operator.errors import WillNeverWork

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_SHOWN_ERRORS = 3
_MESSAGE_CHARS = 600


class ResultRejected(WillNeverWork):  # the name that conditions use
    """Something in the artifact store cannot be what a workload of this release writes for this attempt."""

    def __init__(self, message: str) -> None:
        """Keep a message without line breaks and control characters, at most 600 characters long."""
        super().__init__(Reason.RESULT_REJECTED, "".join(c for c in message if c.isprintable())[:_MESSAGE_CHARS])


def parse_progress(data: bytes, stamp: Stamp) -> ProgressDocument | None:
    """Return the progress document, or None for one that is not readable or not stamped for this attempt: neither is a sign of life."""
    if len(data) > MAX_DOCUMENT_BYTES:
        return None
    try:
        document = ProgressDocument.model_validate_json(data, strict=True)
    except ValidationError:
        return None
    times = [document.heartbeat, document.progress.updated]
    if document.stamp != stamp or not all(time is None or _is_time(time) for time in times):
        return None
    return document


def parse_result(data: bytes, config: RunConfig) -> RunResult:
    """Return the result of the attempt that `config` describes, its `attempt` included. Raises `ResultRejected`."""
    if len(data) > MAX_DOCUMENT_BYTES:
        raise ResultRejected(f"result.json is larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        result = RunResult.model_validate_json(data, strict=True)
    except ValidationError as error:
        raise ResultRejected(f"result.json does not follow the schema: {_shown(error)}") from None
    if result.stamp != Stamp.of(config):
        raise ResultRejected("result.json is stamped for another object, Run, attempt or config")
    if not _is_time(result.finished):
        raise ResultRejected("result.json: finished is not an RFC 3339 time")
    _check_outcome(result, config)
    _check_dataset(result, config)
    _check_index(result, config)
    return result


def _check_outcome(result: RunResult, config: RunConfig) -> None:
    output = result.dataset if config.workload == "validate" else result.index
    other = result.index if config.workload == "validate" else result.dataset
    if other is not None:
        raise ResultRejected(f"result.json: a workload {config.workload} cannot have produced that output")
    if result.outcome == "Succeeded" and output is None:
        raise ResultRejected("result.json: outcome Succeeded without an output")
    if result.outcome == "Failed" and result.failure is None:
        raise ResultRejected("result.json: outcome Failed without a failure")
    if result.outcome != "Failed" and result.failure is not None:
        raise ResultRejected(f"result.json: outcome {result.outcome} with a failure")


def _check_dataset(result: RunResult, config: RunConfig) -> None:
    if result.dataset is None:
        return
    _check_uri("dataset.uri", result.dataset.uri, config)
    names = [split.name for split in result.dataset.splits]
    if len(set(names)) != len(names):
        raise ResultRejected("result.json: dataset.splits has two entries of one name")


def _check_index(result: RunResult, config: RunConfig) -> None:
    if result.index is None:
        return
    _check_uri("index.uri", result.index.uri, config)
    prefix = config.index_inputs.collection_prefix if config.index_inputs else None
    allowed = {f"{prefix}{result.index.digest.removeprefix('sha256:')[:10]}"} if prefix else set[str]()
    refresh = config.index.refresh if config.index else None
    if refresh is not None and refresh.strategy == "inPlace" and config.index_inputs and config.index_inputs.previous:
        allowed.add(config.index_inputs.previous.collection)
    restore = config.index_inputs.restore if config.index_inputs else None
    if restore is not None and result.index.digest == restore.digest:
        allowed.add(restore.collection)  # of a version that was changed in place it is another one's name
    if result.index.collection not in allowed:
        raise ResultRejected("result.json: index.collection is not the one that this object and digest stand for")
    adopting = config.index_inputs is not None and config.index_inputs.adopt_from is not None
    if result.index.adopted_vectors > (result.index.chunks if adopting else 0):
        raise ResultRejected("result.json: index.adoptedVectors are more than this Run can have adopted")


def _check_uri(name: str, uri: str, config: RunConfig) -> None:
    root = f"{config.store.root}{config.object_path}/"
    rest = uri.removeprefix(root).removesuffix("/")
    parts = [unquote(part) for part in rest.split("/")]
    if not uri.startswith(root) or not rest.isprintable() or any(p in {"", ".", ".."} or "/" in p for p in parts):
        raise ResultRejected(f"result.json: {name} does not lie in the object's folder of the artifact store")


def _is_time(text: str) -> bool:
    if not _RFC3339.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _shown(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{'.'.join(str(part)[:63] for part in p['loc']) or 'document'}: {p['msg']}" for p in problems]
    rest = len(shown) - _SHOWN_ERRORS
    return "; ".join(shown[:_SHOWN_ERRORS]) + (f"; and {rest} more" if rest > 0 else "")
