"""What can go wrong while images are built, read or handed to containerd.

Every message says what to do next; the command line shows it as it is.
"""

from gradatim.platform.errors import PlatformError


class ImageError(PlatformError):
    """An image cannot be built, read or loaded."""
