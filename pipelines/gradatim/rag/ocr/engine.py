"""RapidOCR: finds and reads lines with the PP-OCR models that lie in its package, on the CPU through ONNX Runtime.

Its stages are called one by one, not its front: that one would fetch a missing model, hide what it leaves out, and look at long pages through
a keyhole. What a page may cost is bounded by its pixels and by the number and shape of its lines, never by a clock, so that a slow machine
gives the same text. Loaded by workers at their first page.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gradatim.rag.ocr import OcrError, OcrUnavailable, PageText, Pixels
from gradatim.rag.ocr.layout import Line, Quad, direction, page_text, tall, upright

# Raise it when this module or `layout` gives another text for the same image.
REVISION = 1
DETECT_PIXELS = 1_500_000  # of the image that lines are looked for in; they are read from the whole one
MAX_LINES = 1000
LEAST_LINE = 8  # pixels: lower lines cannot be read
LONGEST_LINE = 100.0  # times its height: a longer one is a rule or an edge
MAX_THREADS = 8
SURE = 0.9  # below, the direction of a line is not worth a vote
_MODELS = {
    "Det": "PP-OCRv6_det_small.onnx",
    "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "Rec": "PP-OCRv6_rec_small.onnx",
}


@cache
def identity() -> str:
    """Return engine, runtime, weights and revision in one line. Raises OcrUnavailable where the extra `ocr` is not installed."""
    folder = _models()
    digest = hashlib.sha256()
    for name in _MODELS.values():
        digest.update((folder / name).read_bytes())
    versions = "+".join(f"{package}/{metadata.version(package)}" for package in ("rapidocr", "onnxruntime"))
    return f"{versions}+models/{digest.hexdigest()[:16]}+layout/{REVISION}"


def _models() -> Path:
    found = {name: find_spec(name) for name in ("rapidocr", "onnxruntime", "cv2")}
    missing = [name for name, spec in found.items() if spec is None]
    spec = found["rapidocr"]
    if missing or spec is None or spec.origin is None:
        text = f"text recognition needs the extra ocr ({', '.join(missing)} is missing): pip install 'gradatim[ocr]'"
        raise OcrUnavailable(text)
    folder = Path(spec.origin).parent / "models"
    gone = [name for name in _MODELS.values() if not (folder / name).is_file()]
    if gone:
        text = f"{folder} lacks {', '.join(gone)}, which rapidocr 3.10 carries: reinstall it with pip install 'gradatim[ocr]'"
        raise OcrUnavailable(text)
    return folder


def usable_threads() -> int:
    """Return how many threads a page may use: what Ray or a person set for this process, else its processors, eight at most."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told) > 0:
        return min(int(told), MAX_THREADS)
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(mine, MAX_THREADS)


