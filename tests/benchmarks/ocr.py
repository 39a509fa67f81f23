"""Text recognition of scans: seconds and errors per page.

Pages of prose are drawn as a scanner gives them, put into a PDF without a text layer and read back through the parser that builds an index: whole
pages and half empty ones, columns, a poor copy, a coarse scan, a page on its side. One thread. CPU seconds bear it when other programs run; the
first page, which loads the models, is not counted.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence
from statistics import mean, median
from typing import Any

from PIL import Image
from tests.benchmarks.options import parser_of
from tests.benchmarks.report import environment, finish, say
from tests.support.scans import Sheet, character_error_rate, noisy, page, passage, scanned_pdf

from gradatim.rag.ocr import Ocr
from gradatim.rag.ocr.engine import Engine
from gradatim.rag.parse import ParseOptions, parse

Texts = Sequence[str]
FULL, HALF = 5, 3  # passages on a page of 11 points


def sideways(texts: Texts) -> Image.Image:
    """A page that lies on its side."""
    return page(texts).rotate(90, expand=True)


KINDS: dict[str, tuple[int, int, Callable[[Texts], Image.Image]]] = {
    "a full page": (FULL, 200, page),
    "half a page": (HALF, 200, page),
    "two columns": (FULL - 1, 200, lambda texts: page(texts, columns=2)),
    "a poor copy": (HALF, 200, lambda texts: noisy(page(texts))),
    "110 dots per inch": (HALF, 110, lambda texts: page(texts, Sheet(dpi=110, serif=False))),
    "on its side": (HALF, 200, sideways),
}


def measure(engine: Engine, kind: str, count: int) -> dict[str, Any]:
    """Read `count` pages of a kind, each in a file of its own."""
    passages, dpi, draw = KINDS[kind]
    samples: list[dict[str, float]] = []
    for number in range(count):
        texts = [passage(1000 * number + part) for part in range(passages)]
        data = scanned_pdf([draw(texts)], dpi)
        wall, cpu = time.perf_counter(), time.process_time()
        document = parse(data, "scan.pdf", ParseOptions(ocr=engine.identity), Ocr(engine)).documents[0]
        samples.append(
            {
                "cpu_s": time.process_time() - cpu,
                "wall_s": time.perf_counter() - wall,
                "chars": len("\n\n".join(texts)),
                "cer": character_error_rate("\n\n".join(texts), document.text),
                "confidence": document.recognised[0].confidence,
            }
        )
        say(f"{kind}, page {number + 1} of {count}: {samples[-1]['cpu_s']:.1f} CPU s, CER {samples[-1]['cer']:.4f}")
    return {
        "pages": count,
        "chars_per_page": round(mean(one["chars"] for one in samples)),
        "cpu_s_per_page": round(median(one["cpu_s"] for one in samples), 2),
        "wall_s_per_page": round(median(one["wall_s"] for one in samples), 2),
        "cer_mean": round(mean(one["cer"] for one in samples), 5),
        "cer_max": round(max(one["cer"] for one in samples), 5),
        "confidence_min": round(min(one["confidence"] for one in samples), 4),
    }


def main() -> None:
    """Measure every kind."""
    options = parser_of("ocr", __doc__).parse_args()
    found = environment()
    engine = Engine(threads=1)
    first = scanned_pdf([page([passage(1, 1)])])
    begun = time.process_time()
    parse(first, "first.pdf", ParseOptions(ocr=engine.identity), Ocr(engine))
    found["engine"] = engine.identity
    found["first_page_cpu_s"] = round(time.process_time() - begun, 2)
    count = 1 if options.quick else options.repeats
    kinds = list(KINDS)[1:2] if options.quick else list(KINDS)
    found["kinds"] = {kind: measure(engine, kind, count) for kind in kinds}
    found["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    finish("ocr", options, found)


if __name__ == "__main__":
    main()
