"""Readers of the published layouts: what they read, and what they refuse."""

import csv
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from components.platform.errors import InputError, SettingsError
from components.platform.questions.benchmark import Benchmark, benchmark_names, load_benchmark
from components.platform.questions.readers import read_questions
from components.platform.storage import s3 as access


def pubmedqa_record(**changes):
    record = {"QUESTION": "Does it?", "CONTEXTS": ["First.", "Second."], "final_decision": "yes"} | changes
    return {key: value for key, value in record.items() if value is not ...}


def medqa_record(**changes):
    options = {"A": "Aspirin", "B": "Rest", "C": "Surgery", "D": "Nothing"}
    record = {"question": "What helps?", "options": options, "answer_idx": "B", "answer": "Rest"} | changes
    return {key: value for key, value in record.items() if value is not ...}


def write(platform, name, content):
    path = Path(platform.data, "eval", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_pubmedqa(platform, records, test):
    write(platform, "pubmedqa/ori_pqal.json", json.dumps(records))
    write(platform, "pubmedqa/test_ground_truth.json", json.dumps(test))


def write_medqa(platform, *records):
    write(platform, "medqa/test_4_options.jsonl", "\n".join(json.dumps(record) for record in records))


def medmcqa_record(**changes):
    options = {"opa": "Aspirin", "opb": "Rest", "opc": "Surgery", "opd": "Nothing"}
    about = {"id": "a1", "choice_type": "single", "subject_name": "Medicine", "topic_name": None, "exp": None}
    record = {"question": "What helps?", "cop": 2} | options | about | changes
    return {key: value for key, value in record.items() if value is not ...}


def write_medmcqa(platform, *records):
    write(platform, "medmcqa/dev.json", "\n".join(json.dumps(record) for record in records))


def named(name, split, *patterns):
    """A benchmark whose split lies elsewhere, as somebody would write it into its YAML file."""
    benchmark = load_benchmark(name)
    return benchmark.model_copy(update={"splits": benchmark.splits | {split: {"questions": patterns}}})


def write_mmlu(platform, subject, *rows):
    path = Path(platform.data, "eval/mmlu", f"{subject}_test.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def read(platform, name, split="test"):
    return read_questions(load_benchmark(name), split, platform)


def test_pubmedqa_splits_by_the_authors_test_ids(platform):
    records = {"1": pubmedqa_record(), "2": pubmedqa_record(final_decision="maybe"), "3": pubmedqa_record()}
    write_pubmedqa(platform, records, {"2": "maybe"})
    [question] = read(platform, "pubmedqa", "test")
    assert (question.id, question.answer, question.context) == ("2", "maybe", "First.\nSecond.")
    assert question.options == {"yes": "yes", "no": "no", "maybe": "maybe"}
    assert [question.id for question in read(platform, "pubmedqa", "train")] == ["1", "3"]


def test_medqa(platform):
    write_medqa(platform, medqa_record(), medqa_record(question="Line\u2028separator", meta_info="step1"))
    first, second = read(platform, "medqa-4-option")
    assert (first.id, first.answer, first.options["B"]) == ("test_4_options:1", "B", "Rest")
    assert (second.id, second.subject, second.question) == ("test_4_options:2", "step1", "Line\u2028separator")


def test_medqa_with_five_options(platform):
    options = {"A": "Aspirin", "B": "Rest", "C": "Surgery", "D": "Nothing", "E": "Rest"}
    for split in ("train", "test"):
        write(platform, f"medqa/{split}.jsonl", json.dumps(medqa_record(options=options, answer_idx="E")))
        [question] = read(platform, "medqa", split)
        assert (question.id, question.answer, question.options) == (f"{split}:1", "E", options)


def test_medmcqa_counts_from_1_in_json_and_from_0_in_parquet(platform):
    records = [medmcqa_record(), medmcqa_record(id="a2", cop=4, opa="", choice_type="multi")]
    write_medmcqa(platform, *records)
    published = read(platform, "medmcqa", "validation")
    assert [(question.id, question.subject, question.answer) for question in published] == [
        ("a1", "Medicine", "B"),
        ("a2", "Medicine", "D"),
    ]
    assert published[1].options == {"A": "", "B": "Rest", "C": "Surgery", "D": "Nothing"}
    columns = pyarrow.Table.from_pylist([record | {"cop": record["cop"] - 1} for record in records])
    pyarrow.parquet.write_table(columns, Path(platform.data, "eval/medmcqa/validation-00000-of-00001.parquet"))
    parquet = named("medmcqa", "validation", "eval/medmcqa/validation-*.parquet")
    assert read_questions(parquet, "validation", platform) == published


@pytest.mark.slow
def test_medmcqa_from_the_hub_counts_from_0(platform, server):
    rows = "".join(json.dumps(medmcqa_record(cop=cop, id=str(cop))) + "\n" for cop in range(4))
    server.commit("openlifescienceai/medmcqa", {"validation.jsonl": rows.encode()})
    benchmark = named("medmcqa", "validation", "hf://datasets/openlifescienceai/medmcqa/validation")
    assert [question.answer for question in read_questions(benchmark, "validation", platform)] == ["A", "B", "C", "D"]


@pytest.mark.parametrize("name", ["medqa-4-option", "medmcqa"])
def test_questions_in_s3(platform, bucket, name):
    write_medqa(platform, medqa_record())
    write_medmcqa(platform, medmcqa_record())
    split = load_benchmark(name).evaluation_split
    for pattern in load_benchmark(name).patterns(split):
        content = Path(platform.data, pattern).read_bytes()
        access.client().put_object(Bucket=bucket.removeprefix("s3://"), Key=pattern, Body=content)
    assert read(platform.model_copy(update={"data": bucket}), name, split) == read(platform, name, split)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (medmcqa_record(question=...), "field 'question' is missing"),
        (medmcqa_record(opc=...), "field 'opc' is missing"),
        (medmcqa_record(opc=3), "field 'opc' is int, expected str"),
        (medmcqa_record(opb=" "), "field 'opb' is empty"),  # the right one
        (medmcqa_record(cop=...), "field 'cop' is missing"),
        (medmcqa_record(cop="2"), "field 'cop' is str, expected int"),
        (medmcqa_record(cop=0), "cop is 0, expected 1 to 4 in such a file"),
        (medmcqa_record(cop=5), "cop is 5, expected 1 to 4 in such a file"),
        (medmcqa_record(subject_name=...), "field 'subject_name' is missing"),
        (medmcqa_record(id=...), "field 'id' is missing"),
    ],
)
def test_bad_medmcqa_records_are_named_by_line(platform, record, message):
    write_medmcqa(platform, medmcqa_record(id="a0"), record)
    with pytest.raises(InputError, match=f"dev.json:2: {message}"):
        read(platform, "medmcqa", "validation")


