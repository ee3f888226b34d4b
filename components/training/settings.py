"""Settings of continued pretraining and supervised fine-tuning.

The published values of Meditron-7B and -70B (Chen et al. 2023, "the paper", and the scripts of its repository) are in
the recipes; the defaults here are those that both sizes share.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from components.platform.settings import Settings
from components.training.data.settings import ConversationSettings
from components.training.models.common.config import RopeConfig, layout_problems
from components.training.models.llama.config import LlamaConfig
from components.training.parallel.layout import ParallelLayout


class LayoutSettings(Settings):
    """How many processes train, and what each holds: their number is TP × PP × DP."""

    tensor_parallel_size: PositiveInt = Field(1, description="ranks that share each layer (paper: 7B 4, 70B 8)")
    pipeline_parallel_size: PositiveInt = Field(1, description="stages of layers (paper: 7B 1, 70B 8)")
    data_parallel_size: PositiveInt = Field(1, description="copies of the model, each with its own samples")

    def for_rank(self, rank: int) -> ParallelLayout:
        return ParallelLayout(
            self.tensor_parallel_size, self.pipeline_parallel_size, self.data_parallel_size, rank=rank
        )

    @property
    def world_size(self) -> int:
        return self.for_rank(0).world_size


class NewModelSettings(Settings):
    """A Llama with random weights; its vocabulary is that of the corpus's tokenizer."""

    hidden_size: PositiveInt = Field(description="width of the hidden states")
    num_hidden_layers: PositiveInt = Field(description="decoder layers")
    num_attention_heads: PositiveInt = Field(description="query heads")
    num_key_value_heads: PositiveInt = Field(description="key/value heads; fewer than query heads is GQA")
    intermediate_size: PositiveInt = Field(description="width inside the MLP")
    max_position_embeddings: PositiveInt = Field(description="longest sequence, in tokens")
    rope_theta: PositiveFloat = Field(10000.0, description="base of the rotary wavelengths")
    rms_norm_eps: PositiveFloat = Field(1e-5, description="added to the mean square in RMSNorm")
    initializer_range: PositiveFloat = Field(0.02, description="standard deviation of the random weights")

    @model_validator(mode="after")
    def _heads_fill_the_width(self) -> Self:
        if self.hidden_size % self.num_attention_heads or self.hidden_size // self.num_attention_heads % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} / num_attention_heads {self.num_attention_heads} must be an even "
                "whole number: it is the width of one head, which rotary positions turn in pairs"
            )
        return self

    def config(self, vocab_size: int) -> LlamaConfig:
        return LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            num_key_value_heads=self.num_key_value_heads,
            head_dim=self.hidden_size // self.num_attention_heads,
            rms_norm_eps=self.rms_norm_eps,
            max_position_embeddings=self.max_position_embeddings,
            rope=RopeConfig(theta=self.rope_theta),
        )


class BaseSettings(Settings):
    """The model that pretraining starts from: an existing one, or a new one."""

    path: str | None = Field(None, description="Hugging Face model folder below the data root, e.g. models/llama-2-7b")
    new: NewModelSettings | None = Field(None, description="sizes of a small new Llama")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.path is None) == (self.new is None):
            raise ValueError("give either `path` (an existing model) or `new` (sizes of a new one)")
        return self


class BatchRampUpSettings(Settings):
    """Smaller global batches at first, as in Megatron."""

    start: PositiveInt = Field(description="samples of the first global batches")
    increment: PositiveInt = Field(description="samples added at each step, up to global_batch_size")
    samples: PositiveInt = Field(description="samples over which the steps are spread evenly")


RecomputeKind = Literal["none", "selective", "full"]


