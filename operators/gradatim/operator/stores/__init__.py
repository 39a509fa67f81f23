"""The artifact store and the vector store as the operator sees them.

Used by the kinds' observe steps, by clean-up and by probes. What they return was written by workloads and is untrusted: bounded, below
the root only, strictly parsed. An unreachable store means unknown, never absent.
"""
