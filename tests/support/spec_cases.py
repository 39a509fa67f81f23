"""Manifests and changes to them, with what the API server and the pydantic models must say alike.

One table drives `tests/unit/api` (pydantic) and `tests/integration/api` (a real API server). `WRITTEN` holds the rules in sentences;
`boundaries` derives from the schema one case per bound, so that a constraint cannot be added without being tried.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.kuberay_cases import FOLDER, KUBERAY_FULL, ROWS

from gradatim.api.crd import crd
from gradatim.api.kinds import kind_of

Manifest = dict[str, Any]
REMOVED = object()
SHA = "sha256:" + "0" * 64
COMMIT = "a" * 40
UID = "3f2a9c01-77de-4b7c-9d54-2f1f5a1e0c11"

# What no path may hold, written as it would be in one.
ODD = {
    "backslash": "..\\",
    "encoded dots": "%2e%2E/",
    "encoded backslash": "%5c",
    "encoded zero": "a%00",
    "encoded line break": "a%0A",
    "control character": "a\x01",
}
_NO_ODD_PATH = "path must not contain a backslash"

PROFILE: Manifest = {
    "apiVersion": "gradatim.dev/v1alpha1",
    "kind": "ComputeProfile",
    "metadata": {"name": "case"},
    "spec": {
        "runtime": {"type": "rayCluster", "rayCluster": {"address": "http://ray:8265"}},
        "artifactStore": {"root": "s3://store/{namespace}/"},
        "vectorStore": {"endpoint": "http://weaviate:8080", "grpcEndpoint": "http://weaviate:50051"},
    },
}
DATASET: Manifest = {
    "apiVersion": "gradatim.dev/v1alpha1",
    "kind": "Dataset",
    "metadata": {"name": "case", "namespace": "default"},
    "spec": {"source": {"path": "file:///data/rows.jsonl"}},
}
INDEX: Manifest = {
    "apiVersion": "gradatim.dev/v1alpha1",
    "kind": "RAGIndex",
    "metadata": {"name": "case", "namespace": "default"},
    "spec": {
        "sources": [{"name": "docs", "source": {"path": "file:///data/docs"}}],
        "embedding": {"model": {"uri": "package://encoder"}},
    },
}
SOURCES: Mapping[str, Any] = {
    "persistentVolumeClaim": {"claimName": "docs", "subPath": "handbook"},
    "path": "file:///data/docs",
    "s3": {"uri": "s3://bucket/docs/", "endpoint": "https://s3.local", "region": "eu", "secretRef": {"name": "s3"}},
    "git": {"url": "https://git.local/a.git", "revision": "main", "paths": ["**/*.md"], "secretRef": {"name": "git"}},
    "http": {"urls": ["https://web.local/a.html"], "maxBytes": 1000, "secretRef": {"name": "web"}},
    "huggingFace": {"repo": "a/b", "revision": COMMIT, "config": "c", "split": "s", "secretRef": {"name": "hub"}},
    "datasetRef": {"name": "tickets"},
}
_VALIDATION = {
    "expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "text"}, "severity": "warning"}],
    "suiteRef": {"name": "suite"},
    "onFailure": "quarantine",
    "maxRejectedFraction": 0.1,
}
_COMPUTE = {"profileRef": {"name": "default"}, "workers": 2, "priority": "high"}
_SCHEDULE = {"schedule": "0 3 * * *", "timeZone": "UTC", "startingDeadlineSeconds": 60, "jitterSeconds": 5}
FULL: Mapping[str, Manifest] = {
    "ComputeProfile": PROFILE
    | {
        "spec": {
            "runtime": {
                "type": "rayCluster",
                "rayCluster": {
                    "address": "http://ray:8265",
                    "operatorSecretName": "ray",
                    "secretsPath": "/secrets",
                    "sharedTrust": True,
                },
            },
            "artifactStore": {
                "root": "s3://store/{namespace}/",
                "endpoint": "https://s3.local",
                "region": "eu",
                "operatorSecretName": "s3",
                "workloadSecretName": "s3",
            },
            "vectorStore": PROFILE["spec"]["vectorStore"] | {"operatorSecretName": "w", "workloadSecretName": "w"},
            "pricing": {"acceleratorHour": "2.5", "cpuHour": "0.04", "currency": "CHF"},
            "limits": {
                "maxWorkers": 4,
                "maxRunSeconds": 100,
                "maxConcurrentRuns": {"perNamespace": 1, "total": 2},
                "allowedSourceRoots": ["/data"],
                "allowPrivateNetworks": True,
                "maxSourceBytes": 10,
                "maxDocumentBytes": 5,
            },
            "allowedNamespaces": {"selector": {"matchLabels": {"team": "a"}}},
            "probeIntervalSeconds": 30,
        }
    },
    "Dataset": DATASET
    | {
        "spec": {
            "source": {"path": "file:///data/rows.jsonl"},
            "format": "jsonl",
            "schemaKind": "instruction",
            "columns": {"text": "body"},
            "validation": _VALIDATION,
            "sampling": {"limit": 10, "seed": 1},
            "splits": {"fractions": [{"name": "train", "fraction": 0.9}, {"name": "test", "fraction": 0.1}], "seed": 2},
            "dedup": {"exact": True, "near": {"threshold": 0.8, "shingle": 3, "permutations": 64}},
            "decontaminate": [
                {"name": name.lower(), "source": {name: value}, "ngram": 8} for name, value in SOURCES.items()
            ],
            "refresh": _SCHEDULE,
            "compute": _COMPUTE,
            "retry": {"maxRetries": 1},
            "activeDeadlineSeconds": 60,
            "suspend": True,
        }
    },
    "RAGIndex": INDEX
    | {
        "spec": {
            "sources": [
                {"name": name.lower(), "source": {name: value}, "metadata": {"team": "a"}}
                for name, value in SOURCES.items()
            ],
            "parsing": {"tables": "text", "maxPages": 10},
            "chunking": {
                "strategy": "markdown",
                "maxTokens": 100,
                "overlapTokens": 10,
                "parent": {"enabled": True, "maxTokens": 400},
            },
            "embedding": {
                "model": {"uri": "package://encoder"},
                "batchTokens": 256,
                "normalize": True,
                "precision": "fp32",
                "prefix": {"query": "query: ", "document": "passage: "},
            },
            "schema": {
                "metadata": [
                    {"name": "team", "type": "text", "filterable": True},
                    {"name": "published", "type": "date", "filterable": False},
                ]
            },
            "vectorIndex": {
                "type": "hnsw",
                "distance": "cosine",
                "efConstruction": 64,
                "maxConnections": 16,
                "quantization": "rq",
                "replicas": 1,
                "shards": 1,
            },
            "retrieval": {
                "mode": "hybrid",
                "alpha": 0.3,
                "fusion": "ranked",
                "topK": 5,
                "candidates": 40,
                "rerank": {"model": {"uri": "file:///models/cross"}, "topN": 4},
                "diversity": {"mmrLambda": 0.5},
                "recency": {"halfLifeDays": 30, "field": "published"},
                "ordering": "edges",
            },
            "validation": _VALIDATION,
            "evaluation": {
                "questions": {"path": "file:///data/questions.jsonl"},
                "k": [1, 5, 10],
                "gates": [
                    {
                        "name": "good",
                        "metric": "ndcg@10",
                        "threshold": {"min": 0.5, "max": 1.0},
                        "minSamples": 10,
                        "confidence": 0.9,
                    },
                    {"name": "no-worse", "metric": "recall@10", "baseline": "active", "maxDecrease": 0.02},
                    {"name": "no-more", "metric": "seconds", "baseline": "active", "maxIncrease": 1, "maxRatio": 2},
                ],
            },
            "refresh": _SCHEDULE | {"onChange": True, "maxStalenessSeconds": 100, "strategy": "blueGreen"},
            "versions": {"keep": 3, "pin": {"digest": SHA}, "adoptFrom": {"uid": UID}, "dropAfterSeconds": 10},
            "tenancy": {"enabled": True, "field": "team"},
            "compute": _COMPUTE,
            "retry": {"maxRetries": 1},
            "activeDeadlineSeconds": 60,
            "suspend": True,
        }
    },
}
BASES: Mapping[str, Manifest] = {"ComputeProfile": PROFILE, "Dataset": DATASET, "RAGIndex": INDEX}


@dataclass(frozen=True)
class Case:
    """A change of a manifest. `message` is a fragment that both sides must say; an empty one means that it is accepted.

    With `before`, the object is first created with those changes: only the API server can judge such a case.
    """

    id: str
    kind: str
    change: Mapping[str, Any]
    message: str = ""
    before: Mapping[str, Any] | None = field(default=None)

    @property
    def accepted(self) -> bool:
        """Return whether the manifest is right."""
        return not self.message

    def manifest(self) -> Manifest:
        """Return the base manifest with the change."""
        return changed(self.first(), self.change)

    def first(self) -> Manifest:
        """Return the manifest as created before the change."""
        return changed(BASES[self.kind], self.before or {})


def changed(base: Manifest, change: Mapping[str, Any]) -> Manifest:
    """Return a copy of `base` with values set or removed at dotted paths below `spec`; numbers index lists."""
    manifest = copy.deepcopy(base)
    for path, value in change.items():
        *parents, last = path.split(".")
        at: Any = manifest["spec"]
        for name in parents:
            at = at[int(name)] if isinstance(at, list) else at.setdefault(name, {})
        if value is REMOVED:
            del at[last]
        elif isinstance(at, list):
            at[int(last)] = copy.deepcopy(value)
        else:
            at[last] = copy.deepcopy(value)
    return manifest


_ONE_OF = "exactly one of persistentVolumeClaim, path, s3, git, http, huggingFace, datasetRef must be set"
_GATE = {"name": "g", "metric": "ndcg@10"}
_EVALUATION = {"questions": {"path": "file:///data/q.jsonl"}}
_DATE = [{"name": "published", "type": "date"}]


_FULL_KUBERAY = changed(FULL["ComputeProfile"], {"runtime": KUBERAY_FULL, "artifactStore.root": FOLDER})


def _gates(*gates: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"evaluation": _EVALUATION | {"gates": [_GATE | dict(g) for g in gates]}}


WRITTEN: tuple[Case, ...] = (
    # ComputeProfile
    Case("the smallest profile is right", "ComputeProfile", {}),
    Case("a profile without vector store is right", "ComputeProfile", {"vectorStore": REMOVED}),
    Case("a runtime needs its block", "ComputeProfile", {"runtime": {}}, "type rayCluster needs the block rayCluster"),
    Case("another runtime is unknown", "ComputeProfile", {"runtime.type": "slurm"}, "spec.runtime.type"),
    *(Case(told, "ComputeProfile", change, message, before) for told, change, message, before in ROWS),
    Case(
        "a root needs the namespace",
        "ComputeProfile",
        {"artifactStore.root": "s3://store/b/"},
        "root must contain {namespace}",
    ),
    Case("a root may be a folder", "ComputeProfile", {"artifactStore.root": "file:///store/{namespace}/"}),
    Case(
        "an address holds no credentials",
        "ComputeProfile",
        {"vectorStore.endpoint": "http://me:secret@weaviate"},
        "spec.vectorStore.endpoint",
    ),
    Case("the root stays", "ComputeProfile", {"limits.maxWorkers": 3}, before={}),
    Case(
        "the root cannot change",
        "ComputeProfile",
        {"artifactStore.root": "s3://other/{namespace}/"},
        "artifactStore.root is immutable",
        before={},
    ),
    Case(
        "the store's endpoint cannot change",
        "ComputeProfile",
        {"artifactStore.endpoint": "https://b"},
        "artifactStore.endpoint is immutable",
        before={"artifactStore.endpoint": "https://a"},
    ),
    Case(
        "the store's endpoint cannot come later",
        "ComputeProfile",
        {"artifactStore.endpoint": "https://b"},
        "artifactStore.endpoint is immutable",
        before={},
    ),
    Case(
        "the store's endpoint cannot go",
        "ComputeProfile",
        {"artifactStore.endpoint": REMOVED},
        "artifactStore.endpoint is immutable",
        before={"artifactStore.endpoint": "https://a"},
    ),
    Case(
        "the vector store cannot move",
        "ComputeProfile",
        {"vectorStore.endpoint": "http://other:8080"},
        "vectorStore.endpoint is immutable",
        before={},
    ),
    Case(
        "the vector store's gRPC address may move",
        "ComputeProfile",
        {"vectorStore.grpcEndpoint": "http://other:50051"},
        before={},
    ),
    Case(
        "the vector store cannot go",
        "ComputeProfile",
        {"vectorStore": REMOVED},
        "vectorStore cannot be removed once it is set",
        before={},
    ),
    Case(
        "a vector store may come later",
        "ComputeProfile",
        {"vectorStore": PROFILE["spec"]["vectorStore"]},
        before={"vectorStore": REMOVED},
    ),
    # sources, in both kinds that have them
    *(Case(f"{name} is a source", "Dataset", {"source": {name: value}}) for name, value in SOURCES.items()),
    Case("a source has a member", "Dataset", {"source": {}}, _ONE_OF),
    Case("a source has one member", "Dataset", {"source.datasetRef": {"name": "a"}}, _ONE_OF),
    Case("an index's source has one member", "RAGIndex", {"sources.0.source.datasetRef": {"name": "a"}}, _ONE_OF),
    Case(
        "a path stays below its root", "Dataset", {"source.path": "file:///data/../etc"}, "path must not contain '..'"
    ),
    *(
        Case(f"a path holds no {what}", "Dataset", {"source.path": f"file:///data/{odd}etc"}, _NO_ODD_PATH)
        for what, odd in ODD.items()
    ),
    Case(
        "a path holds no encoded slash",
        "RAGIndex",
        {"sources.0.source.path": "file:///data/%2f"},
        _NO_ODD_PATH,
    ),
    Case("a path may hold other encoded letters", "Dataset", {"source.path": "file:///data/a%20b%C3%A9 50%.txt"}),
    *(
        Case(
            f"a prefix of a bucket holds no {what}",
            kind,
            {key: {"s3": {"uri": f"s3://bucket/{odd}x"}}},
            "the uri of s3 must not contain",
        )
        for what, odd in (ODD | {"climbing": "../"}).items()
        for kind, key in (("Dataset", "source"), ("RAGIndex", "sources.0.source"))
    ),
    *(
        Case(
            f"an address of git holds no {what}",
            kind,
            {key: {"git": {"url": f"https://host/{odd}a.git"}}},
            "spec." if what == "control character" else "the url of git must not contain",
        )
        for what, odd in ODD.items()
        for kind, key in (("Dataset", "source"), ("RAGIndex", "sources.0.source"))
    ),
    *(
        Case(
            f"an address of a document holds no {what}",
            kind,
            {key: {"http": {"urls": ["https://host/fine", f"https://host/{odd}a"]}}},
            "source.http.urls",
        )
        for what, odd in ODD.items()
        for kind, key in (("Dataset", "source"), ("RAGIndex", "sources.0.source"))
    ),
    Case(
        "an address of a document may hold an encoded slash",
        "Dataset",
        {"source": {"http": {"urls": ["https://host/api/projects/a%2Fb"]}}},
    ),
    *(
        Case(
            f"a folder of a volume holds no {what}",
            kind,
            {key: {"persistentVolumeClaim": {"claimName": "docs", "subPath": f"a/{odd}b"}}},
            "subPath must not contain",
        )
        for what, odd in (("backslash", "\\"), ("control character", "\t"), ("climbing", "../"))
        for kind, key in (("Dataset", "source"), ("RAGIndex", "sources.0.source"))
    ),
    *(
        Case(
            f"the uri of a model holds no {what}",
            "RAGIndex",
            {"embedding.model.uri": f"file:///models/{odd}m"},
            "spec.embedding.model" if what == "control character" else "the uri of a model must not contain",
        )
        for what, odd in (ODD | {"climbing": "../"}).items()
    ),
    Case("a schedule has five fields", "Dataset", {"refresh": {"schedule": "* * * * * *"}}, "spec.refresh.schedule"),
    Case("a schedule is no word", "RAGIndex", {"refresh": {"schedule": "every day"}}, "spec.refresh.schedule"),
    Case("names of days are fields", "Dataset", {"refresh": {"schedule": "*/15 3-5 1,15 * MON-FRI"}}),
    Case("a time zone is no path", "Dataset", {"refresh": {"timeZone": "../UTC"}}, "spec.refresh.timeZone"),
    Case("time zones have signs", "RAGIndex", {"refresh": {"timeZone": "Etc/GMT+12"}}),
    Case("two dots in a name are no climbing", "Dataset", {"source.path": "file:///data/a..b"}),
    Case(
        "an index's path stays below its root",
        "RAGIndex",
        {"sources.0.source.path": "file:///data/.."},
        "path must not contain '..'",
    ),
    Case("a path is absolute", "Dataset", {"source.path": "data/rows.jsonl"}, "spec.source.path"),
    Case(
        "a git address holds no credentials",
        "Dataset",
        {"source": {"git": {"url": "https://me:secret@host/a.git"}}},
        "spec.source.git.url",
    ),
    Case(
        "a git option is no revision",
        "Dataset",
        {"source": {"git": {"url": "https://host/a.git", "revision": "--upload-pack=x"}}},
        "spec.source.git.revision",
    ),
    Case(
        "a line break is no part of an address",
        "Dataset",
        {"source": {"git": {"url": "https://host/a\nb"}}},
        "spec.source.git.url",
    ),
    Case(
        "a hub branch is no commit",
        "Dataset",
        {"source": {"huggingFace": {"repo": "a/b", "revision": "main"}}},
        "spec.source.huggingFace.revision",
    ),
    Case(
        "a letter outside ASCII is no repository's",
        "Dataset",
        {"source": {"huggingFace": {"repo": "a/bé", "revision": COMMIT}}},
        "spec.source.huggingFace.repo",
    ),
    Case(
        "patterns of files differ", "Dataset", {"source": {"git": {"url": "git://h/a", "paths": ["a", "a"]}}}, "paths"
    ),
    Case(
        "sources of an index have names of their own",
        "RAGIndex",
        {"sources": [INDEX["spec"]["sources"][0]] * 2},
        "sources",
    ),
    Case("an index needs a source", "RAGIndex", {"sources": []}, "spec.sources"),
    Case("an index needs sources at all", "RAGIndex", {"sources": REMOVED}, "spec.sources"),
    Case("a source's name is a label", "RAGIndex", {"sources.0.name": "Docs!"}, "name"),
    # Dataset
    Case("fractions that sum to 1 are right", "Dataset", {"splits": FULL["Dataset"]["spec"]["splits"]}),
    Case("a column may say the split", "Dataset", {"splits": {"column": "split"}}),
    Case(
        "fractions sum to 1",
        "Dataset",
        {"splits": {"fractions": [{"name": "a", "fraction": 0.5}, {"name": "b", "fraction": 0.4}]}},
        "fractions must sum to 1",
    ),
    Case(
        "thirds sum to 1",
        "Dataset",
        {"splits": {"fractions": [{"name": n, "fraction": 0.3333} for n in ("a", "b", "c")]}},
    ),
    Case(
        "a split comes one way",
        "Dataset",
        {"splits": {"column": "split", "fractions": [{"name": "a", "fraction": 1}]}},
        "splits need fractions or a column, not both",
    ),
    Case("a split comes some way", "Dataset", {"splits": {}}, "splits need fractions or a column, not both"),
    Case(
        "splits have names of their own",
        "Dataset",
        {"splits": {"fractions": [{"name": "a", "fraction": 0.5}, {"name": "a", "fraction": 0.5}]}},
        "fractions",
    ),
    Case("a text is no number", "Dataset", {"retry": {"maxRetries": "3"}}, "spec.retry.maxRetries"),
    Case("a text is no truth", "Dataset", {"suspend": "true"}, "spec.suspend"),
    Case("a truth is no number", "Dataset", {"compute": {"workers": True}}, "spec.compute.workers"),
    Case("a number is no text", "Dataset", {"format": 1}, "spec.format"),
    Case("a whole number may stand for a fraction", "Dataset", {"validation": {"maxRejectedFraction": 1}}),
    Case("a fraction is no whole number", "Dataset", {"compute": {"workers": 1.5}}, "spec.compute.workers"),
    Case("a list is no object", "Dataset", {"dedup": []}, "spec.dedup"),
    Case(
        "an expectation goes by its GX name",
        "Dataset",
        {"validation": {"expectations": [{"type": "not_null"}]}},
        "type",
    ),
    # RAGIndex
    Case("the smallest index is right", "RAGIndex", {}),
    Case("an index needs an encoder", "RAGIndex", {"embedding": {}}, "spec.embedding.model"),
    Case("a hub model has a commit", "RAGIndex", {"embedding.model.uri": "hf://org/name"}, "spec.embedding.model.uri"),
    Case("a hub model at a commit is right", "RAGIndex", {"embedding.model.uri": f"hf://org/name@{COMMIT}"}),
    Case(
        "a model has a store and a Secret of its own",
        "RAGIndex",
        {
            "embedding.model": {
                "uri": "s3://models/minilm",
                "endpoint": "https://s3.example.com",
                "region": "eu-1",
                "secretRef": {"name": "models-read"},
            }
        },
    ),
    Case(
        "a region is a name and no part of an address",
        "RAGIndex",
        {"embedding.model": {"uri": "s3://models/minilm", "region": "eu.example.com#"}},
        "spec.embedding.model.region",
    ),
    Case(
        "the endpoint of a model is an address",
        "RAGIndex",
        {"embedding.model": {"uri": "s3://models/minilm", "endpoint": "s3.example.com"}},
        "spec.embedding.model.endpoint",
    ),
    Case(
        "overlap stays within half of the chunk",
        "RAGIndex",
        {"chunking": {"maxTokens": 64, "overlapTokens": 33}},
        "overlapTokens must be at most half of maxTokens",
    ),
    Case("overlap may fill half of the chunk", "RAGIndex", {"chunking": {"maxTokens": 64, "overlapTokens": 32}}),
    Case(
        "a small chunk needs a smaller overlap than the default",
        "RAGIndex",
        {"chunking": {"maxTokens": 32}},
        "overlapTokens must be at most half of maxTokens",
    ),
    Case(
        "a parent exceeds its chunks",
        "RAGIndex",
        {"chunking": {"maxTokens": 256, "parent": {"enabled": True, "maxTokens": 256}}},
        "parent.maxTokens must exceed maxTokens",
    ),
    Case(
        "a parent that is off may be small",
        "RAGIndex",
        {"chunking": {"maxTokens": 256, "parent": {"maxTokens": 64}}},
    ),
    Case("dot goes with normalised vectors", "RAGIndex", {"vectorIndex.distance": "dot"}),
    Case(
        "dot needs normalised vectors",
        "RAGIndex",
        {"vectorIndex.distance": "dot", "embedding.normalize": False},
        "distance dot needs embedding.normalize",
    ),
    Case("a flat index goes with binary codes", "RAGIndex", {"vectorIndex": {"type": "flat", "quantization": "bq"}}),
    Case("a graph goes with product codes", "RAGIndex", {"vectorIndex.quantization": "pq"}),
    Case(
        "a flat index has no product codes",
        "RAGIndex",
        {"vectorIndex": {"type": "flat", "quantization": "pq"}},
        "type flat does not support quantization pq",
    ),
    Case("candidates may equal topK", "RAGIndex", {"retrieval": {"topK": 50}}),
    Case("candidates reach topK", "RAGIndex", {"retrieval": {"topK": 51}}, "candidates must be at least topK"),
    Case(
        "recency goes by a date",
        "RAGIndex",
        {"retrieval": {"recency": {"field": "published"}}, "schema.metadata": _DATE},
    ),
    Case(
        "recency needs a known field",
        "RAGIndex",
        {"retrieval": {"recency": {"field": "published"}}},
        "retrieval.recency.field must be a date field of schema.metadata",
    ),
    Case(
        "recency needs a date field",
        "RAGIndex",
        {"retrieval": {"recency": {"field": "team"}}, "schema.metadata": [{"name": "team"}]},
        "retrieval.recency.field must be a date field of schema.metadata",
    ),
    Case("metadata fields have names of their own", "RAGIndex", {"schema.metadata": _DATE * 2}, "metadata"),
    Case(
        "tenancy goes by a text",
        "RAGIndex",
        {"tenancy": {"enabled": True, "field": "t"}, "schema.metadata": [{"name": "t"}]},
    ),
    Case("tenancy needs a field", "RAGIndex", {"tenancy": {"enabled": True}}, "tenancy.enabled needs tenancy.field"),
    Case(
        "tenancy needs a text field",
        "RAGIndex",
        {"tenancy": {"enabled": True, "field": "published"}, "schema.metadata": _DATE},
        "tenancy.field must be a text field of schema.metadata",
    ),
    Case(
        "tenancy cannot come later",
        "RAGIndex",
        {"tenancy.enabled": True, "tenancy.field": "t"},
        "tenancy.enabled is immutable",
        before={"schema.metadata": [{"name": "t"}]},
    ),
    Case(
        "tenancy cannot go",
        "RAGIndex",
        {"tenancy": {}},
        "tenancy.enabled is immutable",
        before={"schema.metadata": [{"name": "t"}], "tenancy": {"enabled": True, "field": "t"}},
    ),
    Case("what tenancy leaves alone may change", "RAGIndex", {"chunking.maxTokens": 128}, before={}),
    Case("a gate with a threshold is right", "RAGIndex", _gates({"threshold": {"min": 0.5}})),
    Case("a gate against the active version is right", "RAGIndex", _gates({"baseline": "active", "maxDecrease": 0.1})),
    Case("a gate needs a bound", "RAGIndex", _gates({}), "a gate has either a threshold or a baseline"),
    Case(
        "a gate has one bound",
        "RAGIndex",
        _gates({"threshold": {"min": 0.5}, "baseline": "active", "maxDecrease": 0.1}),
        "a gate has either a threshold or a baseline",
    ),
    Case("a threshold needs an end", "RAGIndex", _gates({"threshold": {}}), "threshold needs min or max"),
    Case(
        "a baseline needs a margin",
        "RAGIndex",
        _gates({"baseline": "active"}),
        "a baseline needs maxDecrease, maxIncrease or maxRatio",
    ),
    Case(
        "a margin needs a baseline",
        "RAGIndex",
        _gates({"threshold": {"min": 0.5}, "maxRatio": 2}),
        "maxDecrease, maxIncrease and maxRatio need a baseline",
    ),
    Case(
        "gates have names of their own",
        "RAGIndex",
        _gates({"threshold": {"min": 0.5}}, {"threshold": {"max": 1}}),
        "gates",
    ),
    Case(
        "gates need questions",
        "RAGIndex",
        {"evaluation": {"gates": [_GATE | {"threshold": {"min": 0.5}}]}},
        "gates need evaluation.questions",
    ),
    Case(
        "a gate's cut-off is measured",
        "RAGIndex",
        {"evaluation": _EVALUATION | {"k": [1], "gates": [_GATE | {"threshold": {"min": 0.5}}]}},
        "the cut-off of a gate's metric must be among evaluation.k",
    ),
    Case(
        "a cut-off of a gate may be one's own",
        "RAGIndex",
        {
            "evaluation": _EVALUATION
            | {
                "k": [3],
                "gates": [
                    {"name": "g", "metric": "mrr", "threshold": {"min": 0.5}},
                    {"name": "h", "metric": "ndcg@3", "threshold": {"min": 0.5}},
                ],
            }
        },
    ),
    Case(
        "a span metric has a cut-off of its own",
        "RAGIndex",
        _gates({"metric": "span_iou@10", "threshold": {"min": 0.1}}),
    ),
    Case("questions need no gates", "RAGIndex", {"evaluation": _EVALUATION}),
    Case("an empty evaluation is right", "RAGIndex", {"evaluation": {}}),
    Case("in place with one version is right", "RAGIndex", {"refresh": {"strategy": "inPlace"}, "versions.keep": 1}),
    Case(
        "in place goes without gates",
        "RAGIndex",
        {"refresh": {"strategy": "inPlace"}, "versions.keep": 1, **_gates({"threshold": {"min": 0.5}})},
        "strategy inPlace cannot be combined with gates",
    ),
    Case(
        "in place goes without a pin",
        "RAGIndex",
        {"refresh": {"strategy": "inPlace"}, "versions": {"keep": 1, "pin": {"digest": SHA}}},
        "strategy inPlace cannot be combined with versions.pin",
    ),
    Case(
        "in place keeps one version",
        "RAGIndex",
        {"refresh": {"strategy": "inPlace"}},
        "strategy inPlace keeps no versions",
    ),
    Case("a pin is a digest", "RAGIndex", {"versions.pin": {"digest": "v3"}}, "spec.versions.pin.digest"),
    Case("vectors are adopted from a uid", "RAGIndex", {"versions.adoptFrom": {"uid": UID}}),
    Case(
        "a uid to adopt from may come later and go",
        "RAGIndex",
        {"versions": {}},
        before={"versions.adoptFrom": {"uid": UID}},
    ),
    Case("adoption needs a uid", "RAGIndex", {"versions.adoptFrom": {}}, "spec.versions.adoptFrom.uid"),
    *(
        Case(f"a uid is no {told}", "RAGIndex", {"versions.adoptFrom": {"uid": uid}}, "spec.versions.adoptFrom.uid")
        for told, uid in {
            "way up": "../../other/3f2a9c01-77de-4b7c-9d541",
            "path": "3f2a9c01/77de/4b7c/9d54/2f1f5a1e0c11",
            "name": "handbook",
            "uid in capitals": UID.upper(),
            "uid and more": UID + "0",
            "encoded way up": "3f2a9c01-77de-4b7c-9d54-%2e%2e%2f0c11",
        }.items()
    ),
    Case("a cut-off comes once", "RAGIndex", {"evaluation": {"k": [5, 5]}}, "k"),
    *(Case(f"a {kind} with every field is right", kind, manifest["spec"]) for kind, manifest in FULL.items()),
)


def boundaries() -> Iterator[tuple[str, Manifest, bool | None]]:
    """Yield (sentence, manifest, accepted) for every bound in the schemas; None: both sides must agree, whatever they say."""
    for kind, full in (*FULL.items(), ("ComputeProfile", _FULL_KUBERAY)):
        schema = crd(kind_of(kind))["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        for path, node, required in _nodes(schema, full["spec"], ""):
            if required:
                yield f"{kind} {path} is required", changed(full, {path: REMOVED}), False
            for told, value, accepted in _values(node):
                yield f"{kind} {path} {told}", changed(full, {path: value}), accepted


def _nodes(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Walk schema and manifest together, so that every path exists in the manifest."""
    for name, child in schema.get("properties", {}).items():
        if name not in value:
            continue
        at = f"{path}.{name}" if path else name
        yield at, child, name in schema.get("required", [])
        if isinstance(value[name], dict):
            yield from _nodes(child, value[name], at)
            if isinstance(child.get("additionalProperties"), Mapping):
                for key in value[name]:
                    yield f"{at}.{key}", child["additionalProperties"], False
        for index, member in enumerate(value[name] if isinstance(value[name], list) else ()):
            if isinstance(member, dict):
                yield from _nodes(child["items"], member, f"{at}.{index}")
            else:
                yield f"{at}.{index}", child["items"], False


