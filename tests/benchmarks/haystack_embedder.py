"""The Haystack component of the ingestion benchmark: SentenceTransformersDocumentEmbedder's `run`, without progress bar and prefixes.

That embedder left haystack-ai for a package of its own. Imported by `ingestion_systems` when Haystack is loaded; nothing else may import it,
because the peers are an optional dependency. Annotations are not postponed here: the decorators read them.
"""

from dataclasses import replace
from typing import Any

from haystack import Document, component


@component
class MiniLMDocumentEmbedder:
    """Embeds all documents of a run in one `encode` call, as the original does."""

    def __init__(self, model: Any, batch_size: int = 32) -> None:
        self.model = model
        self.batch_size = batch_size

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, list[Document]]:
        """Return the documents with embeddings."""
        texts = [document.content or "" for document in documents]
        vectors = self.model.encode(texts, batch_size=self.batch_size, show_progress_bar=False).tolist()
        return {"documents": [replace(document, embedding=v) for document, v in zip(documents, vectors, strict=True)]}