def test_bad_parquet(platform):
    benchmark = named("medmcqa", "validation", "eval/medmcqa/dev.parquet")
    write(platform, "medmcqa/dev.parquet", b"PAR1")
    with pytest.raises(InputError, match="dev.parquet: not valid Parquet"):
        read_questions(benchmark, "validation", platform)
    path = Path(platform.data, "eval/medmcqa/dev.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([medmcqa_record(cop=4)]), path)
    with pytest.raises(InputError, match="dev.parquet: row 1: cop is 4, expected 0 to 3 in such a file"):
        read_questions(benchmark, "validation", platform)


def test_an_id_that_comes_twice(platform):
    write_medmcqa(platform, medmcqa_record(), medmcqa_record(question="Another?"))
    with pytest.raises(InputError, match="dev.json: 2 questions have the id 'a1'; expected each once"):
        read(platform, "medmcqa", "validation")


def test_mmlu_takes_the_medical_subjects_only(platform):
    write_mmlu(platform, "anatomy", ["Which, exactly?\nThis?", "a", "b", 'c "quoted"', "d", "C"])
    write_mmlu(platform, "astronomy", ["Which star?", "a", "b", "c", "d", "A"])
    [question] = read(platform, "mmlu-medical")
    assert (question.id, question.subject, question.answer) == ("anatomy:1", "anatomy", "C")
    assert (question.question, question.options["C"]) == ("Which, exactly?\nThis?", 'c "quoted"')


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (pubmedqa_record(QUESTION=...), "record 7: field 'QUESTION' is missing"),
        (pubmedqa_record(QUESTION=" "), "record 7: field 'QUESTION' is empty"),
        (pubmedqa_record(CONTEXTS="one"), "record 7: field 'CONTEXTS' is str, expected list"),
        (pubmedqa_record(final_decision=...), "record 7: field 'final_decision' is missing"),
        (pubmedqa_record(final_decision="perhaps"), "final_decision is 'perhaps', expected one of yes, no, maybe"),
        (["not", "a", "record"], "record 7: field 'final_decision' is missing"),
    ],
)
def test_bad_pubmedqa_records(platform, record, message):
    write_pubmedqa(platform, {"7": record}, {"7": "yes"})
    with pytest.raises(InputError, match=f"ori_pqal.json: .*{message}"):
        read(platform, "pubmedqa")


def test_pubmedqa_files_that_disagree(platform):
    write_pubmedqa(platform, {"1": pubmedqa_record()}, {"1": "no"})
    with pytest.raises(InputError, match="record 1: final_decision is 'yes', but the test split says 'no'"):
        read(platform, "pubmedqa")
    write_pubmedqa(platform, {"1": pubmedqa_record()}, {"1": "yes", "8": "no", "9": "no"})
    with pytest.raises(InputError, match="2 test questions are missing, the first is record 8"):
        read(platform, "pubmedqa", "train")


