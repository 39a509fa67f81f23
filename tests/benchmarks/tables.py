"""`python -m tests.benchmarks.tables`: writes the tables of docs/benchmarks.md from the JSON results.

Each table stands between `<!-- table: name -->` and `<!-- end -->`; the text around them is written by people. With `--check` nothing is written
and a difference is an error.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.options import RESULTS, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Rows = Sequence[Sequence[object]]


def table(head: Sequence[str], rows: Rows) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def origin(found: dict[str, Any]) -> str:
    """Return where a result comes from."""
    machine = found["machine"]
    return (
        f"\n`{found['command']}` at {found['commit'][:10]}, {found['date'][:10]}, {machine['cores']} cores of {machine['cpu']}, "
        f"load average at the start {found['load_at_start']}.\n"
    )


def ingestion(found: dict[str, Any]) -> str:
    """Ingestion rates and quality."""
    rows = [
        [
            name, one["chunks"], one["mean_tokens"], one["cpu_s"], one["chunks_per_cpu_s"], one["tokens_per_cpu_s"],
            one["source_chars_per_cpu_s"], one["ndcg@10"], one["recall@10"], round(one["import_and_load_cpu_s"], 1),
            round(one["peak_rss_mb"]),
        ]
        for name, one in found["systems"].items()
    ]  # fmt: skip
    head = [
        "system", "chunks", "mean tokens", "CPU s", "chunks / CPU s", "tokens / CPU s", "source characters / CPU s",
        "nDCG@10", "recall@10", "import and load, CPU s", "peak memory, MB",
    ]  # fmt: skip
    kinds = list(found["ratios"])
    pairs = list(found["ratios"][kinds[0]])
    difference = found["ndcg@10_ours_minus_peer"]
    ratios = [
        [
            pair,
            *(found["ratios"][kind][pair] for kind in kinds),
            "{mean:+.4f} ({low:+.4f} to {high:+.4f})".format(**difference[pair.replace(" / ", " - ")]),
        ]
        for pair in pairs
    ]
    labels = ["ours / peer", "chunks", "tokens", "source characters", "nDCG@10, ours - peer (95 %)"]
    return table(head, rows) + "\n" + table(labels, ratios)


def refresh(found: dict[str, Any]) -> str:
    """Refresh cost in seconds and as a share of the full build."""
    rows: list[list[object]] = []
    for kind, one in found["medians"].items():
        share = found["shares_of_full_build"].get(kind)
        rows.append(
            [
                kind, one["wall_s"], one["cpu_s"], one["net_wall_s"], one["net_cpu_s"], one["weaviate_cpu_s"], round(one["embedded"]),
                *(f"{share[key]:.1%}" if share else "" for key in ("wall_s", "cpu_s", "net_wall_s", "net_cpu_s")),
            ]
        )  # fmt: skip
    head = [
        "Run", "wall s", "CPU s", "wall s without start", "CPU s without start", "Weaviate CPU s", "embedded",
        "wall share", "CPU share", "wall share without start", "CPU share without start",
    ]  # fmt: skip
    return table(head, rows)


def retrieval_quality(found: dict[str, Any]) -> str:
    """Chunkers by ways to search."""
    rows: list[list[object]] = []
    for name, one in found["chunkers"].items():
        for mode in ("keyword", "vector", "hybrid"):
            rows.append([name, one["chunks"], one["mean_tokens"], mode, *_scores(one[mode])])
    text = table(["chunker", "chunks", "mean tokens", "search", *_HEAD], rows)
    halves: list[list[object]] = []
    for name, one in found["chunkers"].items():
        half = one.get("held_out_half")
        if half:
            halves += [[name, mode, *_scores(half[mode])] for mode in ("hybrid", "hybrid+rerank")]
    if halves:
        text += "\nThe half of the questions that the cross-encoder was not trained on:\n\n"
        text += table(["chunker", "search", *_HEAD], halves)
    return text


_HEAD = ["nDCG@10 (95 %)", "recall@10", "MRR", "span IoU@10", "span recall@10"]


def _scores(one: dict[str, float]) -> list[object]:
    return [
        f"{one['ndcg@10']:.3f} ({one['ndcg@10_low']:.3f} to {one['ndcg@10_high']:.3f})",
        f"{one['recall@10']:.3f}",
        f"{one['mrr']:.3f}",
        f"{one['span_iou@10']:.3f}",
        f"{one['span_recall@10']:.3f}",
    ]


def query(found: dict[str, Any]) -> str:
    """Query times and shares."""
    rows = [
        [
            name, one["samples"], one["p50_ms"], one["p95_ms"],
            *(f"{one[f'share_{part}']:.1%}" for part in ("encoder", "weaviate", "rerank")),
            one["own_ms"], f"{one['own_share']:.1%}",
        ]
        for name, one in found["configurations"].items()
    ]  # fmt: skip
    head = [
        "search",
        "queries",
        "p50 ms",
        "p95 ms",
        "encoder",
        "Weaviate and its client",
        "reranker",
        "own ms",
        "own share",
    ]
    return table(head, rows)


def ocr(found: dict[str, Any]) -> str:
    """Errors and cost of recognised pages."""
    rows = [
        [
            name, one["pages"], one["chars_per_page"], f"{one['cer_mean']:.2%}", f"{one['cer_max']:.2%}", f"{one['confidence_min']:.3f}",
            one["cpu_s_per_page"], one["wall_s_per_page"], round(one["chars_per_page"] / one["cpu_s_per_page"]),
        ]
        for name, one in found["kinds"].items()
    ]  # fmt: skip
    head = [
        "page", "pages", "characters / page", "wrong characters, mean", "worst page", "least confidence", "CPU s / page", "wall s / page",
        "characters / CPU s",
    ]  # fmt: skip
    said = f"\nLoading and the first page: {found['first_page_cpu_s']} CPU s. Peak memory: {found['peak_rss_mb']} MB.\n"
    return table(head, rows) + said


def control_plane(found: dict[str, Any]) -> str:
    """The ladder, and what kopf alone costs per event."""
    head = [
        "objects", "first passes / s", "calls / first pass", "restart s", "restart CPU s", "calls / reconcile", "resident MB",
        "writes at rest",
    ]  # fmt: skip
    rows = [
        [
            one["objects"], round(one["first_pass_objects_per_s"], 1), round(one["first_pass_kube_calls_per_object"], 1),
            round(one["restart_to_quiescent_s"], 1), round(one["restart_cpu_s"], 1),
            round(one["restart_kube_calls_per_reconcile"], 2), round(one["resident_mb"]),
            int(one["steady_state_writes_over_3_resyncs"]),
        ]
        for one in found["rungs"]
    ]  # fmt: skip
    lags = [
        "objects",
        "changes / s",
        "wanted",
        "change to status p50 s",
        "p99 s",
        "operator CPU ms / change",
        "API server",
        "all",
    ]
    changes = [
        [
            one["objects"], round(lag["rate_per_s"], 1), round(lag["wanted_rate_per_s"]), round(lag["p50_s"], 2),
            round(lag["p99_s"], 2), round(lag["cpu_ms_per_change"]["operator"], 1),
            round(lag["cpu_ms_per_change"]["kube-apiserver"], 1), round(sum(lag["cpu_ms_per_change"].values()), 1),
        ]
        for one in found["rungs"] for lag in one["change_to_status"]
    ]  # fmt: skip
    floor, said = found["event_floor"], ""
    if floor is not None:
        said = f"\nkopf alone, with the product's settings: {floor['events_per_cpu_s']:.0f} events per CPU second over {floor['objects']} objects.\n"
    if found.get("note"):
        said += f"\nThis run {found['note']}.\n"
    return table(head, rows) + "\n" + table(lags, changes) + said


def kuberay_ladder(found: dict[str, Any]) -> str:
    """Our operator and KubeRay's side by side, and their ratio where both finished the same number."""
    rows: list[list[object]] = []
    for side in ("ours", "kuberay"):
        for one in found[side]:
            name = "Gradatim" if side == "ours" else f"KubeRay, {one['concurrency']} at a time"
            process = "operator" if side == "ours" else "kuberay"
            rows.append(
                [
                    name, one["created"], one["finished"], one["failed"], round(one["objects_per_s"], 2), round(one["cpu_ms_per_object"], 1),
                    one["calls_per_object"], round(one["peak_mb"]),
                    *(round(one["cpu_s"][part], 1) for part in (process, "kube-apiserver", "etcd", "kwok", "benchmark")),
                ]
            )  # fmt: skip
    head = [
        "operator", "created", "finished", "failed", "finished / s", "CPU ms / object", "API calls / object", "peak memory, MB",
        "operator CPU s", "API server CPU s", "etcd CPU s", "KWOK CPU s", "benchmark CPU s",
    ]  # fmt: skip
    between = ("object_to_rayjob", "rayjob_to_running", "result_to_ready")
    lags = [
        [one["created"], *(round(one[lag][p], 2) for lag in between for p in ("p50_s", "p99_s"))]
        for one in found["ours"]
    ]
    waits = ["Gradatim, created", "object to RayJob, p50 s", "p99 s", "RayJob to Running, p50 s", "p99 s"]
    waits += ["result to Ready, p50 s", "p99 s"]
    failed = {(one["created"], one["concurrency"]): one["failed"] for one in found["kuberay"]}
    ratios = [
        [*rung, f"none: {failed[rung]} failed" if failed[rung] else round(one["ours_per_kuberay"], 2)]
        for one in found["ratios"]
        for rung in [(one["created"], one["concurrency"])]
    ]
    text = table(head, rows) + "\n" + table(waits, lags)
    return text + "\n" + table(["objects", "KubeRay's reconcilers", "Gradatim / KubeRay, finished / s"], ratios)


