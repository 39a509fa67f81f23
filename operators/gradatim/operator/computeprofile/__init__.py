"""The kind ComputeProfile: probe every dependency and say which one is down."""

from gradatim.operator.computeprofile.reconcile import reconcile

__all__ = ["reconcile"]
