"""Turns bytes into text and says how much of it could not be read.

Called by the text, Markdown, HTML and csv parsers. Order: byte order mark, UTF-16 pattern of zero bytes, strict UTF-8, damaged UTF-8,
then Windows-1252 as browsers read Latin-1. Binary files, and text in another script, are refused rather than indexed as noise.
`joined_pairs` is for text that came by another way: from escapes, or out of a PDF.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from gradatim.rag.parse.types import ParseError, ParseOptions, Reason

REPLACEMENT = "\ufffd"
SAMPLE = 64 * 1024
BINARY_SHARE = 0.05
# Of the letters; French has 0.19 and Polish, read as Windows-1252, 0.22; Japanese in Shift JIS 0.85, Russian, Greek and Chinese 1.0.
OTHER_SCRIPT_SHARE = 0.4
OTHER_SCRIPT_LETTERS = 32  # fewer say nothing: a short table may hold nothing but `à`

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark starts with the UTF-16 one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Python calls these text encodings too: escapes and spellings of other texts, which raise or give halves of surrogate pairs.
_NO_TEXT = frozenset({"idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})
_UNDEFINED = frozenset(b"\x81\x8d\x8f\x90\x9d")  # bytes that mean nothing in Windows-1252
_NEWLINES = re.compile(r"\r\n?")
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text with `\\n` line ends, the encoding used, and the share of characters replaced because they could not be read.

    `guessed`: it is Windows-1252 because nothing else fitted.
    """

    text: str
    encoding: str
    replacement_ratio: float
    guessed: bool = False


def decode(data: bytes, name: str, options: ParseOptions) -> Decoded:
    """Decode `data`; raises ParseError(Encoding) for binary content, an unknown encoding or too many unreadable characters.

    Nothing fails as Windows-1252, so text in another script is told by its letters; one in a Latin script, say cp1250, cannot be told.
    """
    encoding = options.encoding or detect(data)
    # A character the author wrote as U+FFFD was lost before us, but is just as unreadable: both count.
    try:
        text = _cp1252(data) if encoding == "windows-1252" else data.decode(_checked(encoding), "replace")
    except (LookupError, ValueError) as error:  # a codec may raise UnicodeError whatever it is told to do about errors
        message = f"unknown encoding {encoding!r}; use the Python codec name of a text encoding"
        raise ParseError(Reason.ENCODING, message, file=name) from error
    ratio = text.count(REPLACEMENT) / len(text) if text else 0.0
    if ratio > options.max_replacement_ratio:
        message = f"{ratio:.1%} of the characters cannot be read as {encoding}; set the encoding or convert the file"
        raise ParseError(Reason.ENCODING, message, file=name)
    head = text[:SAMPLE]
    if len(_CONTROLS.findall(head)) > BINARY_SHARE * len(head):
        raise ParseError(Reason.ENCODING, "looks like a binary file, not text; remove it or set its format", file=name)
    guessed = encoding == "windows-1252" and not options.encoding
    if guessed:
        if not _UNDEFINED.isdisjoint(data):
            raise _unknown(name)
        refuse_other_scripts(text, name)
    return Decoded(_NEWLINES.sub("\n", text), encoding, ratio, guessed)


def refuse_other_scripts(text: str, name: str) -> None:
    """Raise ParseError(Encoding) where text that was guessed to be Windows-1252 has more accents than a Latin script has."""
    letters = [char for char in text[:SAMPLE] if char.isalpha()]
    others = sum(1 for char in letters if not char.isascii())
    if len(letters) >= OTHER_SCRIPT_LETTERS and others > OTHER_SCRIPT_SHARE * len(letters):
        raise _unknown(name)


def _unknown(name: str) -> ParseError:
    message = "is neither UTF-8 nor UTF-16 nor Western text; convert it to UTF-8"
    return ParseError(Reason.ENCODING, message, file=name)


def detect(data: bytes) -> str:
    """Name of the encoding of `data`, never failing: Windows-1252 when nothing better fits."""
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return encoding
    wide = _utf16_without_mark(data[:SAMPLE])
    if wide:
        return wide
    try:
        data.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        return "utf-8" if _mostly_utf8(data) else "windows-1252"


def joined_pairs(text: str) -> str:
    """Text whose surrogate pairs are single characters; half a pair, which no encoding can write, becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _checked(encoding: str) -> str:
    """The same name; raises LookupError where Python has no such codec, or none for text."""
    if codecs.lookup(encoding).name.replace("_", "-") in _NO_TEXT:
        raise LookupError(f"{encoding} is not an encoding of text")
    return encoding


def _utf16_without_mark(head: bytes) -> str:
    """UTF-16 text in a Western script has a zero in every second byte; anything else has none."""
    pairs = len(head) // 2
    if pairs < 2:
        return ""
    even, odd = head[0 : pairs * 2 : 2].count(0), head[1 : pairs * 2 : 2].count(0)
    if odd > 0.4 * pairs and even < 0.05 * pairs:
        return "utf-16-le"
    if even > 0.4 * pairs and odd < 0.05 * pairs:
        return "utf-16-be"
    return ""


def _mostly_utf8(data: bytes) -> bool:
    """True when well-formed multi-byte sequences outnumber broken ones: a damaged UTF-8 file, not a Latin-1 one.

    Looks at all of it: many a long English text has its first curly quote late.
    """
    text = data.decode("utf-8", "replace")
    broken = text.count(REPLACEMENT)
    good = len(text) - len(text.encode("ascii", "ignore")) - broken
    return good > broken


def _cp1252(data: bytes) -> str:
    """Windows-1252 with its five undefined bytes read as Latin-1, as the WHATWG encoding standard does."""
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        table = "".join(bytes([i]).decode("cp1252", "ignore") or chr(i) for i in range(256))
        return codecs.charmap_decode(data, "strict", table)[0]
