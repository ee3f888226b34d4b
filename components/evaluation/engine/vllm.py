"""Models run by a vLLM server, over its OpenAI-compatible completions API.

Prompts and replies travel as token ids, so both engines ask the same and read the same. What all prompts begin with
the server computes once by itself (automatic prefix caching). Whatever sampling it would take from the model's own
generation config is set here, so that replies are drawn from the model's whole distribution, as elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import urllib3

from components.evaluation.engine.interface import NextToken
from components.evaluation.engine.text import ModelText
from components.platform.errors import InputError

RETRIES = 5
RETRY_STATUSES = (429, 500, 502, 503, 504)
# The model's whole distribution: else a server takes these from the model's generation_config.json.
UNCHANGED = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}


class VllmEngine(ModelText):
    """The model that a server serves under the name `served`; its folder here gives the tokenizer."""

    def __init__(
        self, folder: Path, served: str, url: str, connections: int = 16, timeout_seconds: float = 600
    ) -> None:
        """`connections` are kept open; as many requests are in flight as a call has replies to wait for.

        Raises:
            InputError: there is no model in the folder, or the server can't be reached or does not serve it.
        """
        super().__init__(folder)
        self._served, self._url = served, url.rstrip("/")
        key = os.environ.get("VLLM_API_KEY")
        self._http = urllib3.PoolManager(
            maxsize=connections,
            timeout=urllib3.Timeout(connect=10, read=timeout_seconds),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            retries=urllib3.Retry(
                RETRIES,
                backoff_factor=0.2,
                status_forcelist=RETRY_STATUSES,
                allowed_methods=None,  # asking twice does no harm
                raise_on_status=False,
            ),
        )
        models = {model["id"]: model for model in self._call("GET", "/models")["data"]}
        if served not in models:
            raise InputError(
                f"{self._url}: serves {', '.join(models)}, but not {served}; start `vllm serve` for this model with "
                f"--served-model-name {served}"
            )
        limits = [limit for limit in (self.max_length, models[served].get("max_model_len")) if limit is not None]
        self.max_length = min(limits) - 1 if limits else None  # a server wants room for one new token at least

    def next_tokens(
        self, prompts: Sequence[Sequence[int]], choices: Sequence[Sequence[int]], shared: int = 0
    ) -> list[NextToken]:
        """One request per prompt, all at once."""
        answers = self._complete(
            [
                {
                    "prompt": list(prompt),
                    "max_tokens": 1,
                    "temperature": 0,
                    "logprobs": 1,
                    "logprob_token_ids": list(asked),
                    "return_tokens_as_token_ids": True,
                }
                for prompt, asked in zip(prompts, choices, strict=True)
            ]
        )
        return [self._next_token(answer, asked) for answer, asked in zip(answers, choices, strict=True)]

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[Sequence[int]],
        temperature: float,
        max_new_tokens: int,
        shared: int = 0,
    ) -> list[list[str]]:
        """One request per reply, all at once; `n` would share one seed among the replies to a prompt."""
        answers = iter(
            self._complete(
                [
                    {
                        "prompt": list(prompt),
                        "max_tokens": max_new_tokens,
                        "temperature": temperature,
                        "seed": seed,
                        "stop_token_ids": sorted(self.stop_tokens),
                        "return_token_ids": True,
                    }
                    for prompt, own in zip(prompts, seeds, strict=True)
                    for seed in own
                ]
            )
        )
        return [[self.reply(next(answers)["token_ids"]) for _ in own] for own in seeds]

    def _next_token(self, answer: dict[str, Any], asked: Sequence[int]) -> NextToken:
        found = {_token_id(token): logprob for token, logprob in answer["logprobs"]["top_logprobs"][0].items()}
        if missing := [token for token in asked if token not in found]:
            raise InputError(
                f"{self._url}: no log-probability of token {missing[0]} in the answer; expected a vLLM that knows "
                "`logprob_token_ids` in completions, as those since July 2026 do"
            )
        return NextToken(_token_id(answer["logprobs"]["tokens"][0]), [found[token] for token in asked])

    def _complete(self, requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The one choice that each completion consists of."""
        with ThreadPoolExecutor(len(requests)) as pool:
            return list(pool.map(self._choice, requests))

    def _choice(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = self._call("POST", "/completions", {"model": self._served, **UNCHANGED, **request})
        return answer["choices"][0]

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            response = self._http.request(method, self._url + path, json=body)
        except urllib3.exceptions.HTTPError as error:
            raise InputError(
                f"{self._url}: no answer ({type(error).__name__}); is the vLLM server running there? Finished items "
                "are kept: run again to go on"
            ) from None
        if response.status != 200:
            raise InputError(f"{self._url}{path}: status {response.status}: {response.data.decode(errors='replace')}")
        return response.json()


def _token_id(token: str) -> int:
    """The number in `token_id:NUMBER`, as `return_tokens_as_token_ids` writes tokens."""
    return int(token.removeprefix("token_id:"))
