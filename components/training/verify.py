"""`meditron verify`: a model split over ranks against Hugging Face's in one process, number by number.

Both do one forward and one backward pass in float32 on the same random tokens. What is compared: the loss, the logits
of one sample, and the gradient of every parameter. Float32 sums in another order differ in the sixth or seventh digit;
an error in a layer, a collective or a weight's place shows as a difference of the order of the numbers themselves.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from components.platform.errors import InputError, SettingsError, UserError
from components.platform.launcher import JobSpec, launch
from components.platform.launcher.settings import LauncherSettings
from components.platform.quiet import stderr_only_on_failure
from components.platform.settings import Settings
from components.training.models import read_config
from components.training.models.common.config import layout_problems
from components.training.settings import LayoutSettings, TrainingSettings

SHOWN_PARAMETERS = 10
JOB_FILE, LOSS_FILE, GRADIENTS_PATTERN = "job.json", "loss.safetensors", "gradients-*.safetensors"
SEED = 1234


class VerificationError(UserError):
    """The split model differs from Hugging Face's."""


class VerificationJob(Settings):
    """What each rank is told."""

    settings: TrainingSettings
    model: Path
    output: Path


@dataclass(frozen=True)
class Difference:
    """Largest difference of two tensors, and where: `relative` is in units of the reference's largest magnitude."""

    name: str
    largest: float
    relative: float
    position: tuple[int, ...]

    @classmethod
    def between(cls, name: str, ours: Tensor, reference: Tensor) -> Difference:
        """Compare tensors of one shape; a number that is not finite differs infinitely."""
        difference = (ours - reference).abs().nan_to_num(nan=torch.inf)
        flat = int(difference.argmax())
        largest, magnitude = difference.max().item(), reference.abs().max().item()
        position = tuple(int(index) for index in torch.unravel_index(torch.tensor(flat), ours.shape))
        return cls(name, largest, largest / magnitude if magnitude else largest, position)

    def __str__(self) -> str:
        return f"{self.largest:.2e} ({self.relative:.1e} of the largest) at {self.name}{list(self.position)}"


def verify(model: Path, layout: LayoutSettings, tokens: int, tolerance: float) -> None:
    """Split `model` over the ranks of `layout` on this machine, compare, and print the largest differences.

    Args:
        model: Hugging Face folder.
        layout: TP, PP and DP sizes.
        tokens: length of each random sample.
        tolerance: largest relative difference allowed.

    Raises:
        SettingsError: model and layout don't fit together.
        InputError: not a model that can be trained.
        VerificationError: a difference is above the tolerance.
    """
    problems = layout_problems(read_config(model), layout.for_rank(0), tokens)
    if tokens < 1:
        problems.append(f"{tokens} tokens; at least 1 is needed")
    if problems:
        raise SettingsError("verify: " + "; ".join(problems))
    settings = _settings(layout, tokens)
    with tempfile.TemporaryDirectory(prefix="meditron-verify-") as folder:
        job = VerificationJob(settings=settings, model=model.resolve(), output=Path(folder))
        (job.output / JOB_FILE).write_text(job.model_dump_json(), encoding="utf-8")
        arguments = ("--job", str(job.output / JOB_FILE))
        spec = JobSpec("verify", "components.training.verify_worker", arguments, layout.world_size)
        launch(spec, LauncherSettings())
        results = _compare(job)
    print(f"{layout.for_rank(0)}, {settings.global_batch_size} samples of {tokens} tokens, float32")
    loss, logits, *gradients = results
    print(f"  loss       {loss}\n  logits     {logits}\n  gradients  of {len(gradients)} parameters; the largest:")
    gradients.sort(key=lambda difference: difference.relative, reverse=True)
    for difference in gradients[:SHOWN_PARAMETERS]:
        print(f"    {difference}")
    worst = max(results, key=lambda difference: difference.relative)
    if not worst.relative <= tolerance:
        raise VerificationError(f"{model}: differs from Hugging Face's model by {worst}, above {tolerance:.1e}")
    print(f"equal within {tolerance:.1e}")


def random_tokens(settings: TrainingSettings, vocab_size: int) -> Tensor:
    """The same samples for everyone: [global_batch_size, sequence_length + 1] token ids."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randint(vocab_size, (settings.global_batch_size, settings.sequence_length + 1), generator=generator)


def _settings(layout: LayoutSettings, tokens: int) -> TrainingSettings:
    """One micro-batch of one sample for each stage, so that a pipeline has several under way."""
    return TrainingSettings(
        layout=layout,
        sequence_length=tokens,
        micro_batch_size=1,
        global_batch_size=layout.data_parallel_size * layout.pipeline_parallel_size,
        lr=1.0,  # has no influence: only the gradients of the first step are looked at
        lr_warmup_iters=0,
        clip_grad=0.0,
        dtype="fp32",
    )


def _compare(job: VerificationJob) -> list[Difference]:
    """Differences of the loss, the logits, and each gradient, in this order."""
    ours = load_file(job.output / LOSS_FILE)
    gradients = {
        name: tensor for path in job.output.glob(GRADIENTS_PATTERN) for name, tensor in load_file(path).items()
    }
    reference = _reference(job)
    differences = [Difference.between(name, ours[name], reference.pop(name)) for name in ("loss", "logits")]
    return [*differences, *_compare_gradients(gradients, reference)]


def _compare_gradients(ours: Mapping[str, Tensor], reference: Mapping[str, Tensor]) -> Iterator[Difference]:
    if ours.keys() != reference.keys():
        names = ", ".join(sorted(ours.keys() ^ reference.keys()))
        raise VerificationError(f"these parameters are in only one of the two models: {names}")
    for name, gradient in reference.items():
        yield Difference.between(name, ours[name], gradient)


def _reference(job: VerificationJob) -> dict[str, Tensor]:
    """Hugging Face's loss, the logits of the first sample, and gradients under their parameters' names."""
    try:
        from transformers import AutoModelForCausalLM
    except ImportError:
        raise InputError("verify compares with the package transformers, which is not installed") from None

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with stderr_only_on_failure():
        model = AutoModelForCausalLM.from_pretrained(
            job.model, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        ).to(device)
    tokens = random_tokens(job.settings, model.config.vocab_size).to(device)
    logits = model(tokens[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    gradients = {name: parameter.grad.cpu() for name, parameter in model.named_parameters()}
    return {"loss": loss.detach().cpu().reshape(1), "logits": logits[0].detach().cpu()} | gradients
