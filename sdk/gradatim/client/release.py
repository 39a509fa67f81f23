"""The release that is installed, for `gradatim version` and the User-Agent header."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """Return the installed version of the distribution, or `unknown` when it runs from bare files."""
    try:
        return version("gradatim")
    except PackageNotFoundError:
        return "unknown"


FIELD_OWNER = "gradatim-cli"
USER_AGENT = f"{FIELD_OWNER}/{release()}"
