"""The release that is installed, for `gradatim version` and the User-Agent header."""

from __future__ import annotations


def release() -> str:
    """Return the installed version of the distribution, or `unknown` when it runs from bare files."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gradatim")
    except PackageNotFoundError:
        return "unknown"


FIELD_OWNER = "gradatim-cli"
