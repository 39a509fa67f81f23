"""Container images of the operator and of the workloads, built without a container engine.

Used by `python -m gradatim.platform.images` (`make images`), by the node cluster and by the end-to-end tests. The Dockerfiles in
`operators/` and `pipelines/` make the same images for those who have Docker; a test holds both to the constants of `catalog`.
Nothing here needs a daemon, and nothing here pushes to a registry.
"""

from gradatim.platform.images.build import Built, Options, Workshop, build
from gradatim.platform.images.catalog import IMAGES, Image, reference
from gradatim.platform.images.containerd import load
from gradatim.platform.images.errors import ImageError

__all__ = ["IMAGES", "Built", "Image", "ImageError", "Options", "Workshop", "build", "load", "reference"]
