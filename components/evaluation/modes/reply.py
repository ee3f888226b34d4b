"""What a model answered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reply:
    """A model's answer to one item, in any mode.

    Attributes:
        text: what it said.
        prediction: the label it chose; None when that can't be read.
        restricted_prediction: the likeliest of the labels, whatever else was likelier; None where no label
            was scored.
        choice_logprobs: label → log-probability (nats).
    """

    text: str
    prediction: str | None
    restricted_prediction: str | None
    choice_logprobs: dict[str, float]


NO_REPLY = Reply(text="", prediction=None, restricted_prediction=None, choice_logprobs={})
