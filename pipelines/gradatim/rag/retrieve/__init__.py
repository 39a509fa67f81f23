"""Retrieval from a live index: filters, hybrid search, rerank, diversity, recency, parents, order of the context.

Used by the index workload's evaluation, `gradatim index query`, the SDK and serving. `retriever` and `search` talk to the store;
`filters`, `plan`, `candidates`, `diversity`, `recency`, `order` and `parents` are pure.
"""
