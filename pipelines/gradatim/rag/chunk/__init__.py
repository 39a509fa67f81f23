"""Five chunkers with exact character offsets, stable ids and strict token limits.

The index workload calls `chunk_document`; the benchmark and the metrics read the offsets. Everything is deterministic and linear in the
length of the text. Nothing here loads a model: `semantic` gets its encoder as a function.
"""

from gradatim.rag.chunk.chunker import ChunkedDocument, chunk_document
from gradatim.rag.chunk.options import ChunkOptions, ChunkOptionsError, Strategy
from gradatim.rag.chunk.tokens import HfTokenizer, Tokenizer, TokenizerError

__all__ = [
    "ChunkOptions", "ChunkOptionsError", "ChunkedDocument", "HfTokenizer", "Strategy", "Tokenizer", "TokenizerError",
    "chunk_document",
]  # fmt: skip
