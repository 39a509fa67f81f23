"""How an index is searched by default: mode, fusion, reranking, diversity, recency.

Parts of the spec of `RAGIndex`, which `ragindex` puts together and exports. They change no artifact, so that changing one builds nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from gradatim.api.base import ApiModel, FieldName, rules
from gradatim.api.common import ModelRef


class Rerank(ApiModel):
    """A cross-encoder that orders the best candidates again."""

    model: ModelRef
    top_n: Annotated[int, Field(ge=1, le=200, strict=True)] = Field(
        default=8, description="Results that the model orders and returns."
    )


class Diversity(ApiModel):
    """Maximal marginal relevance: 1 is relevance alone."""

    mmr_lambda: Annotated[float, Field(ge=0, le=1, strict=True)] = Field(
        default=0.7, description="Weight of relevance against likeness to what is already chosen."
    )


class Recency(ApiModel):
    """Scores halve every `halfLifeDays` of the date field."""

    half_life_days: Annotated[float, Field(gt=0, le=100_000, strict=True)] = Field(
        default=180, description="Days after which a score counts half."
    )
    field: FieldName = Field(description="A date field of schema.metadata.")


class Retrieval(ApiModel):
    """Default retrieval of this index, used by evaluation, queries and serving."""

    model_config = ConfigDict(
        json_schema_extra=rules(("self.candidates >= self.topK", "candidates must be at least topK"))
    )
    mode: Literal["hybrid", "vector", "keyword"] = Field(default="hybrid", description="What is searched.")
    alpha: Annotated[float, Field(ge=0, le=1, strict=True)] = Field(
        default=0.5, description="1 is vector alone, 0 is keyword alone."
    )
    fusion: Literal["relativeScore", "ranked"] = Field(
        default="relativeScore", description="How the two result lists become one: by scaled scores or by ranks."
    )
    top_k: Annotated[int, Field(ge=1, le=200, strict=True)] = Field(default=8, description="Results of a query.")
    candidates: Annotated[int, Field(ge=1, le=1000, strict=True)] = Field(
        default=50, description="Results of the search before reranking and diversity; at least topK."
    )
    rerank: Rerank | None = None
    diversity: Diversity | None = None
    recency: Recency | None = None
    ordering: Literal["edges", "score"] = Field(
        default="score", description="edges puts the best results at both ends, where models read best."
    )

    @model_validator(mode="after")
    def _counts(self) -> Retrieval:
        if self.candidates < self.top_k:
            raise ValueError("candidates must be at least topK")
        return self
