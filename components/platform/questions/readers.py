"""Readers of the benchmarks' published file layouts.

Each takes the files of a split by role and yields questions. Anything missing or inconsistent is an
`InputError` that names the file, the line or record, and what was expected: a benchmark with a hole gives a
wrong score.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from components.platform.context import PlatformSettings
from components.platform.data import SourceFile
from components.platform.errors import InputError
from components.platform.questions.benchmark import Benchmark, SplitFiles
from components.platform.questions.question import Question
from components.platform.source import hub

MAX_FILE_BYTES = 1 << 30  # of a file of questions, in memory; the largest, MedMCQA's, has 135 MB
PARQUET_ROWS = 64  # decoded before they are counted


def read_questions(benchmark: Benchmark, split: str, platform: PlatformSettings) -> list[Question]:
    """All questions of a split, in file order.

    Raises:
        SettingsError: the benchmark has no such split.
        InputError: a file is missing or something in it is not as published; or there is no question at all.
    """
    files = benchmark.files(split, platform)
    questions = list(READERS[benchmark.reader](benchmark, split, files))
    names = ", ".join(file.name for role in files.values() for file in role)
    if not questions:
        raise InputError(f"{names}: no question for the {split} split of {benchmark.name}")
    id, times = Counter(question.id for question in questions).most_common(1)[0]
    if times > 1:
        raise InputError(f"{names}: {times} questions have the id {id!r}; expected each once")
    return questions


def read_pubmedqa(benchmark: Benchmark, split: str, files: SplitFiles) -> Iterator[Question]:
    """PubMedQA: one JSON object, PMID → record, and the test split as another, PMID → decision."""
    test: dict[str, str] = {}
    for file in files["test_ids"]:
        test |= _json_object(file)
    seen = set()
    for file in files["questions"]:
        for pmid, record in _json_object(file).items():
            place = f"{file.uri}: record {pmid}"
            answer = _answer(place, "final_decision", _text(place, record, "final_decision"), benchmark.labels)
            if pmid in test and test[pmid] != answer:
                raise InputError(f"{place}: final_decision is {answer!r}, but the test split says {test[pmid]!r}")
            seen.add(pmid)
            if (pmid in test) == (split == "test"):
                contexts = _field(place, record, "CONTEXTS", list)
                yield Question(
                    id=pmid,
                    benchmark=benchmark.name,
                    subject="",
                    question=_text(place, record, "QUESTION"),
                    context="\n".join(contexts),
                    options={label: label for label in benchmark.labels},
                    answer=answer,
                    pmid=pmid,
                )
    if missing := sorted(test.keys() - seen):
        names = ", ".join(file.uri for file in files["questions"])
        raise InputError(f"{names}: {len(missing)} test questions are missing, the first is record {missing[0]}")


def read_medqa(benchmark: Benchmark, split: str, files: SplitFiles) -> Iterator[Question]:
    """MedQA: JSON lines: `question`, `options` (label → text), `answer_idx` (label) and `answer` (text)."""
    for file in files["questions"]:
        for number, place, record in _records(file):
            options = _field(place, record, "options", dict)
            if tuple(options) != benchmark.labels:
                raise InputError(f"{place}: options are {list(options)}, expected {list(benchmark.labels)}")
            answer = _answer(place, "answer_idx", _text(place, record, "answer_idx"), benchmark.labels)
            text = _text(place, record, "answer")
            if text != options[answer]:
                raise InputError(f"{place}: answer {text!r} is not the text of option {answer}, {options[answer]!r}")
            yield Question(
                id=f"{PurePath(file.name).stem}:{number}",
                benchmark=benchmark.name,
                subject=str(record.get("meta_info", "")),
                question=_text(place, record, "question"),
                context="",
                options={label: _text(place, options, label) for label in benchmark.labels},
                answer=answer,
            )


def read_medmcqa(benchmark: Benchmark, split: str, files: SplitFiles) -> Iterator[Question]:
    """MedMCQA: JSON lines or Parquet: `question`, options `opa` to `opd`, `subject_name`, `id`, and in `cop` the
    number of the right option. The published JSON counts options from 1, the hub's Parquet files and rows from 0.
    """
    columns = {label: f"op{label.lower()}" for label in benchmark.labels}
    for file in files["questions"]:
        first = 0 if _is_parquet(file) or hub.is_address(file.uri) else 1
        numbers = {first + index: label for index, label in enumerate(benchmark.labels)}
        for _, place, record in _records(file):
            number = _field(place, record, "cop", int)
            if number not in numbers:
                raise InputError(f"{place}: cop is {number}, expected {min(numbers)} to {max(numbers)} in such a file")
            # A wrong option that is empty is a fault of the question; the right one has to say something.
            options = {label: _field(place, record, column, str) for label, column in columns.items()}
            _text(place, record, columns[numbers[number]])
            yield Question(
                id=_text(place, record, "id"),
                benchmark=benchmark.name,
                subject=_text(place, record, "subject_name"),
                question=_text(place, record, "question"),
                context="",
                options=options,
                answer=numbers[number],
            )


def read_mmlu(benchmark: Benchmark, split: str, files: SplitFiles) -> Iterator[Question]:
    """MMLU: a headerless CSV per subject, `<subject>_<split>.csv`: question, options, label of the answer."""
    columns = len(benchmark.labels) + 2
    for file in files["questions"]:
        subject = PurePath(file.name).stem.removesuffix(f"_{split}")
        if benchmark.subjects and subject not in benchmark.subjects:
            continue
        for number, row in enumerate(_rows(file), 1):
            place = f"{file.uri}: row {number}"
            if len(row) != columns:
                layout = f"question, {', '.join(benchmark.labels)}, answer"
                raise InputError(f"{place}: {len(row)} columns, expected {columns}: {layout}")
            question, *options, answer = row
            yield Question(
                id=f"{subject}:{number}",
                benchmark=benchmark.name,
                subject=subject,
                question=question,
                context="",
                options=dict(zip(benchmark.labels, options, strict=True)),
                answer=_answer(place, "the last column", answer, benchmark.labels),
            )


READERS = {"pubmedqa": read_pubmedqa, "medqa": read_medqa, "medmcqa": read_medmcqa, "mmlu": read_mmlu}


def _records(file: SourceFile) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    """Number, place and content of each record of a Parquet file, or of JSON lines (rows of the hub are such)."""
    if _is_parquet(file):
        yield from ((number, f"{file.uri}: row {number}", row) for number, row in enumerate(_parquet_rows(file), 1))
    else:
        for number, line in _lines(file):
            place = f"{file.uri}:{number}"
            yield number, place, _json(place, line)


def _is_parquet(file: SourceFile) -> bool:
    return file.name.endswith(".parquet")


def _parquet_rows(file: SourceFile) -> Iterator[dict[str, Any]]:
    """Rows, batch by batch; without lists, of which questions have none and which may be of any length."""
    import pyarrow
    import pyarrow.parquet

    expanded = 0
    try:
        with pyarrow.parquet.ParquetFile(file.local()) as content:
            leaves = [content.schema.column(index) for index in range(len(content.schema))]
            groups = [content.metadata.row_group(index) for index in range(content.num_row_groups)]
            _refuse_beyond(file, sum(group.total_byte_size for group in groups))
        lists = {leaf.path.split(".")[0] for leaf in leaves if leaf.max_repetition_level}
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        # Texts stay entries of their dictionary until they are counted: a million rows may share a long one
        with pyarrow.parquet.ParquetFile(file.local(), read_dictionary=texts) as content:
            columns = [name for name in content.schema_arrow.names if name not in lists]
            for batch in content.iter_batches(PARQUET_ROWS, columns=columns):
                expanded += sum(map(_expanded_bytes, batch.columns))
                _refuse_beyond(file, expanded)
                yield from batch.to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{file.uri}: not valid Parquet: {error}") from None


def _expanded_bytes(column: Any) -> int:
    """Memory of a column of Arrow, each text counted as often as it stands there."""
    import pyarrow
    import pyarrow.compute

    if isinstance(column, pyarrow.StructArray):
        return sum(map(_expanded_bytes, column.flatten()))
    if isinstance(column, pyarrow.DictionaryArray):
        lengths = pyarrow.compute.binary_length(column.dictionary)
        return pyarrow.compute.sum(lengths.take(column.indices)).as_py() or 0
    return column.nbytes


def _refuse_beyond(file: SourceFile, size: int) -> None:
    if size > MAX_FILE_BYTES:
        raise InputError(f"{file.uri}: more than {MAX_FILE_BYTES:,} bytes of questions; this is no benchmark")


def _content(file: SourceFile) -> str:
    try:
        with file.open() as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        _refuse_beyond(file, len(content))
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file.uri}: not valid UTF-8 at byte {error.start}") from None


def _lines(file: SourceFile) -> Iterator[tuple[int, str]]:
    """Non-blank lines, numbered from 1; only a newline ends a line, for JSON text may hold U+2028."""
    return ((number, line) for number, line in enumerate(_content(file).split("\n"), 1) if line.strip())


def _rows(file: SourceFile) -> Iterator[list[str]]:
    rows = csv.reader(io.StringIO(_content(file), newline=""), strict=True)
    try:
        yield from rows
    except csv.Error as error:
        raise InputError(f"{file.uri}:{rows.line_num}: not valid CSV: {error}") from None


def _json_object(file: SourceFile) -> Mapping[str, Any]:
    return _json(file.uri, _content(file))


def _json(place: str, text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # a number may be too long, and objects lie too deep in others
        raise InputError(f"{place}: not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{place}: expected a JSON object, found {type(value).__name__}")
    return value


def _field(place: str, record: Any, key: str, kind: type) -> Any:
    if not isinstance(record, dict) or key not in record:
        raise InputError(f"{place}: field {key!r} is missing")
    if not isinstance(record[key], kind):
        raise InputError(f"{place}: field {key!r} is {type(record[key]).__name__}, expected {kind.__name__}")
    return record[key]


def _text(place: str, record: Any, key: str) -> str:
    value = _field(place, record, key, str)
    if not value.strip():
        raise InputError(f"{place}: field {key!r} is empty")
    return value


def _answer(place: str, key: str, answer: str, labels: tuple[str, ...]) -> str:
    if answer not in labels:
        raise InputError(f"{place}: {key} is {answer!r}, expected one of {', '.join(labels)}")
    return answer