@pytest.mark.parametrize("content", ['{"1": ', "[1, 2]"])
def test_pubmedqa_that_is_no_json_object(platform, content):
    write_pubmedqa(platform, {}, {})
    write(platform, "pubmedqa/ori_pqal.json", content)
    with pytest.raises(InputError, match=r"ori_pqal.json: (not valid JSON|expected a JSON object, found list)"):
        read(platform, "pubmedqa")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (medqa_record(question=...), "field 'question' is missing"),
        (medqa_record(options=...), "field 'options' is missing"),
        (medqa_record(options=["a", "b"]), "field 'options' is list, expected dict"),
        (medqa_record(options={"A": "x", "B": "y"}), r"options are \['A', 'B'\], expected \['A', 'B', 'C', 'D'\]"),
        (medqa_record(options={"A": 1, "B": "Rest", "C": "c", "D": "d"}), "field 'A' is int, expected str"),
        (medqa_record(answer_idx="E"), "answer_idx is 'E', expected one of A, B, C, D"),
        (medqa_record(answer_idx=1), "field 'answer_idx' is int, expected str"),
        (medqa_record(answer="Aspirin"), "answer 'Aspirin' is not the text of option B, 'Rest'"),
    ],
)
def test_bad_medqa_records_are_named_by_line(platform, record, message):
    write_medqa(platform, medqa_record(), record)
    with pytest.raises(InputError, match=rf"test_4_options.jsonl:2: {message}"):
        read(platform, "medqa-4-option")


@pytest.mark.parametrize(
    ("line", "message"),
    [(b"{", ":1: not valid JSON"), (b"[]", ":1: expected a JSON object, found list"), (b"\xff", "not valid UTF-8")],
)
def test_medqa_lines_that_cannot_be_read(platform, line, message):
    write(platform, "medqa/test_4_options.jsonl", line)
    with pytest.raises(InputError, match=message):
        read(platform, "medqa-4-option")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["Which?", "a", "b", "c", "A"], "row 2: 5 columns, expected 6: question, A, B, C, D, answer"),
        (["Which?", "a", "b", "c", "d", "E"], "row 2: the last column is 'E', expected one of A, B, C, D"),
    ],
)
def test_bad_mmlu_rows(platform, row, message):
    write_mmlu(platform, "virology", ["Which?", "a", "b", "c", "d", "A"], row)
    with pytest.raises(InputError, match=f"virology_test.csv: {message}"):
        read(platform, "mmlu-medical")


def test_mmlu_with_a_quote_that_never_closes(platform):
    write(platform, "mmlu/virology_test.csv", 'Which?,"a,b,c,d,A\n')
    with pytest.raises(InputError, match="virology_test.csv:1: not valid CSV"):
        read(platform, "mmlu-medical")


def test_missing_files_splits_and_questions(platform):
    with pytest.raises(InputError, match="test_4_options.jsonl: no such file"):
        read(platform, "medqa-4-option")
    with pytest.raises(SettingsError, match="mmlu-medical has no split 'train'; choose dev, test"):
        read(platform, "mmlu-medical", "train")
    write_mmlu(platform, "astronomy", ["Which star?", "a", "b", "c", "d", "A"])
    with pytest.raises(InputError, match="astronomy_test.csv: no question for the test split of mmlu-medical"):
        read(platform, "mmlu-medical")


def test_benchmarks_are_checked():
    assert benchmark_names() == ["medmcqa", "medqa", "medqa-4-option", "mmlu-medical", "pubmedqa"]
    assert all(load_benchmark(name).name == name for name in benchmark_names())
    with pytest.raises(SettingsError, match="no benchmark is called 'medka'; choose from medmcqa, medqa"):
        load_benchmark("medka")
    with pytest.raises(ValueError, match="evaluation_split 'dev' is not one of"):
        Benchmark(**load_benchmark("pubmedqa").model_dump() | {"evaluation_split": "dev"})
    with pytest.raises(ValueError, match="evaluation_split and demonstration_split are both 'train'"):
        Benchmark(**load_benchmark("pubmedqa").model_dump() | {"evaluation_split": "train"})


@pytest.mark.parametrize(
    ("name", "split", "count", "answers"),
    [
        ("pubmedqa", "test", 500, {"yes": 276, "no": 169, "maybe": 55}),
        ("pubmedqa", "train", 500, {"yes": 276, "no": 169, "maybe": 55}),
        ("medqa-4-option", "test", 1273, {"A": 353, "B": 309, "C": 346, "D": 265}),
        ("mmlu-medical", "test", 1089, {"A": 235, "B": 254, "C": 248, "D": 352}),
    ],
)
def test_the_published_files(platform, real_data, name, split, count, answers):
    questions = read(platform.model_copy(update={"data": str(real_data)}), name, split)
    assert len({question.id for question in questions}) == len(questions) == count
    assert {label: sum(q.answer == label for q in questions) for label in answers} == answers
