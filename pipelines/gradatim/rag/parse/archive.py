"""Refuses zip archives that would unpack to far more than they hold.

Called before a docx file is opened. It reads only the central directory; `zipfile` later stops at the sizes declared there, so a directory
that lies gives a checksum error and not more memory.
"""

from __future__ import annotations

import io
import zipfile

from gradatim.rag.parse.types import ParseError, ParseOptions, Reason

SMALL = 1024 * 1024  # below this any ratio is harmless: empty styles compress a thousandfold


def check_archive(data: bytes, name: str, options: ParseOptions) -> frozenset[str]:
    """Member names of a safe archive. Raises ParseError(ZipBomb) by count, size or ratio, (Broken) if it is no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OverflowError, EOFError, NotImplementedError, UnicodeError) as error:
        raise ParseError(Reason.BROKEN, f"is not a readable archive: {error}; check the download", file=name) from error
    if len(members) > options.zip_max_entries:
        raise ParseError(Reason.ZIP_BOMB, f"holds {len(members)} entries; refused", file=name)
    unpacked = sum(member.file_size for member in members)
    if unpacked > options.zip_max_bytes:
        message = f"unpacks to {unpacked} bytes, more than {options.zip_max_bytes}; refused"
        raise ParseError(Reason.ZIP_BOMB, message, file=name)
    for member in members:
        if member.file_size > SMALL and member.file_size > options.zip_max_ratio * max(1, member.compress_size):
            message = (
                f"entry {member.filename!r} unpacks to {member.file_size} bytes from {member.compress_size}; refused"
            )
            raise ParseError(Reason.ZIP_BOMB, message, file=name)
    if unpacked > SMALL and unpacked > options.zip_max_ratio * len(data):
        # Entries may overlap in the file: each looks harmless, together they unpack to more than the file can hold.
        raise ParseError(Reason.ZIP_BOMB, f"unpacks to {unpacked} bytes from {len(data)}; refused", file=name)
    return frozenset(member.filename for member in members)
