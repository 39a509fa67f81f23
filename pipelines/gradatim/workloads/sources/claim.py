"""Files on a volume claim, which the runtime mounts at a fixed place: the `persistentVolumeClaim` source.

The mount itself is the permission: a pod has only claims of its own namespace. Reading works as for folders.
"""

from __future__ import annotations

from pathlib import Path

from gradatim.api.common import ClaimSource
from gradatim.workloads.sources.base import Listing, not_allowed, unreachable
from gradatim.workloads.sources.path import list_folder

CLAIMS_ROOT = Path("/mnt/gradatim/claims")


def list_claim(source: str, claim: ClaimSource, limit: int, root: Path = CLAIMS_ROOT) -> Listing:
    """List the files below `subPath` of a mounted claim."""
    mount = root / claim.claim_name
    if not mount.is_dir():
        raise unreachable(source, f"volume claim {claim.claim_name} is not mounted in this run", transient=False)
    sub = claim.sub_path or ""
    real = (mount / sub).resolve()
    if ".." in Path(sub).parts or not real.is_relative_to(mount.resolve()):
        raise not_allowed(source, f"subPath {sub} leads out of the claim")
    return list_folder(source, real, limit)