class TrainingSettings(Settings):
    """What pretraining and fine-tuning have in common."""

    layout: LayoutSettings = Field(LayoutSettings(), description="parallelism; processes = TP × PP × DP")
    sequence_length: PositiveInt = Field(description="tokens per sample (paper: 7B 2048, 70B 4096)")
    micro_batch_size: PositiveInt = Field(description="samples per forward pass of a data-parallel rank")
    global_batch_size: PositiveInt = Field(description="samples per iteration, over all ranks")

    rampup_batch_size: BatchRampUpSettings | None = Field(None, description="smaller global batches at first")

    lr: PositiveFloat = Field(description="peak learning rate (paper: 7B 3e-4, 70B 1.5e-4)")
    min_lr: NonNegativeFloat = Field(0.0, description="learning rate at the end of the cosine")
    lr_warmup_iters: NonNegativeInt | None = Field(None, description="iterations of linear warm-up (reference: 2000)")
    lr_warmup_fraction: float | None = Field(None, ge=0, lt=1, description="the same as a share of all iterations")
    weight_decay: NonNegativeFloat = Field(0.1, description="AdamW weight decay of matrices (paper); norms: none")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="AdamW β₁ (paper)")
    adam_beta2: float = Field(0.95, ge=0, lt=1, description="AdamW β₂ (paper)")
    adam_eps: PositiveFloat = Field(1e-5, description="AdamW ε (paper)")
    clip_grad: NonNegativeFloat = Field(1.0, description="largest global gradient norm (paper); 0: no clipping")

    dtype: Literal["fp32", "bf16"] = Field("bf16", description="type of weights and activations (paper: bf16)")
    recompute: RecomputeKind = Field(
        "none",
        description="made again in the backward pass, for want of memory; selective: what is cheap; full: each layer",
    )
    compile: bool = Field(False, description="compile each decoder layer (torch.compile); pays off on GPUs")
    seed: NonNegativeInt = Field(1234, description="order of samples and random initial weights")

    loss_spike_factor: NonNegativeFloat = Field(
        10.0, description="losses above median + this × median distance from it are suspicious; 0: none are"
    )
    loss_spike_window: PositiveInt = Field(100, description="iterations that this median is taken over")
    loss_spike_iterations: PositiveInt = Field(5, description="suspicious iterations in a row that are a loss spike")
    on_loss_spike: Literal["stop", "skip"] = Field(
        "stop", description="skip: go back to the newest checkpoint and leave out the batches since (PaLM, §5.1)"
    )

    save_interval: PositiveInt = Field(200, description="iterations between checkpoints")
    keep_checkpoints: PositiveInt = Field(2, description="newest complete checkpoints to keep while training")
    keep_every: NonNegativeInt = Field(
        0, description="the first checkpoint at or after each multiple of so many iterations is kept, too; 0: none is"
    )
    collective_timeout_minutes: PositiveInt = Field(30, description="a rank waiting longer for another one gives up")

    @property
    def micro_batches(self) -> int:
        """Micro-batches of one data-parallel rank per iteration (gradient accumulation steps)."""
        return self.global_batch_size // (self.micro_batch_size * self.layout.data_parallel_size)

    @model_validator(mode="after")
    def _recompute_can_be_compiled(self) -> Self:
        if self.compile and self.recompute == "selective":
            raise ValueError(
                "recompute: selective is for layers that aren't compiled; compiled ones do so by themselves: "
                "choose none, or full if memory is still short"
            )
        return self

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        together = self.micro_batch_size * self.layout.data_parallel_size
        if self.global_batch_size % together:
            raise ValueError(
                f"global_batch_size {self.global_batch_size} is not divisible by micro_batch_size "
                f"{self.micro_batch_size} × data_parallel_size {self.layout.data_parallel_size} = {together}; "
                f"the next that is: {-(-self.global_batch_size // together) * together}"
            )
        if self.rampup_batch_size is not None:
            self._check_ramp_up(self.rampup_batch_size, together)
        if self.sequence_length % self.layout.tensor_parallel_size:
            raise ValueError(
                f"sequence_length {self.sequence_length} is not divisible by tensor_parallel_size "
                f"{self.layout.tensor_parallel_size}: each rank of a tensor group holds an equal part of the sequence"
            )
        return self

    def _check_ramp_up(self, ramp: BatchRampUpSettings, together: int) -> None:
        for name, value in (("start", ramp.start), ("increment", ramp.increment)):
            if value % together:
                raise ValueError(
                    f"rampup_batch_size.{name} {value} is not divisible by micro_batch_size × data_parallel_size = "
                    f"{together}; the next that is: {-(-value // together) * together}"
                )
        rise = self.global_batch_size - ramp.start
        if rise <= 0 or rise % ramp.increment:
            raise ValueError(
                f"rampup_batch_size: from start {ramp.start} in steps of increment {ramp.increment}, global_batch_size "
                f"{self.global_batch_size} is never met; choose an increment that divides their difference, {rise}, "
                "and a start below global_batch_size"
            )

    @model_validator(mode="after")
    def _schedule_is_possible(self) -> Self:
        if (self.lr_warmup_iters is None) == (self.lr_warmup_fraction is None):
            raise ValueError("give either `lr_warmup_iters` or `lr_warmup_fraction`")
        if self.min_lr > self.lr:
            raise ValueError(f"min_lr {self.min_lr} is above lr {self.lr}")
        return self

    def warmup_iters(self, train_iters: int) -> int:
        """Iterations of linear warm-up in a run of `train_iters`."""
        if self.lr_warmup_iters is not None:
            return self.lr_warmup_iters
        return round(self.lr_warmup_fraction * train_iters)