def cluster_ready(found: dict[str, Any]) -> str:
    """Time to Ready with pods for each attempt and with a standing cluster, and where it goes."""
    names = {"cold": "a RayJob for each attempt", "warm": "a standing RayCluster"}
    runs = [("", found), *((", before", found[key]) for key in ("before",) if key in found)]
    rows: list[list[object]] = []
    for said, one in runs:
        for side, name in names.items():
            ready = one[side]["ready_s"]
            rows.append([name + said, len(one[side]["samples"]), ready["min"], ready["median"], ready["max"]])
    text = table(["runtime", "builds", "Ready after s, min", "median", "max"], rows)
    for side, name in names.items():
        head = [f"{name}: what the time goes to", *(f"median s{said}" for said, _ in runs)]
        lines = [
            [phase["is"], *(one[side]["phases_s"][what]["median"] for _, one in runs)]
            for what, phase in found[side]["phases_s"].items()
        ]
        text += "\n" + table(head, lines)
    return text


TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "ingestion": ingestion,
    "refresh": refresh,
    "retrieval_quality": retrieval_quality,
    "query": query,
    "ocr": ocr,
    "control_plane": control_plane,
    "kuberay_ladder": kuberay_ladder,
    "kuberay_ladder_reads": kuberay_ladder,
    "cluster_ready": cluster_ready,
}


def filled(page: str, results: Path) -> str:
    """Return the page with every table made anew; one without a result says so."""

    def made(match: re.Match[str]) -> str:
        file = results / f"{match.group(2)}.json"
        if not file.is_file():
            return f"{match.group(1)}\nNot measured yet.\n\n{match.group(3)}"
        found = json.loads(file.read_text(encoding="utf-8"))
        return f"{match.group(1)}\n{TABLES[match.group(2)](found)}{origin(found)}\n{match.group(3)}"

    return _BLOCK.sub(made, page)


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tables", description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail instead of writing")
    options = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    wanted = filled(page, RESULTS)
    if options.check and wanted != page:
        sys.stderr.write("docs/benchmarks.md is out of date; run python -m tests.benchmarks.tables\n")
        return 1
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
