"""Which source files are new since a model was trained: by content, so a renamed file is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.corpus.plan import find, known_digests
from components.corpus.settings import CorpusSettings
from components.platform.context import PlatformSettings
from components.platform.data import SourceFile
from components.platform.manifest import Manifest
from components.platform.predecessor import Predecessor, all_corpora

NAMES_SHOWN = 5


@dataclass(frozen=True)
class News:
    """What became of the files since; those of replay, of metadata and of evaluation sets are never news.

    Attributes:
        new: files whose content no earlier corpus was made from.
        known: how many files have a content that one was made from.
        gone: names of files that earlier corpora were made from and whose content is not there any more.
    """

    new: tuple[SourceFile, ...]
    known: int
    gone: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{self.known} files known, {len(self.new)} new"
        if self.new:
            text += f" ({_some([file.name for file in self.new])})"
        if self.gone:
            text += f", {len(self.gone)} gone or changed ({_some(self.gone)})"
        return text


def compare(settings: CorpusSettings, platform: PlatformSettings, before: Sequence[Manifest]) -> News:
    """Compare the files of a recipe's sources with those that the corpora `before` were made from.

    Raises:
        InputError: a name or pattern of the recipe matches no file.
    """
    plan, digests = find(settings, platform), known_digests(before)
    shards = [shard for shard in plan.shards if settings.source(shard.source).group != "replay"]
    files = {file.digest: file for shard in shards for file in shard.files}
    new = tuple(file for digest, file in files.items() if digest not in digests)
    there = {file.digest for file in plan.files()}
    gone = {name for corpus in before for name, digest in corpus.made_by["sources"].items() if digest not in there}
    return News(new, len(files) - len(new), tuple(sorted(gone)))


def look(settings: CorpusSettings, platform: PlatformSettings, predecessor: Predecessor) -> tuple[bool, str]:
    """Whether there is anything new since `predecessor`, and a sentence about it.

    Raises:
        InputError: a name or pattern of the recipe matches no file, or an earlier corpus is gone.
    """
    before = all_corpora(predecessor)
    news = compare(settings, platform, before)
    since = f"since {predecessor} (corpus {before[0].digest[:12]})"
    return bool(news.new), f"{'news' if news.new else 'nothing new'} {since}: {news}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return shown + (", ..." if len(names) > NAMES_SHOWN else "")
