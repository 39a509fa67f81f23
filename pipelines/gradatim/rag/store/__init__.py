"""Weaviate collections: connect, create, load, count and describe.

The index workload writes through this package, the retriever reads. `connection` is the only module that opens a socket and that knows
Weaviate's exceptions; `manifest`, `schema`, `rows` and `diff` are pure. No caller sees an error of another family.
"""
