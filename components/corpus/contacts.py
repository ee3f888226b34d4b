"""Contacts: e-mail addresses and telephone numbers are replaced by a note that one stood there.

The note is plain words in square brackets, an editor's sign for what was left out. FineWeb puts in an invented
address instead, and Dolma a token of its own: but a model that has learned an invented number may give it to a
patient, and a token takes a place in the vocabulary.

Medical text is full of numbers, so of telephone numbers only what is unmistakable is replaced:

- after "Tel:", "Phone:", "Fax:" and the like, 9 to 15 digits in groups, and 7 or 8 that look like 555-1234 or
  2859 9111; where there is no colon or full stop, only what begins with + or with 0 and two more digits;
- anywhere, a "+" with a country code that exists, and the usual number of digits in groups;
- anywhere, (555) 234-5678, 555-234-5678 or 555.234.5678, as in North America, also with 1 or +1 in front.

Lost with them are the numbers of public helplines in guidelines, which are written no differently. Emergency numbers
such as 911 and 988 are too short to match. Numbers and addresses that are written in other ways stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from components.corpus.batch import Drops

EMAIL, TELEPHONE = "[email address]", "[telephone number]"

_WORD_EDGE = r"(?-u:\b)"  # of ASCII words: those of Unicode are slow to find
_BEFORE = r"(^|[\s(\[,;:])"  # what stands inside a DOI, a URL or a formula is no telephone number

# A domain ends in small letters or in capitals: in "Fe3O4@SiO2.The particles" a sentence ends
_ADDRESS = (
    r"[\p{Latin}\d][\p{Latin}\d._%+&'-]*(?:@| ?[(\[](?i:at)[)\]] ?)"
    r"(?:[\p{Latin}\d][\p{Latin}\d-]*\.)+(?:\p{Ll}{2,}|\p{Lu}{2,})"
)

_CUE = (
    rf"{_WORD_EDGE}(?i:(?:t[ée]l(?:[ée]phone|efon|[ée]fono|efax)?|phone|fax|facsimile|hotline|helpline|whatsapp)s?"
    r"(?: (?:number|no|nr))?)"
)
_DIGIT = r"(?:[ –-]?\d)"
_AFTER_AREA = rf"\(\+?\d{{1,5}}\){_DIGIT}{{6,12}}"
# Neither statistics, 0.12 (0.05–0.20), nor dates, 12.03.2004, have so many groups
_DOTTED = r"\+?\d{1,4}(?:\.\d{1,2})?(?:\.\d{2,4}){3,4}"
# Of eight digits not 19.. and 20.., for these are years: 1998–2004
_SHORT = r"(?:\d{3}[ –-]\d{4}|(?:2[1-9]|[3-9]\d)\d\d[ –-]?\d{4})" + _WORD_EDGE
_AFTER_CUE = (
    rf"({_CUE} ?[.:]{{1,2}} ?)"
    rf"(?:{_DOTTED}|(?:\+ ?\d{{1,3}} ?|1[ -]?)?{_AFTER_AREA}|\+?\d{_DIGIT}{{8,14}}|0\d{{1,4}}/{_DIGIT}{{5,9}}|{_SHORT})"
)
_AFTER_BARE_CUE = rf"({_CUE},? )(?:\+[1-9]\d{{0,2}} ?{_AFTER_AREA}|(?:\+[1-9]|\(?0\d\d)\)?/?{_DIGIT}{{6,12}})"

# The codes of E.164 (ITU-T, list of assigned country codes) but 1, which is North America's
_COUNTRY = (
    r"(?:7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]"
    r"|(?:2[1-689]|3[578]|42|5[09]|6[789]|8[058]|9[679])\d)"
)
_INTERNATIONAL = rf"{_BEFORE}\+{_COUNTRY}(?: ?{_AFTER_AREA}|{_DIGIT}{{8,13}}){_WORD_EDGE}"

_AREA = _EXCHANGE = r"[2-9]\d\d"
_NORTH_AMERICAN = (
    rf"{_BEFORE}(?:\+1[ .-]?\(?{_AREA}\)?[ .–-]?{_EXCHANGE}[ .–-]?"
    rf"|(?:1[ .-])?(?:\({_AREA}\) ?|{_AREA}[.–-]){_EXCHANGE}[.–-])\d{{4}}{_WORD_EDGE}"
)

_RULES = {
    _ADDRESS: EMAIL,
    _AFTER_CUE: "${1}" + TELEPHONE,
    _AFTER_BARE_CUE: "${1}" + TELEPHONE,
    _INTERNATIONAL: "${1}" + TELEPHONE,
    _NORTH_AMERICAN: "${1}" + TELEPHONE,
}
"""What replaces the matches of each pattern, in this order."""


@dataclass(frozen=True)
class Contacts:
    """The contacts step."""

    def __call__(self, batch: pl.DataFrame) -> tuple[pl.DataFrame, Drops]:
        """Replace contacts in the texts, and add the column `scrubbed`: how many there were. Drops nothing."""
        text, scrubbed = batch["text"], pl.repeat(0, batch.height, dtype=pl.UInt32, eager=True)
        for pattern, replacement in _RULES.items():
            count = text.str.count_matches(pattern)
            scrubbed += count
            # Most texts have none, and to replace nothing takes as long as to count
            rows = (count > 0).arg_true()
            if len(rows):
                text = text.scatter(rows, text.gather(rows).str.replace_all(pattern, replacement))
        return batch.with_columns(text, scrubbed.alias("scrubbed")), {}
