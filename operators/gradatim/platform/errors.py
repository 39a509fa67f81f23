"""Everything that can go wrong with the local platform, as one family.

Raised by this package, shown as they are by the command line: every message says what happened and what to do next.
Must not hold secrets: messages end up in terminals and bug reports.
"""


class PlatformError(Exception):
    """Base of all errors of the local platform."""


class BinaryError(PlatformError):
    """A component's program cannot be had from any place."""


class DownloadError(BinaryError):
    """An official release could not be fetched, or is not what was pinned."""


class BuildError(BinaryError):
    """A component could not be compiled from its pinned Go module."""


class StateError(PlatformError):
    """The state folder cannot be used: damaged, locked for too long, or not ours."""


class StartError(PlatformError):
    """A component did not become healthy."""


class BootstrapError(PlatformError):
    """The API server refused something the platform needs."""
