"""The stages of the index workload, in order.

Read `build_index` from top to bottom: resolve, parse, validate, chunk, embed, write, load, evaluate; or a version that was lost is loaded again,
and nothing else. Every stage may be cut off at any moment; another attempt continues from the checkpoints, another Run from those that still
apply and from the previous version's artifact. The alias is never touched here: the operator switches it after its gates.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from gradatim.api.ragindex import RAGIndexSpec
from gradatim.api.run import IndexOutput, RunResult, canonical_digest
from gradatim.api.runstatus import Metrics
from gradatim.rag.ocr import OnPage
from gradatim.rag.store.address import VectorStoreAddress
from gradatim.workloads.context import RunContext
from gradatim.workloads.executor import Executor, open_executor
from gradatim.workloads.index.adopting import Adopted, Wanted, open_adopted
from gradatim.workloads.index.artifact import Artifact, ArtifactManifest, version_path
from gradatim.workloads.index.build import Build, Digests
from gradatim.workloads.index.checkpoints import drop_checkpoints
from gradatim.workloads.index.chunking import Chunked, chunk_documents
from gradatim.workloads.index.embedding import Embedded, embed_chunks
from gradatim.workloads.index.evaluating import QuestionList, evaluate, list_questions, locate
from gradatim.workloads.index.failures import rag_failures
from gradatim.workloads.index.identity import chunk_digest, parse_digest, resolved_digest
from gradatim.workloads.index.judging import Judgement, judge_documents, reason_counts
from gradatim.workloads.index.models import RunModels, fetch_models, fitted
from gradatim.workloads.index.parsing import parse_files
from gradatim.workloads.index.previous import Previous
from gradatim.workloads.index.publishing import publish, publish_documents, retrieval_manifest
from gradatim.workloads.index.resolve import Resolved, resolve_sources
from gradatim.workloads.index.restoring import restored
from gradatim.workloads.index.settings import IndexSettings, inputs_of, settings_of
from gradatim.workloads.index.unchanged import unchanged_output
from gradatim.workloads.index.vectorstore import vector_store
from gradatim.workloads.index.worker import Recipe, Worker
from gradatim.workloads.sources import Sources


def build_index(ctx: RunContext) -> RunResult:
    """Build the index of a RunConfig. Raises WorkloadError with its failure class, or StopRequested."""
    with rag_failures(), ExitStack() as stack:
        address = vector_store(ctx)
        loaded = restored(ctx, address)
        if loaded is not None:
            return loaded
        spec, wanted = settings_of(ctx.config)
        ctx.stage("resolve")
        models = fetch_models(ctx, spec, stack)
        settings = fitted(wanted, models)
        sources = stack.enter_context(Sources(ctx))
        questions = list_questions(spec, sources)
        resolved = resolve_sources(ctx, spec.sources, sources)
        digests = digests_of(ctx, spec, settings, models, resolved)
        found = unchanged_output(ctx, address, digests.resolved, questions.digest)
        if found is not None:
            drop_checkpoints(ctx)
            return ctx.result("Unchanged", message="nothing changed since the active version was built", index=found)
        previous = Previous.open(ctx.store, inputs_of(ctx.config).previous)
        recipe = Recipe(settings, models.encoder, models.digest)
        # A worker of another process cannot tell about its pages: there the progress moves by files.
        watch = page_watch(ctx) if spec.compute.workers == 1 else None
        executor = stack.enter_context(open_executor(partial(Worker, recipe, on_page=watch), spec.compute.workers, ctx))
        adopted = adopt(ctx, spec, models, executor)
        build = Build(ctx, spec, settings, models, digests, previous, adopted, executor)
        made = make_artifact(build, resolved)
        collection, metrics = serve_artifact(build, made, address, questions)
        drop_checkpoints(ctx)
        return ctx.result(
            "Succeeded",
            message=f"{made.chunked.chunks} chunks of {made.chunked.documents} documents in {collection}{_lent(made)}",
            index=_output(build, made, collection, metrics),
            validation=made.judgement.summary,
            rejections=reason_counts(made.judgement.rejections),
        )


def adopt(ctx: RunContext, spec: RAGIndexSpec, models: RunModels, executor: Executor) -> Adopted | None:
    """Open what the config says is adopted. Raises WorkloadError User/AdoptionFailed before anything is spent in vain."""
    uid = inputs_of(ctx.config).adopt_from
    if uid is None:
        return None
    # The encoder says how long its vectors are, not the files that are to be checked.
    dimension = int(next(executor.map("dimension", [None])))
    return open_adopted(ctx, uid, Wanted(models.digest, dimension, spec.embedding.normalize))


def page_watch(ctx: RunContext) -> OnPage:
    """Return what shows each page that is recognised and honours a request to stop: a book of scans takes hours."""

    def watch(file: str, page: int, pages: int) -> None:
        ctx.check_stop()
        ctx.note(f"recognising {file} page {page} of {pages}")

    return watch


def digests_of(
    ctx: RunContext, spec: RAGIndexSpec, settings: IndexSettings, models: RunModels, resolved: Resolved
) -> Digests:
    """Return the digests that are known before anything is parsed."""
    parse = parse_digest(spec, settings.parse.digest())
    chunk = chunk_digest(spec, settings.chunk.digest(models.tokenizer_digest, models.digest))
    suite = canonical_digest(ctx.config.suite.document) if ctx.config.suite is not None else ""
    files = [file.identity for file in resolved.files]
    return Digests(parse, chunk, resolved_digest(files, spec, [parse, chunk, models.digest, suite]))


@dataclass(frozen=True, slots=True)
class Made:
    """A finished artifact and what it took."""

    artifact: Artifact
    manifest: ArtifactManifest
    judgement: Judgement
    chunked: Chunked
    embedded: Embedded


def make_artifact(build: Build, resolved: Resolved) -> Made:
    """Parse, judge, chunk, embed and write: everything that needs no vector store."""
    ctx, digests = build.ctx, build.digests
    files = [piece for file in resolved.files for piece in file.pieces()]
    ctx.stage("parse", len(files))
    parsed = parse_files(build, files, resolved.rejections)
    ctx.stage("validate")
    judgement = judge_documents(build, parsed)
    ctx.stage("chunk", len(parsed.parts))
    chunked = chunk_documents(build, parsed.parts, judgement)
    artifact = Artifact(ctx.store, version_path(ctx.config.object_path, chunked.digest))
    finished = artifact.finished(chunked.digest)
    ctx.stage("embed", chunked.chunks)
    embedded = embed_chunks(build, chunked.parts, artifact if finished else None)
    if finished is not None:  # by an earlier attempt or Run, which knew where the vectors came from
        lender, lent = finished.adopted_from, finished.adopted
    else:
        lender, lent = build.adopted.uid if build.adopted is not None else None, embedded.adopted
    ctx.stage("write", len(chunked.parts))
    manifest = ArtifactManifest(
        digest=chunked.digest,
        resolved_digest=digests.resolved,
        parse_digest=digests.parse,
        chunk_digest=digests.chunk,
        encoder_digest=build.models.digest,
        dimension=embedded.dimension,
        files=len(resolved.files),
        documents=chunked.documents,
        chunks=chunked.chunks,
        rejected=len(judgement.rejections),
        adopted_from=lender,
        adopted=lent,
        retrieval=retrieval_manifest(build, chunked, artifact, embedded.dimension),
    )
    if finished is None:
        publish_documents(build, artifact, parsed.parts, judgement.rejected, list(judgement.rejections))
        publish(build, artifact, manifest, embedded, chunked)
    return Made(artifact, manifest, judgement, chunked, embedded)


def serve_artifact(
    build: Build, made: Made, address: VectorStoreAddress, questions: QuestionList
) -> tuple[str, Metrics]:
    """Load a collection, count it, and measure retrieval on it as clients will query it; returns collection and metrics."""
    # The store's client: an index that did not change never gets here, and importing it would be most of its time.
    from gradatim.rag.store.connection import connected
    from gradatim.workloads.index.loading import choose_target, load, open_writer

    ctx, manifest = build.ctx, made.manifest.retrieval
    located = locate(build, made.artifact, questions, made.chunked.tenants)
    with connected(address) as client:
        collection = choose_target(build, made.chunked.digest, client)
        ctx.stage("load", made.chunked.chunks)
        load(ctx, open_writer(ctx, client, collection, manifest), manifest, made.artifact, made.chunked.tenants)
        if questions.digest is None:
            return collection, []
        ctx.stage("evaluate", questions.count)
        from gradatim.rag.retrieve.retriever import Retriever

        retriever = Retriever(client, collection, build.models.shelf.models())
        return collection, evaluate(build, made.artifact, retriever, questions, located)


def _lent(made: Made) -> str:
    lent = made.manifest.adopted
    return f", {lent} with vectors of {made.manifest.adopted_from}" if lent else ""


def _is_lender(build: Build, manifest: ArtifactManifest) -> bool:
    return build.adopted is not None and manifest.adopted_from == build.adopted.uid


def _output(build: Build, made: Made, collection: str, metrics: Metrics) -> IndexOutput:
    return IndexOutput(
        digest=made.chunked.digest,
        resolved_digest=build.digests.resolved,
        uri=made.artifact.uri,
        collection=collection,
        encoder_digest=build.models.digest,
        documents=made.chunked.documents,
        chunks=made.chunked.chunks,
        rejected=len(made.judgement.rejections),
        reused_vectors=made.embedded.reused,
        adopted_vectors=made.manifest.adopted if _is_lender(build, made.manifest) else 0,
        embedded=made.embedded.texts,
        metrics=metrics,
    )