class _Models:
    """The loaded models. Not safe for use from several threads at once: one per worker."""

    def __init__(self, threads: int) -> None:
        """Load the models. Raises OcrUnavailable. OpenCV's threads are those of the whole process."""
        import cv2
        from rapidocr import RapidOCR
        from rapidocr.ch_ppocr_cls import TextClassifier
        from rapidocr.ch_ppocr_det import TextDetector
        from rapidocr.ch_ppocr_rec import TextRecognizer

        folder = _models()
        # With a path for each model nothing looks for one on the network.
        values: dict[str, Any] = {f"{stage}.model_path": str(folder / name) for stage, name in _MODELS.items()}
        values |= {
            "Global.log_level": "error",
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            # The image has its size already; "max" never makes it larger.
            "Det.limit_type": "max",
            "Det.limit_side_len": 1 << 20,
            # Specks of a poor copy are candidates too.
            "Det.max_candidates": 4 * MAX_LINES,
        }
        config = RapidOCR(params=values).cfg
        for stage in _MODELS:
            config[stage].engine_cfg = config.EngineConfig["onnxruntime"]
        config.Rec.font_path = None
        cv2.setNumThreads(threads)
        self._detect = TextDetector(config.Det)
        self._classify = TextClassifier(config.Cls)
        self._recognise = TextRecognizer(config.Rec)

    def read(self, image: Pixels) -> PageText:
        """Return the text of a page in reading order. Raises OcrError."""
        import cv2
        from rapidocr.inference_engine.onnxruntime.main import ONNXRuntimeError

        try:
            return self._read(np.ascontiguousarray(image[:, :, ::-1]))
        except (cv2.error, ONNXRuntimeError, ValueError) as error:
            reason = str(error).strip().rpartition("\n")[2][:200]
            raise OcrError(f"the engine failed on it ({type(error).__name__}: {reason})") from error

    def _read(self, image: Pixels) -> PageText:
        quads = self._find(image)
        if not quads:
            return PageText("")
        if len(quads) > MAX_LINES:
            raise OcrError(f"it shows {len(quads)} lines, more than {MAX_LINES}")
        pieces = [_cut(image, quad) for quad in quads]
        labels = self._classify(pieces).cls_res or ()
        flipped = [label == "180" and score > SURE for label, score in labels]
        found = direction(quads, flipped)
        # One line is easily mistaken, a page is not: lines that lie like most of it are read as most of it says.
        turned = [
            np.ascontiguousarray(piece[::-1, ::-1]) if (found.over if tall(quad) == found.sideways else flip) else piece
            for piece, quad, flip in zip(pieces, quads, flipped, strict=True)
        ]
        size = (float(image.shape[1]), float(image.shape[0]))
        lines = [
            Line(upright(quad, size, found), text, score)
            for quad, (text, score) in zip(quads, self._texts(turned), strict=True)
        ]
        return page_text(lines)

    def _find(self, image: Pixels) -> list[Quad]:
        import cv2

        height, width = image.shape[:2]
        scale = min(1.0, math.sqrt(DETECT_PIXELS / (height * width)))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = image if scale == 1.0 else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        boxes = self._detect(small).boxes
        back = (width / size[0], height / size[1])
        quads = [_quad(box, back) for box in (() if boxes is None else boxes)]
        return [quad for quad in quads if _readable(quad)]

    def _texts(self, pieces: Sequence[Pixels]) -> Iterator[tuple[str, float]]:
        from rapidocr.ch_ppocr_rec import TextRecInput

        read = self._recognise(TextRecInput(img=list(pieces)))
        for text, score in zip(read.txts or (), read.scores or (), strict=True):
            yield str(text), float(score)


class Engine:
    """An engine whose models are loaded with the first page: most builds have no scan that is new."""

    def __init__(self, threads: int | None = None) -> None:
        """Find the engine, to use `threads` or `usable_threads`, eight at most. Raises OcrUnavailable."""
        self._threads = threads
        self._models: _Models | None = None
        self._identity = identity()

    @property
    def identity(self) -> str:
        """See `identity`."""
        return self._identity

    @property
    def name(self) -> str:
        """Engine and version."""
        return self._identity.partition("+")[0]

    def read(self, image: Pixels) -> PageText:
        """Return the text of a page in reading order. Raises OcrError."""
        if self._models is None:
            self._models = _Models(min(self._threads or usable_threads(), MAX_THREADS))
        return self._models.read(image)


def _quad(box: Any, back: tuple[float, float]) -> Quad:
    first, second, third, fourth = ((float(x) * back[0], float(y) * back[1]) for x, y in box)
    return (first, second, third, fourth)


def _readable(quad: Quad) -> bool:
    sides = sorted((math.dist(quad[0], quad[1]), math.dist(quad[0], quad[3])))
    return sides[0] >= LEAST_LINE and sides[1] <= LONGEST_LINE * sides[0]


def _cut(image: Pixels, quad: Quad) -> Pixels:
    """The piece of the page within the corners, straightened; one that stands is laid down."""
    import cv2

    width = max(1, round(max(math.dist(quad[0], quad[1]), math.dist(quad[3], quad[2]))))
    height = max(1, round(max(math.dist(quad[0], quad[3]), math.dist(quad[1], quad[2]))))
    target = np.array([(0, 0), (width, 0), (width, height), (0, height)], dtype=np.float32)
    matrix = cv2.getPerspectiveTransform(np.array(quad, dtype=np.float32), target)
    piece = cv2.warpPerspective(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.ascontiguousarray(np.rot90(piece) if tall(quad) else piece)
