"""Retrieval library: parse, chunk, embed, store, retrieve and measure.

The index workload and serving call it; nothing here knows Kubernetes, Ray or the operator. Import the sub-module that is needed:
this package imports nothing by itself, so that reading metrics does not load torch.
"""
