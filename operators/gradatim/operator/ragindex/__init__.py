"""The kind RAGIndex: observe, plan, status."""

from gradatim.operator.ragindex.reconcile import reconcile

__all__ = ["reconcile"]