class RetrainingSettings(Settings):
    """Going on from a pretrained model with new documents: weights are kept, the optimizer starts anew.

    The learning rate is warmed up again and decays again, and some of the old text is replayed (Ibrahim et al. 2024,
    arXiv 2403.08763: this matches training on everything from the start; for data much like the old, they replay 5%,
    and see little difference between lengths of the warm-up).
    """

    min_tokens: PositiveInt = Field(description="fewer new training tokens than this wait for more to come")
    epochs: PositiveFloat = Field(1.0, description="passes over the new documents")
    old_share: float = Field(0.05, ge=0, lt=1, description="share of samples drawn from what was trained on before")
    lr: PositiveFloat | None = Field(None, description="peak learning rate; null: that of pretraining")
    lr_warmup_fraction: float = Field(0.01, ge=0, lt=1, description="share of the iterations that warm up again")


class PretrainSettings(TrainingSettings):
    """Continued pretraining on the corpus (paper)."""

    base: BaseSettings = Field(description="the model to start from")
    train_iters: PositiveInt = Field(description="optimizer steps")
    retraining: RetrainingSettings | None = Field(
        None, description="how a run that goes on from the champion trains on what is new; null: none can"
    )
    document_boundaries: Literal["ignore", "reset"] = Field(
        "ignore", description="reset: positions begin anew with each document, which sees and predicts no other one"
    )
    eval_interval: PositiveInt = Field(200, description="iterations between validations")
    eval_iters: NonNegativeInt = Field(10, description="global batches per validation; 0: none")

    @model_validator(mode="after")
    def _new_model_fits(self) -> Self:
        if self.base.new is not None:
            problems = layout_problems(
                self.base.new.config(vocab_size=1), self.layout.for_rank(0), self.sequence_length
            )
            if problems:
                raise ValueError("; ".join(problems))
        return self

    @model_validator(mode="after")
    def _warmup_ends(self) -> Self:
        if self.warmup_iters(self.train_iters) >= self.train_iters:
            raise ValueError(
                f"lr_warmup_iters {self.lr_warmup_iters} leaves nothing of train_iters {self.train_iters}; lower it"
            )
        return self

    @model_validator(mode="after")
    def _new_tokens_fill_a_sample(self) -> Self:
        if self.retraining and self.retraining.min_tokens <= self.sequence_length:
            raise ValueError(
                f"retraining.min_tokens {self.retraining.min_tokens} is no sample: sequence_length is "
                f"{self.sequence_length}; give at least {self.sequence_length + 1}"
            )
        if self.retraining and (self.retraining.lr or self.lr) < self.min_lr:
            raise ValueError(f"min_lr {self.min_lr} is above retraining.lr {self.retraining.lr}")
        return self

    def retrained(self, train_iters: int) -> PretrainSettings:
        """The same for a retraining of so many iterations."""
        changed = {
            "train_iters": train_iters,
            "lr": self.retraining.lr or self.lr,
            "lr_warmup_iters": None,
            "lr_warmup_fraction": self.retraining.lr_warmup_fraction,
        }
        return self.model_copy(update=changed)

    def source_patterns(self) -> list[str]:
        """Names or globs, below the data root, of all files that are read."""
        path = self.base.path
        return [] if path is None else [f"{path}/config.json", f"{path}/*.safetensors"]


class SftSettings(TrainingSettings):
    """Supervised fine-tuning on conversations (paper); the loss counts the answers only, unless told otherwise."""

    data: ConversationSettings = Field(description="what to learn from")
    packing: bool = Field(False, description="true: several conversations, which don't see each other, in a sample")
    prompt_weight: float = Field(0.0, ge=0, description="weight in the loss of tokens that are not part of an answer")
    epochs: PositiveFloat | None = Field(None, description="passes over the conversations (paper: 3)")
    train_iters: PositiveInt | None = Field(None, description="optimizer steps, instead of `epochs`")

    @model_validator(mode="after")
    def _length_is_given_once(self) -> Self:
        if (self.epochs is None) == (self.train_iters is None):
            raise ValueError("give either `epochs` or `train_iters`")
        return self

    def source_patterns(self) -> list[str]:
        """Names or globs, below the data root, of all files that are read."""
        return self.data.source_patterns()
