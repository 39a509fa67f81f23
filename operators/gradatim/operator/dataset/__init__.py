"""The kind Dataset: observe, plan, status. One folder of the shape that every kind has."""

from gradatim.operator.dataset.reconcile import reconcile

__all__ = ["reconcile"]
