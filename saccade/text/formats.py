"""What the first bytes of a file say about it: how it is compressed, or why it is no text that can be read.

Magic numbers decide, never names. Text is UTF-8; of other encodings, those that can be recognised for certain
are named, with the command that converts them.
"""

import codecs
import re
import unicodedata
from typing import Literal, NamedTuple

Compression = Literal["gzip", "xz", "bzip2", "Zstandard"]

HEAD = 1 << 16
"""Number of bytes that are looked at, at most."""

_COMPRESSED: tuple[tuple[re.Pattern[bytes], Compression], ...] = (
    (re.compile(rb"\x1f\x8b"), "gzip"),
    (re.compile(rb"\xfd7zXZ\0"), "xz"),
    (re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"), "bzip2"),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), "Zstandard"),
)

_LONGEST_MAGIC = 10
_PARTS = re.compile(
    # A head that may become one of the magic numbers above when more of it is there.
    rb"\x1f|\xfd(?:7(?:z(?:X(?:Z)?)?)?)?|B(?:Z(?:h(?:[1-9][1A-Y&\x17rE8P]*)?)?)?|\x28(?:\xb5(?:\x2f)?)?"
    rb"|[\x50-\x5f](?:\x2a(?:\x4d)?)?|\xff(?:\xfe\0?)?|\xfe|\0(?:\0\xfe?)?"
)


class _Format(NamedTuple):
    pattern: re.Pattern[bytes]
    name: str
    advice: str


_UNPACK = "Unpack it first."
_EXPORT = "Save its text as plain text first."
_NO_TEXT = "Give a text file."

_REFUSED = (
    _Format(re.compile(rb"PK\x03\x04.*\[Content_Types\]\.xml", re.DOTALL), "an Office document", _EXPORT),
    _Format(re.compile(rb"PK\x03\x04.*opendocument", re.DOTALL), "an OpenDocument file", _EXPORT),
    _Format(re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08)"), "a zip archive", _UNPACK),
    _Format(re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7z archive", _UNPACK),
    _Format(re.compile(rb"Rar!\x1a\x07"), "a rar archive", _UNPACK),
    _Format(re.compile(rb".{257}ustar", re.DOTALL), "a tar archive", _UNPACK),
    _Format(re.compile(rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18"), "compressed (lz4)", _UNPACK),
    _Format(re.compile(rb"\x5d\0\0.{10}", re.DOTALL), "compressed (lzma)", _UNPACK),
    _Format(re.compile(rb"LZIP\x01"), "compressed (lzip)", _UNPACK),
    _Format(re.compile(rb"\x1f\x9d"), "compressed (compress, .Z)", _UNPACK),
    _Format(re.compile(rb"\x89LZO\0"), "compressed (lzop)", _UNPACK),
    _Format(re.compile(rb"\xff\x06\0\0sNaPpY"), "compressed (snappy)", _UNPACK),
    _Format(re.compile(rb"PAR[1E][\0-\x08\x0e-\x1f\x80-\xff]"), "a Parquet file", _EXPORT),
    _Format(re.compile(rb"(?:ARROW1|FEA1)\0"), "an Arrow file", _EXPORT),
    _Format(re.compile(rb"%PDF-"), "a PDF document", _EXPORT),
    _Format(re.compile(rb"\{\\rtf"), "an RTF document", _EXPORT),
    _Format(re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), "an Office document", _EXPORT),
    _Format(re.compile(rb"SQLite format 3\0"), "an SQLite database", _EXPORT),
    _Format(re.compile(rb"\x7fELF|MZ.*\0|[\xcf\xce]\xfa\xed\xfe", re.DOTALL), "a program", _NO_TEXT),
    _Format(re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8[79]a"), "a picture", _NO_TEXT),
    _Format(re.compile(rb"\x93NUMPY|\x89HDF\r\n|\x80[\x02-\x05]"), "binary data", _NO_TEXT),
    _Format(re.compile(rb".{5}\0\0\0\{\"", re.DOTALL), "a safetensors file", _NO_TEXT),
    _Format(
        re.compile(rb"version https://git-lfs\.github\.com/spec/"),
        "a Git LFS pointer, not the text that it stands for",
        "Run `git lfs pull` where it comes from.",
    ),
)

_BYTE_ORDER_MARKS = (
    # The longer ones first: UTF-32LE begins like UTF-16LE.
    (b"\xff\xfe\0\0", "UTF-32", "little-endian"),
    (b"\0\0\xfe\xff", "UTF-32", "big-endian"),
    (b"\xff\xfe", "UTF-16", "little-endian"),
    (b"\xfe\xff", "UTF-16", "big-endian"),
)
_WIDE = ("UTF-32LE", "UTF-32BE", "UTF-16LE", "UTF-16BE")
_LATIN_NULS = 0.2  # share of NUL bytes in UTF-16 that would be plain UTF-8 without them; about half
_FEW_NULS = 8  # and at least 1% of the bytes: binary data
_NUL_SHARE = 0.01
_FEW_RETURNS = 2  # and no line feed: the line ends of old Macs
_BAD_LINES = 5  # and at least 30% of the lines: another encoding
_BAD_SHARE = 0.3


def compression(head: bytes) -> Compression | None:
    """How a file with these first bytes is compressed, if Saccade can unpack it."""
    return next((name for pattern, name in _COMPRESSED if pattern.match(head)), None)


def undecided(head: bytes) -> bool:
    """Whether it takes more bytes to say how a file with these first bytes is compressed or encoded."""
    return len(head) < _LONGEST_MAGIC and _PARTS.fullmatch(head) is not None


def no_text(head: bytes) -> str | None:
    """What a file with these first bytes is, with advice, if it is not UTF-8 text; None if it may be.

    `{file}` in the advice stands for the name of the file.
    """
    for refused in _REFUSED:
        if refused.pattern.match(head):
            return f"{refused.name}. {refused.advice}"
    if compression(head) is not None:
        return f"compressed twice ({compression(head)} inside). Unpack it first."
    for mark, name, order in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return f"{name} ({order}), not UTF-8. {_converted(name)}"
    if encoding := _wide_encoding(head):
        return f"{encoding}, not UTF-8. {_converted(encoding)}"
    nuls = head.count(b"\0")
    if nuls >= _FEW_NULS and nuls >= _NUL_SHARE * len(head):
        return f"binary data ({nuls:,} of the first {len(head):,} bytes are NUL). {_NO_TEXT}"
    return _line_ends(head) or _eight_bits(head)


def _line_ends(head: bytes) -> str | None:
    if head.count(b"\r") < _FEW_RETURNS or b"\n" in head:
        return None
    return "text whose lines end in carriage returns alone. Convert it: tr '\\r' '\\n' < {file} > NEW"


def _converted(encoding: str) -> str:
    return f"Convert it: iconv -f {encoding} -t UTF-8 {{file}} > NEW"


def _wide_encoding(head: bytes) -> str | None:
    """The encoding without a byte order mark that the NUL bytes give away, if the result looks like text."""
    nuls = head.count(b"\0")
    accidents = _readable(head.replace(b"\0", b"")) and nuls < _LATIN_NULS * len(head)
    if nuls < 2 or accidents:
        return None
    for encoding in _WIDE:
        unit = 4 if encoding.startswith("UTF-32") else 2
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(head[: len(head) // unit * unit])
        except UnicodeDecodeError:
            continue
        if _looks_like_text(text):
            return encoding
    return None


def _readable(data: bytes) -> bool:
    """Whether bytes without NUL are UTF-8 without unusual control characters."""
    try:
        return re.search("[\x01-\x08\x0e-\x1f]", codecs.getincrementaldecoder("utf-8")().decode(data)) is None
    except UnicodeDecodeError:
        return False


def _looks_like_text(text: str) -> bool:
    kinds = {char: unicodedata.category(char) for char in set(text)}
    usual = all(kind not in ("Cc", "Cn", "Co") or char in "\t\n\v\f\r" for char, kind in kinds.items())
    return usual and any(char.isascii() for char in kinds) and not all(char.isspace() for char in kinds)


def _eight_bits(head: bytes) -> str | None:
    """The message for a text of which many lines are not UTF-8."""
    lines = head.split(b"\n")
    if len(head) >= HEAD or not lines[-1]:  # cut, or no line
        lines.pop()
    bad = sum(not _is_utf8(line) for line in lines)
    if bad < _BAD_LINES or bad < _BAD_SHARE * len(lines):
        return None
    return (
        f"not UTF-8 in {bad:,} of the first {len(lines):,} lines; it has another encoding. If that is "
        f"Windows-1252 or ISO-8859-1: iconv -f WINDOWS-1252 -t UTF-8 {{file}} > NEW"
    )


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
