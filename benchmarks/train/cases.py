"""What is measured: models, batches and techniques, as plain data that also goes to the worker processes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

# AdamW in mixed precision: bfloat16 weights and gradients, float32 gradients, weights and two moments
BYTES_PER_PARAMETER = 2 + 2 + 4 + 4 + 4 + 4
# One layer's activations, in bytes by sequence · micro-batch · hidden, with flash attention (Korthikanti et al. 2022)
ACTIVATION_BYTES = 34
LOGIT_COPIES = 4  # of [tokens, vocabulary] in float32, that loss and gradient take at their peak
USABLE_MEMORY = 0.9  # the rest is for the CUDA context and for fragmentation


@dataclass(frozen=True)
class Shape:
    """Sizes of a Llama; `key_value_heads` = `heads`: no GQA."""

    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    vocabulary: int = 32_000

    def hf_config(self, sequence: int) -> dict[str, object]:
        """What a Hugging Face `config.json` says of it."""
        return {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_value_heads,
            "max_position_embeddings": sequence,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": False,
        }

    @property
    def layer_parameters(self) -> int:
        attention = 2 * self.hidden * self.hidden * (1 + self.key_value_heads / self.heads)
        return round(attention) + 3 * self.hidden * self.intermediate + 2 * self.hidden

    @property
    def parameters(self) -> int:
        return self.layers * self.layer_parameters + 2 * self.vocabulary * self.hidden + self.hidden

    def with_layers_for(self, memory: int, tokens: int) -> Shape:
        """As many of its layers as one GPU of `memory` bytes can train on micro-batches of `tokens`."""
        fixed = 2 * self.vocabulary * self.hidden * BYTES_PER_PARAMETER + LOGIT_COPIES * 4 * tokens * self.vocabulary
        layer = self.layer_parameters * BYTES_PER_PARAMETER + ACTIVATION_BYTES * tokens * self.hidden
        return replace(self, layers=max(1, min(self.layers, int((USABLE_MEMORY * memory - fixed) / layer))))


SMALL = Shape("small", hidden=256, intermediate=688, layers=4, heads=8, key_value_heads=4, vocabulary=4096)
TINY = Shape("tiny", hidden=32, intermediate=64, layers=4, heads=4, key_value_heads=2, vocabulary=128)
LLAMA_1B = Shape("1.3B", hidden=2048, intermediate=5504, layers=24, heads=16, key_value_heads=16)
LLAMA_7B = Shape("Llama-2-7B", hidden=4096, intermediate=11008, layers=32, heads=32, key_value_heads=32)


@dataclass(frozen=True)
class Case:
    """One loop on one model.

    Attributes:
        loop: our engine, or a plain loop over Hugging Face's model.
        layout: TP, PP, DP.
        micro_batch: sequences of one forward pass of a data-parallel rank.
        micro_batches: of one step, over all data-parallel ranks.
        dtype: "bf16" is float32 master weights in our engine; in Hugging Face's loop it is autocast over float32
            weights. "pure-bf16" has no float32 weights at all, and exists in Hugging Face's loop only.
        compile: torch.compile each decoder layer.
        fused: AdamW in one kernel. None: as the engine does by itself.
        attention: kernel that scaled_dot_product_attention is held to.
    """

    name: str
    loop: Literal["ours", "hugging-face"]
    shape: Shape
    sequence: int
    micro_batch: int
    micro_batches: int
    device: Literal["cpu", "cuda"]
    dtype: Literal["fp32", "bf16", "pure-bf16"]
    layout: tuple[int, int, int] = (1, 1, 1)
    compile: bool = False
    fused: bool | None = None
    attention: Literal["any", "flash", "math"] = "any"
    recompute: Literal["none", "selective", "full"] = "none"

    @property
    def tokens(self) -> int:
        """Of one step."""
        return self.sequence * self.micro_batch * self.micro_batches

    @property
    def world_size(self) -> int:
        tensor, pipeline, data = self.layout
        return tensor * pipeline * data

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Case:
        record = json.loads(text)
        return cls(**record | {"shape": Shape(**record["shape"]), "layout": tuple(record["layout"])})


def cpu_cases(shape: Shape, sequence: int) -> list[Case]:
    """Ours and Hugging Face's in one process each, then ours in eight."""
    ours = Case("this engine", "ours", shape, sequence, micro_batch=2, micro_batches=4, device="cpu", dtype="fp32")
    return [
        ours,
        replace(ours, name="plain Hugging Face loop", loop="hugging-face"),
        replace(ours, name="this engine, TP2 × PP2 × DP2", layout=(2, 2, 2)),
    ]


def gpu_cases(memory: int) -> list[Case]:
    """In the order of their worth, for time may run out: ours and Hugging Face's per shape and length, then ablations.

    Args:
        memory: bytes of the GPU, which decides how many layers of the 7B model there are.
    """
    cases = []
    for shape, sequence in ((LLAMA_7B, 4096), (LLAMA_1B, 2048), (LLAMA_7B, 2048), (LLAMA_1B, 4096)):
        micro_batch = (1 if shape is LLAMA_7B else 2) * 4096 // sequence
        fitted = shape.with_layers_for(memory, micro_batch * sequence)
        ours = Case(
            "this engine, all techniques",
            "ours",
            fitted,
            sequence,
            micro_batch,
            micro_batches=4,
            device="cuda",
            dtype="bf16",
            compile=True,
            fused=True,
        )
        cases += [ours, _hugging_face(ours, "Hugging Face, autocast, fused AdamW")]
    seven, one = cases[0], cases[2]
    for base in (one, seven):
        cases += [
            replace(base, name="without torch.compile", compile=False),
            replace(base, name="without fused AdamW", fused=False),
            replace(base, name="without flash attention", attention="math"),
            replace(base, name="without torch.compile, with selective recompute", compile=False, recompute="selective"),
            replace(base, name="with full recompute", recompute="full"),
        ]
    return [*cases, replace(_hugging_face(one, "Hugging Face, bfloat16 weights only"), dtype="pure-bf16")]


def _hugging_face(case: Case, name: str) -> Case:
    return replace(case, name=name, loop="hugging-face", compile=False)
