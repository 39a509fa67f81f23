"""The typed API of Gradatim: what a manifest may say and what the two planes tell each other.

Everything else imports this package; it imports nothing of ours, no Kubernetes client and no data library, so that types, client and
command line stay a small install.
"""

from gradatim.api.computeprofile import ComputeProfile, ComputeProfileSpec, ComputeProfileStatus
from gradatim.api.dataset import Dataset, DatasetSpec, DatasetStatus
from gradatim.api.kinds import KINDS, Kind, kind_of
from gradatim.api.meta import GROUP, VERSION, Condition, ObjectMeta
from gradatim.api.ragindex import RAGIndex, RAGIndexSpec, RAGIndexStatus

__all__ = [
    "GROUP",
    "KINDS",
    "VERSION",
    "ComputeProfile",
    "ComputeProfileSpec",
    "ComputeProfileStatus",
    "Condition",
    "Dataset",
    "DatasetSpec",
    "DatasetStatus",
    "Kind",
    "ObjectMeta",
    "RAGIndex",
    "RAGIndexSpec",
    "RAGIndexStatus",
    "kind_of",
]
