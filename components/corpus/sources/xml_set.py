"""Files that hold many XML documents in one: each is cut out to stand alone, so a bad one costs only itself."""

from __future__ import annotations

import codecs
import re

from components.corpus.sources.document import RejectedError

# Character sets of XML. Python has other codecs by name, such as punycode, whose decoding takes quadratic time.
_CHARACTER_SETS = ("utf-8", "ascii", "iso8859-", "cp125", "gb", "big5", "shift_jis", "euc_", "koi8-")
_ENCODING = re.compile(rb"""<\?xml[^>]*encoding\s*=\s*["']([\w.-]+)["']""")
# What the set declares for its parts. A DOCTYPE is what makes &alpha; well-formed; no DTD is ever fetched.
_BEGIN = (
    b'<!DOCTYPE set SYSTEM "set.dtd"><set xmlns:mml="http://www.w3.org/1998/Math/MathML"'
    b' xmlns:xlink="http://www.w3.org/1999/xlink">'
)
_END = b"</set>"


def encoding(head: bytes) -> str:
    """The encoding that a file declares in its first bytes.

    Raises:
        RejectedError: it is unknown, or not a character set.
    """
    declared = _ENCODING.match(head)
    if not declared:
        return "utf-8"
    try:
        name = codecs.lookup(declared[1].decode()).name
    except LookupError:
        name = ""
    if not name.startswith(_CHARACTER_SETS):
        raise RejectedError("bad_xml", f"unknown encoding {declared[1].decode()}")
    return name


def standalone(part: bytes, encoding_: str) -> bytes | RejectedError:
    """A document of its own, in UTF-8, of an element that was cut out of a set in some encoding."""
    if encoding_ != "utf-8":
        try:
            part = part.decode(encoding_).encode()
        except UnicodeError as error:
            return RejectedError("bad_xml", str(error))
    return _BEGIN + part + _END