def _values(node: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool | None]]:
    kind = node.get("type")
    if "enum" in node:
        yield "takes no other word", "Neither", False
        for word in node["enum"]:
            yield f"may be {word}", word, None
    if "pattern" in node:
        yield "follows its pattern", next(v for v in ("\u00e9 \n", "/") if not re.search(node["pattern"], v)), False
    if "minLength" in node and node["minLength"] > 0:
        yield "is not empty", "", False
    if "maxLength" in node:
        yield "is not too long", "a" * (node["maxLength"] + 1), False
        yield "may be long", "a" * node["maxLength"], None
    step = 1 if kind == "integer" else 0.0625
    for bound, sign in (("minimum", -1), ("maximum", 1)):
        if bound in node:
            edge = int(node[bound]) if kind == "integer" else node[bound]
            exclusive = bool(node.get(f"exclusive{bound.capitalize()}"))
            yield f"has a {bound}", edge + sign * step, False
            yield f"at its {bound}", edge, False if exclusive else None
    if "maxItems" in node:
        yield "has not too many members", [{}] * (node["maxItems"] + 1), False
    if "minItems" in node and node["minItems"] > 0:
        yield "has members", [], False
    if "maxProperties" in node:
        yield "has not too many keys", {f"k{n}": "v" for n in range(node["maxProperties"] + 1)}, False
    wrong = {"integer": "1", "number": "0.5", "boolean": "true", "string": 1, "array": {}, "object": []}
    if kind in wrong:
        yield "has its type", wrong[kind], False
