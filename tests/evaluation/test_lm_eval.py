"""lm-evaluation-harness, given our tasks, against our own evaluation: same model, same questions, item by item."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from components.evaluation import stage
from components.evaluation.engine.huggingface import HuggingFaceEngine
from components.evaluation.items import prepare
from components.evaluation.lm_eval import __main__ as command
from components.evaluation.lm_eval.documents import documents
from components.evaluation.lm_eval.tasks import TAG, Task, task_name, write_tasks
from components.evaluation.settings import EvaluationSettings
from components.platform.context import PlatformSettings, TrackingSettings
from components.platform.errors import InputError
from components.platform.manifest import Manifest
from components.platform.questions.benchmark import benchmark_names, load_benchmark
from components.platform.questions.readers import read_questions

SAMPLE = Path(__file__).parents[2] / "pipelines/sample"
WINDOW = 512


@pytest.fixture(scope="module")
def llama(model_folder, tmp_path_factory):
    """The tiny model, made more like a real one.

    Its tokenizer begins every text with <s>, as Llama's does, unless told not to; its window is shorter than some
    prompts; and it tends to say one of the options.
    """
    folder = tmp_path_factory.mktemp("llama") / "model"
    shutil.copytree(model_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": WINDOW}))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, bos_token="<s>")
    weights = load_file(folder / "model.safetensors")
    options = [tokenizer.encode(word)[0] for word in ("A", "B", "C", "D", "yes", "no", "maybe")]
    weights["lm_head.weight"][options] *= 3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    backend = tokenizer.backend_tokenizer
    backend.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.convert_tokens_to_ids("<s>"))]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        chat_template=tokenizer.chat_template,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def hflm(llama):
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(llama), add_bos_token=False, device="cpu", batch_size=16)


@pytest.fixture
def sample_platform(tmp_path):
    tracking = TrackingSettings(uri="sqlite:///unused.db")
    return PlatformSettings(data=str(SAMPLE), workspace=str(tmp_path / "runs"), tracking=tracking)


def in_the_sample(platform):
    """All benchmarks whose files the project's sample has."""
    names = []
    for name in benchmark_names():
        benchmark = load_benchmark(name)
        try:
            benchmark.files(benchmark.evaluation_split, platform)
        except InputError:
            continue
        names.append(name)
    assert {"pubmedqa", "medqa-4-option", "mmlu-medical"} <= set(names)
    return tuple(names)


def run_lm_eval(hflm, tasks, monkeypatch, tmp_path):
    """lm-eval's samples by (task, our id), and its accuracies by task."""
    import datasets
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    results = simple_evaluate(hflm, tasks=[TAG], task_manager=manager, bootstrap_iters=0)
    samples = {(task, sample["doc"]["id"]): sample for task, own in results["samples"].items() for sample in own}
    return samples, {task: row["acc,none"] for task, row in results["results"].items() if "acc,none" in row}


@pytest.mark.parametrize("style", ["paper", "code"])
def test_lm_eval_says_the_same(style, llama, hflm, sample_platform, tmp_path, monkeypatch):
    settings = EvaluationSettings(benchmarks=in_the_sample(sample_platform), prompt_style=style)
    model = Manifest.of_folder("sft", llama.parent)
    evaluation = stage.run(settings, sample_platform, model=model, label="tiny")
    verdicts = evaluation.read_jsonl("items.jsonl")
    engine = HuggingFaceEngine(llama)
    write_tasks(settings, sample_platform, engine, tmp_path / "tasks")
    samples, accuracies = run_lm_eval(hflm, tmp_path / "tasks", monkeypatch, tmp_path)

    by_benchmark = {row["benchmark"]: row["restricted_accuracy"] for row in evaluation.read_json("results.json")}
    assert accuracies == {task_name(load_benchmark(name)): score for name, score in by_benchmark.items()}
    assert len(samples) == len(verdicts)
    assert 0 < sum(verdict["shortened"] for verdict in verdicts) < len(verdicts)
    said = [greedy for sample in samples.values() for _, greedy in sample["filtered_resps"]]
    assert style == "code" or 0 < sum(said) < len(samples)  # the likeliest token of all is an option here and there
    for verdict in verdicts:
        sample = samples[task_name(load_benchmark(verdict["benchmark"])), verdict["id"]]
        document, scores = sample["doc"], [score for score, _ in sample["filtered_resps"]]
        assert document["labels"][scores.index(max(scores))] == verdict["restricted_prediction"]
        assert document["labels"][document["gold"]] == verdict["answer"]
        added = log_probability_of_white_space(document["context"], engine)
        expected = [verdict["choice_logprobs"][label] + added for label in document["labels"]]
        assert scores == pytest.approx(expected, abs=1e-4)
        if added == 0:  # then lm-eval's second value says whether the option is the likeliest token of all
            tokens = engine.encode(document["context"])
            [following] = engine.next_tokens([tokens], [[]])
            greedy = dict(zip(document["labels"], (flag for _, flag in sample["filtered_resps"]), strict=True))
            for label, choice in zip(document["labels"], document["choices"], strict=True):
                assert greedy[label] == ([*tokens, following.top] == engine.encode(document["context"] + choice))
                assert verdict["prediction"] == label or not greedy[label]


