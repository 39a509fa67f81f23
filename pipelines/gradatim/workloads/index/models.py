"""Brings the Run's models to this machine and says what the build must know about them, without loading any.

Called while resolving: an index that did not change never loads its encoder. A `file:` model must lie below an allowed root of the profile.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer

from gradatim.api.common import ModelRef
from gradatim.api.ragindex import Embedding, RAGIndexSpec
from gradatim.api.reasons import Reason
from gradatim.api.runstatus import Failure
from gradatim.rag.chunk.tokens import HfTokenizer
from gradatim.rag.embed.files import read_model
from gradatim.rag.embed.load import Access, load_model
from gradatim.rag.embed.options import EncoderError, ModelRefused, ModelUnreachable
from gradatim.rag.retrieve.shelf import ModelShelf
from gradatim.rag.store.manifest import EncoderInfo
from gradatim.workloads.context import RunContext
from gradatim.workloads.errors import WorkloadError
from gradatim.workloads.index.settings import IndexSettings
from gradatim.workloads.index.weights import ModelAt
from gradatim.workloads.sources.access import hub_address, s3_keys
from gradatim.workloads.sources.gateway import Gateway
from gradatim.workloads.sources.guard import check_url
from gradatim.workloads.sources.s3 import AMAZON, open_s3

log = logging.getLogger("gradatim.workloads")

_ON_NODES = ("file:", "package:")


@dataclass(frozen=True, slots=True)
class RunModels:
    """The Run's models on this machine. `digest` is the encoder's, with prefixes and normalisation; `text_tokens` is what it reads at most."""

    encoder: ModelAt
    digest: str
    tokenizer_digest: str
    text_tokens: int
    shelf: ModelShelf

    def info(self, embedding: Embedding, dimension: int) -> EncoderInfo:
        """Return what the manifest says about the encoder."""
        return EncoderInfo(
            uri=embedding.model.uri,
            digest=self.digest,
            dimension=dimension,
            normalize=embedding.normalize,
            prefix=embedding.prefix,
            precision=embedding.precision,
        )


def fetch_models(ctx: RunContext, spec: RAGIndexSpec, stack: ExitStack) -> RunModels:
    """Fetch the encoder, and the reranker where there is one. Raises WorkloadError with the field's name."""
    cache = Path(
        stack.enter_context(tempfile.TemporaryDirectory(prefix="gradatim-models-", ignore_cleanup_errors=True))
    )
    embedding = spec.embedding
    folder = _fetch(ctx, embedding.model, "embedding.model", cache)
    if spec.retrieval.rerank is not None:
        _fetch(ctx, spec.retrieval.rerank.model, "retrieval.rerank.model", cache)
    try:
        files = read_model(folder)
        tokenizer = HfTokenizer(files.transformer)
    except EncoderError as error:
        raise _not_found(f"embedding.model {embedding.model.uri}: {error}") from error
    return RunModels(
        encoder=ModelAt.of(files, everywhere=embedding.model.uri.startswith(_ON_NODES)),
        digest=_fingerprint(files.digest, embedding),
        tokenizer_digest=tokenizer.digest,
        text_tokens=files.max_tokens - _around(files.transformer, embedding.prefix.document),
        shelf=ModelShelf(cache),
    )


def _around(transformer: Path, prefix: str) -> int:
    """How many tokens of every input are not the text's: special ones and the prefix."""
    tokenizer = Tokenizer.from_file(str(transformer / "tokenizer.json"))
    # A file may ask for padding to a fixed length: that would count as text.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return len(tokenizer.encode(prefix).ids)


def _fingerprint(digest: str, embedding: Embedding) -> str:
    """The encoder's own formula; the worker compares it with the loaded encoder's."""
    parts = [digest, embedding.normalize, embedding.prefix.query, embedding.prefix.document]
    return "sha256:" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def fitted(settings: IndexSettings, models: RunModels) -> IndexSettings:
    """Return the settings with chunks no longer than the encoder reads: what lies beyond would be in no vector."""
    most = models.text_tokens
    if settings.chunk.max_tokens <= most:
        return settings
    log.info(
        "chunks get %d tokens at most instead of maxTokens %d: the encoder reads no more at once, so longer chunks would have an end that"
        " no search finds; no text is lost, there are only more chunks",
        most,
        settings.chunk.max_tokens,
    )
    overlap = min(settings.chunk.overlap_tokens, most // 2)
    return replace(settings, chunk=replace(settings.chunk, max_tokens=most, overlap_tokens=overlap))


def _fetch(ctx: RunContext, model: ModelRef, field: str, cache: Path) -> Path:
    uri = model.uri
    scheme, _, rest = uri.partition("://")
    if scheme == "file":
        roots = ctx.config.limits.allowed_source_roots
        if not any(Path(rest).resolve().is_relative_to(Path(root).resolve()) for root in roots):
            where = ", ".join(roots) or "none"
            text = f"{field} {uri} does not lie below an allowed root of the profile ({where})"
            raise WorkloadError(Failure.USER, Reason.SOURCE_NOT_ALLOWED, text)
    access, gateway = _access(ctx, model, field, scheme)
    try:
        return load_model(uri, cache, access)
    except EncoderError as error:
        if gateway is not None and gateway.trouble is not None:
            raise gateway.trouble from error
        raise _mapped(f"{field} {error}", error) from error


def _mapped(text: str, error: EncoderError) -> WorkloadError:
    if isinstance(error, ModelUnreachable):
        return WorkloadError(Failure.DEPENDENCY, Reason.SOURCE_UNREACHABLE, text)
    if isinstance(error, ModelRefused):
        return WorkloadError(Failure.USER, Reason.CREDENTIALS_REFUSED, text)
    return _not_found(text)


def _access(ctx: RunContext, model: ModelRef, field: str, scheme: str) -> tuple[Access, Gateway | None]:
    """With what the model is fetched, and on which way: its own Secret or nothing, never the identity of the machine."""
    if scheme == "s3":
        if set(model.uri) & set("?#@"):
            text = (
                f"{field}: the uri of an s3 model holds more than bucket and path; use endpoint, region and secretRef"
            )
            raise WorkloadError(Failure.USER, Reason.INVALID_SPEC, text)
        host = AMAZON
        private = ctx.config.limits.allow_private_networks
        if model.endpoint:
            host = check_url(field, model.endpoint, allow_private=private).authority
        keys = s3_keys(ctx, model.secret_ref, host)
        store, gateway = open_s3(field, model, keys, allow_private=private)
        return Access(store=store), gateway
    if scheme == "hf":
        hub, host = hub_address()
        token = "" if model.secret_ref is None else ctx.secret(model.secret_ref.name, "token", host)
        return Access(hub=hub, token=token), None
    return Access(), None


def _not_found(text: str) -> WorkloadError:
    return WorkloadError(Failure.USER, Reason.MODEL_NOT_FOUND, text)
