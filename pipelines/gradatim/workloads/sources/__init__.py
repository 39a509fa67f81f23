"""Sources of files: folders, claims, object stores, Git, HTTP, a Hugging Face hub and other Datasets.

Both workloads list a source with `Sources.list` and read its files as `SourceFile`. Every listing is bound to the Run (`resolved.json`), so
that all attempts and stages see the same files. Limits and addresses are checked here and nowhere later.
"""

from gradatim.workloads.sources.access import Sources, list_documents
from gradatim.workloads.sources.base import FileRejected, Listing, Skipped, SourceFile

__all__ = ["FileRejected", "Listing", "Skipped", "SourceFile", "Sources", "list_documents"]
