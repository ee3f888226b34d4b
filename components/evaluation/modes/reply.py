"""What a model answered."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Reply:
    """A model's answer to one item, in any mode.

    Attributes:
        texts: what it said; several texts where several replies were drawn.
        votes: the label that each text chooses; None when that can't be read.
        prediction: the label that counts as its answer; None when no text chooses one.
        restricted_prediction: the likeliest of the labels, whatever else was likelier; None where no label
            was scored.
        choice_logprobs: label → log-probability (nats); empty where no label was scored.
    """

    texts: tuple[str, ...]
    votes: tuple[str | None, ...]
    prediction: str | None
    restricted_prediction: str | None = None
    choice_logprobs: dict[str, float] = field(default_factory=dict)


NO_REPLY = Reply(texts=(), votes=(), prediction=None)