def log_probability_of_white_space(context, engine):
    """What lm-eval adds to each option's log-probability where the context ends in a newline."""
    before, whole = engine.encode(context.rstrip()), engine.encode(context)
    if before == whole:
        return 0.0
    [newline] = whole[len(before) :]
    [following] = engine.next_tokens([before], [[newline]])
    return following.choice_logprobs[0]


def test_only_without_a_token_before_the_prompt(llama, hflm, sample_platform):
    """What the printed command's `add_bos_token=False` is for."""
    from lm_eval.models.huggingface import HFLM

    engine = HuggingFaceEngine(llama)
    [document] = documents(*some_items("medqa-4-option", "paper", engine, sample_platform, count=1))
    by_default = HFLM(pretrained=hflm.model, tokenizer=str(llama), device="cpu")
    assert by_default.tok_encode(document.context) == [1, *engine.encode(document.context)]
    assert hflm.tok_encode(document.context) == engine.encode(document.context)


def some_items(name, style, engine, platform, count):
    """Arguments of `documents`."""
    benchmark = load_benchmark(name)
    return (
        prepare(read_questions(benchmark, "test", platform)[:count], benchmark, style, engine),
        benchmark,
        style,
        engine,
    )


@pytest.mark.parametrize(
    ("name", "style", "opening", "choices"),
    [
        ("medqa-4-option", "paper", "(", ("A", "B", "C", "D")),
        ("mmlu-medical", "code", "", ("A", "B", "C", "D")),
        ("pubmedqa", "paper", "", ("yes", "no", "may")),  # this tokenizer writes "maybe" as two tokens
    ],
)
def test_documents(name, style, opening, choices, engine, platform):
    items, *how = some_items(name, style, engine, platform, count=4)
    for item, document in zip(items, documents(items, *how), strict=True):
        assert document.context == item.prompt + opening
        assert document.choices == choices
        assert document.labels[document.gold] == item.question.answer
        assert (document.id, document.subject) == (item.question.id, item.question.subject)


def test_a_tokenizer_that_joins_prompt_and_answer(engine, platform, monkeypatch):
    items, *how = some_items("pubmedqa", "paper", engine, platform, count=2)
    encode = engine.encode
    stripped = items[1].prompt.rstrip()
    monkeypatch.setattr(engine, "encode", lambda text: [7] if text == stripped else encode(text))
    with pytest.raises(InputError, match=rf"question {items[1].question.id} of pubmedqa: the tokenizer joins"):
        documents(items, *how)


def test_a_token_that_no_beginning_of_the_answer_makes(engine, platform, monkeypatch):
    items, *how = some_items("pubmedqa", "paper", engine, platform, count=1)
    encode = engine.encode
    monkeypatch.setattr(engine, "encode", lambda text: encode(text)[:-1] if text.endswith("yes") else encode(text))
    with pytest.raises(InputError, match=r"no beginning of the answer 'yes'"):
        documents(items, *how)


def write_recipe(folder, platform, **evaluation):
    recipe = folder / "recipe.yaml"
    recipe.write_text(json.dumps({"platform": platform.model_dump(mode="json"), "evaluation": evaluation}))
    return str(recipe)


def test_command_line(llama, sample_platform, tmp_path, capsys):
    recipe = write_recipe(tmp_path, sample_platform, benchmarks=["pubmedqa", "mmlu-medical"], max_items=6)
    arguments = ["--recipe", recipe, "--model", str(llama), "--output", str(tmp_path / "tasks")]
    command.main(arguments)
    first, second, line = capsys.readouterr().out.splitlines()
    assert (first, second) == ("meditron_pubmedqa: 6 questions", "meditron_mmlu-medical: 6 questions")
    assert f"--model_args pretrained={llama},add_bos_token=False --include_path {tmp_path / 'tasks'}" in line
    config = yaml.safe_load((tmp_path / "tasks/meditron_pubmedqa.yaml").read_text())
    [data] = config["dataset_kwargs"]["data_files"].values()
    assert len(Path(data).read_text().splitlines()) == 6
    with pytest.raises(SystemExit, match=r"tasks: there is something already; expected a new or an empty folder"):
        command.main(arguments)


def test_questions_that_do_not_fit_are_left_out_and_counted(engine, platform, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "max_length", 30)
    settings = EvaluationSettings(benchmarks=["pubmedqa"], max_items=5)
    assert write_tasks(settings, platform, engine, tmp_path) == [Task("meditron_pubmedqa", questions=0, too_long=5)]
    assert not list(tmp_path.iterdir())
