"""Dates of publication as readers find them, written in ISO form and as exact as they are known."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_YEAR = re.compile(r"1[5-9]\d\d|2\d{3}")
_YEAR_AND_MONTH = re.compile(rf"({_YEAR.pattern})(?: +([A-Za-z]{{3}}))?")
_LAST_DAY = "-99-99"


def iso(year: str, month: str = "", day: str = "") -> str | None:
    """ "2021", "2021-03" or "2021-03-09", of a month in digits or English; what makes no date is left out.

    Returns:
        None when the year is none.
    """
    year, month, day = year.strip(), month.strip(), day.strip()
    if not _YEAR.fullmatch(year):
        return None
    if month[:3].lower() in _MONTHS:
        month = str(_MONTHS.index(month[:3].lower()) + 1)
    try:
        first = date(int(year), int(month), 1)
    except ValueError:
        return year
    try:
        return first.replace(day=int(day)).isoformat()
    except ValueError:
        return first.isoformat()[: len("2021-03")]


def begin(span: str) -> str | None:
    """Year and month in which a span begins, as journals date their issues: of "1998 Dec-1999 Jan", "1998-12"."""
    found = _YEAR_AND_MONTH.search(span)
    return iso(found[1], found[2] or "") if found else None


def earliest(dates: Iterable[str | None]) -> str | None:
    """The first of several dates; of "2018" and "2018-05-17", the latter, which may be what the former means."""
    known = [date_ for date_ in dates if date_]
    return min(known, key=lambda date_: date_ + _LAST_DAY[len(date_) - len("2018") :], default=None)
