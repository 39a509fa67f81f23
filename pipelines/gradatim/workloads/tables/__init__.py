"""Rows: reading files into tables, dropping duplicates, sampling, splitting, and writing the content-addressed result.

Used by the `validate` workload. Everything here is a function of its input: the same files and settings give the same rows, order and digest.
"""
