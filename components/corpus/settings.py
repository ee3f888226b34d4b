"""Settings of the corpus stage: which sources, how they are filtered and split, and how they are tokenized."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from components.corpus import licence
from components.corpus.limits import Limits
from components.corpus.upsampling import Upsampling
from components.corpus.vocabulary import SMALLEST_VOCABULARY
from components.platform.questions.benchmark import BenchmarkNames, load_benchmark
from components.platform.settings import Settings

Group = Literal["guidelines", "abstracts", "papers", "replay"]
GROUPS: tuple[Group, ...] = get_args(Group)
PAPER_VALIDATION_FRACTION = {"guidelines": 0.05, "abstracts": 0.03, "papers": 0.03, "replay": 0.0}


class SourceSettings(Settings):
    """One source of documents."""

    name: str = Field(description="name of the source in reports and in the corpus", pattern=r"^[\w.-]+$")
    group: Group = Field(description="row of the paper's Table 1 that its documents count towards")
    format: Literal["guidelines", "s2orc", "abstracts", "pubmed_xml", "jats", "redpajama", "meditron-compat"] = Field(
        description="how its files are written; names a reader in components/corpus/sources"
    )
    paths: list[str] = Field(description="files or globs below the data root, read in this order", min_length=1)
    papers: list[str] = Field(
        default=[], description="files of Semantic Scholar's `papers`, joined by corpusid for titles and identifiers"
    )
    validation_fraction: float | None = Field(
        default=None, ge=0, lt=1, description="share of documents held out; by default the paper's (Table 1)"
    )
    licence: str | None = Field(default=None, description="licence of the documents that do not state one")
    licences: list[str] | None = Field(
        default=None, description="allowed licences, such as cc-by or cc0; by default licences are not checked"
    )
    unknown_licence: Literal["drop", "keep"] = Field(
        default="drop", description="what happens to documents without a licence, where `licences` is given"
    )
    pubmed_only: bool = Field(
        default=False, description="keep only documents with a PMID or PMCID, as Meditron does with Semantic Scholar's"
    )

    @field_validator("licences")
    @classmethod
    def _spelled_as_normalised(cls, licences: list[str] | None) -> list[str] | None:
        for name in licences or []:
            if licence.normalised(name) != name:
                raise ValueError(f"{name!r} is written {licence.normalised(name)!r} here")
        return licences

    @property
    def held_out(self) -> float:
        """The share of documents for validation."""
        default = PAPER_VALIDATION_FRACTION[self.group]
        return default if self.validation_fraction is None else self.validation_fraction


class TrainTokenizer(Settings):
    """A tokenizer trained on this corpus: byte-level BPE."""

    vocab_size: int = Field(ge=SMALLEST_VOCABULARY, description="size of the vocabulary, all special tokens included")
    sample_characters: int = Field(
        default=50_000_000, gt=0, description="how much training text it is trained on, chosen by hash"
    )


class TokenizerSettings(Settings):
    """Where the tokenizer comes from: trained here, or taken from a Hugging Face folder."""

    train: TrainTokenizer | None = Field(default=None, description="train one on this corpus")
    path: str | None = Field(
        default=None, description="folder below the data root with tokenizer.json and tokenizer_config.json"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> TokenizerSettings:
        if (self.train is None) == (self.path is None):
            raise ValueError("give either `train` or `path`")
        return self


class NearDuplicates(Settings):
    """MinHash with locality-sensitive hashing (Broder, 1997; the parameters are those of FineWeb).

    Of pairs of documents with Jaccard similarity s, the share 1 - (1 - s^rows)^bands is found.
    """

    ngram: int = Field(default=5, ge=1, description="words in a shingle")
    bands: int = Field(
        default=14, ge=1, description="parts of a signature; one equal part makes two documents one work"
    )
    rows: int = Field(default=8, ge=1, description="hashes in a band")


class Decontaminate(Settings):
    """Keep out what models are later tested on (paper, appendix B.5)."""

    benchmarks: BenchmarkNames = Field(min_length=1, description="evaluation sets to keep out, by name")
    ngram: int = Field(default=8, ge=2, description="words in an n-gram")
    overlap: float = Field(
        default=0.8, gt=0, le=1, description="share of an item's n-grams in a document that makes it contaminated"
    )


class CorpusSettings(Settings):
    """The corpus stage (paper, Table 1)."""

    sources: list[SourceSettings] = Field(
        min_length=1, description="where documents come from; of equal documents the earliest stays"
    )
    tokenizer: TokenizerSettings = Field(description="the tokenizer that models of this corpus use")
    seed: int = Field(default=0, description="seed of the split and of all sampling")
    min_characters: int = Field(default=100, ge=1, description="shortest text that is kept, without its title")
    replay_share: float = Field(
        default=0.01, ge=0, lt=1, description="share of replay in the training tokens (paper: 1%)"
    )
    languages: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="codes of the languages that are kept, such as en; null: all"
    )
    scrub_contacts: bool = Field(default=True, description="replace e-mail addresses and telephone numbers")
    near_duplicates: NearDuplicates | None = Field(
        default=NearDuplicates(), description="how near-duplicates are found; null: only exact duplicates are"
    )
    decontaminate: Decontaminate | None = Field(default=None, description="evaluation sets to keep out; null: none")
    upsampling: Upsampling | None = Field(
        default=None, description="repeat the papers that matter most (paper, Table 10); null: each is read once"
    )
    limits: Limits = Field(default=Limits(), description="bounds on source files, which come from outside")
    shard_bytes: int = Field(
        default=256 << 20, ge=1, description="source files are prepared in shards of about this size; changes no result"
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> CorpusSettings:
        names = [source.name for source in self.sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"sources: name given twice: {', '.join(twice)}")
        return self

    def source(self, name: str) -> SourceSettings:
        return next(source for source in self.sources if source.name == name)

    def source_patterns(self) -> list[str]:
        """Names or globs, below the data root, of all files that are read."""
        tokenizer = [f"{self.tokenizer.path}/tokenizer.json"] if self.tokenizer.path else []
        benchmarks = map(load_benchmark, self.decontaminate.benchmarks if self.decontaminate else ())
        questions = [pattern for benchmark in benchmarks for pattern in benchmark.patterns(benchmark.evaluation_split)]
        sources = [pattern for source in self.sources for pattern in (*source.paths, *source.papers)]
        return [*sources, *questions, *tokenizer]


class ShardSettings(Settings):
    """All that determines what becomes of the files of one shard."""

    source: SourceSettings
    min_characters: int
    languages: tuple[str, ...] | None
    scrub_contacts: bool
    near_duplicates: NearDuplicates | None
    decontaminate: Decontaminate | None
    upsampling: Upsampling | None
    limits: Limits
    reserved: tuple[str, ...] = Field(description="tokens that raw text must not contain")

    @classmethod
    def of(cls, settings: CorpusSettings, source: SourceSettings, reserved: tuple[str, ...]) -> ShardSettings:
        """The part of a recipe that concerns one source, without what its documents do not depend on."""
        shared = {name: getattr(settings, name) for name in cls.model_fields if name not in ("source", "reserved")}
        without = {"paths": ["*"], "papers": [], "validation_fraction": None}
        return cls(source=source.model_copy(update=without), reserved=reserved, **shared)


class TabulateSettings(Settings):
    """All that determines the table of a file of Semantic Scholar's `papers`."""

    pubmed_only: bool = Field(description="only papers with a PMID or PMCID")
    limits: Limits = Field(description="bounds on the file")


class TokenizeSettings(Settings):
    """All that determines the tokens of one shard, besides its documents."""

    decisions: str = Field(description="SHA-256 of the file that says which documents are in")
    tokenizer: str = Field(description="SHA-256 of tokenizer.json")
    fast: bool = Field(description="whether gigatoken encodes")
