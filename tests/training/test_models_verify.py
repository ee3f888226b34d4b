"""`meditron verify`: every logit and gradient of a split model equals Hugging Face's, and a wrong weight is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from components.training import verify
from components.training.settings import LayoutSettings
from components.training.verify import Difference, VerificationJob, _compare, _settings
from pipelines.cli import main
from tests.training.ranks import run_ranks
from tests.training.tiny import write_tiny_model

GRADIENT_TOLERANCE = 5e-6
"""Of a tensor's largest element: float32 sums in another order."""


def numbers(job: VerificationJob) -> None:
    """Runs on each rank."""
    from components.training.process import start_process
    from components.training.verify_worker import write_numbers

    write_numbers(job, start_process(job.settings.layout, timeout_minutes=2))


def compare(tmp_path: Path, family: str, layout: tuple[int, int, int]) -> list[Difference]:
    model, output = tmp_path / "model", tmp_path / "numbers"
    write_tiny_model(family, model)
    output.mkdir()
    names = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
    settings = _settings(LayoutSettings(**dict(zip(names, layout, strict=True))), tokens=32)
    job = VerificationJob(settings=settings, model=model, output=output)
    run_ranks(settings.layout.world_size, numbers, job)
    return _compare(job)


@pytest.mark.slow
def test_a_weight_on_two_stages(tmp_path: Path) -> None:
    """Falcon-7B's embedding is its head, too."""
    worst = max(compare(tmp_path, "falcon-7b", (1, 2, 1)), key=lambda difference: difference.relative)
    print(worst)
    assert worst.relative < GRADIENT_TOLERANCE


def test_a_difference_is_found_where_it_is() -> None:
    reference = torch.full((3, 4), 2.0)
    ours = reference.clone()
    ours[1, 2] = 2.5
    assert Difference.between("x", ours, reference) == Difference("x", 0.5, 0.25, (1, 2))
    ours[2, 3] = torch.nan
    found = Difference.between("x", ours, reference)
    assert (found.relative, found.position) == (torch.inf, (2, 3))


@pytest.mark.slow
def test_the_verb(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    write_tiny_model("mistral", tmp_path / "model")
    arguments = ["verify", "--model", str(tmp_path / "model"), "--layout", "2,1,1", "--tokens", "32"]
    assert main(arguments) == 0
    output = capfd.readouterr().out
    assert "TP2 × PP1 × DP1, 1 samples of 32 tokens, float32" in output
    assert "gradients  of 39 parameters" in output


def test_a_model_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    """The numbers are made up; what matters is what the verb says of them."""
    differing = Difference("model.norm.weight", largest=0.5, relative=0.25, position=(3,))
    monkeypatch.setattr(verify, "launch", lambda spec, settings: None)
    monkeypatch.setattr(verify, "_compare", lambda job: [Difference("loss", 0, 0, (0,)), *[differing] * 2])
    write_tiny_model("llama", tmp_path / "model")
    arguments = ["--model", str(tmp_path / "model"), "--layout", "1,1,1", "--tokens", "32", "--tolerance", "0.2"]
    assert main(["verify", *arguments]) == 1
    expected = "differs from Hugging Face's model by 5.00e-01 (2.5e-01 of the largest) at model.norm.weight[3]"
    assert expected in capfd.readouterr().err


def test_an_impossible_layout_starts_nothing(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    write_tiny_model("falcon-7b", tmp_path / "model")
    assert main(["verify", "--model", str(tmp_path / "model"), "--layout", "2,1,1", "--tokens", "32"]) == 1
    assert "num_key_value_heads 1 is not divisible by tensor_parallel_size 2" in capfd.readouterr().err


@pytest.mark.parametrize("layout", ["2,2", "2,0,1", "a,b,c", "2,2,2,2"])
def test_a_layout_is_three_sizes(layout: str, capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["verify", "--model", "x", "--layout", layout])
    assert "is not three sizes of at least 1" in capfd.readouterr().err
