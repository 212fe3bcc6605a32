"""How long does one completion take that is asked for alone? The loop's own decoder beside `generate`.

    python benchmarks/latency.py                                              the bundled model
    python benchmarks/latency.py --preset laptop --model runs/laptop/model    what a run has made
    python benchmarks/latency.py --preset t4 --model runs/t4/model --vllm     and vLLM, on a GPU that has it

Held-out requests, one after the other, at temperature 1, each way in turn. vLLM's column is written after its
documentation and has not been run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import transformers
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.models import load, request, stop_ids
from pgnotes.lm.rollout import rollout, uniforms
from pgnotes.lm.tasks import digits_and_length

Way = Callable[[Tensor, int], int]  # a request's ids [P], its number -> tokens written, the stop among them


def by_the_loop(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, limit: int) -> Way:
    """The decoder that the steps sample with."""

    def write(asked: Tensor, number: int) -> int:
        (group,) = rollout(model, tokenizer, [asked], [uniforms(1, limit, number)], stop_ids(model, tokenizer))
        return int(group.mask.sum())

    return write


def by_generate(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, limit: int) -> Way:
    """The library's."""
    sampling = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_new_tokens": limit}
    sampling |= {"eos_token_id": stop_ids(model, tokenizer), "pad_token_id": stop_ids(model, tokenizer)[0]}

    @torch.no_grad()
    def write(asked: Tensor, number: int) -> int:
        ids = asked[None].to(model.device)
        return model.generate(ids, attention_mask=torch.ones_like(ids), **sampling).shape[1] - len(asked)

    return write


def by_vllm(name: str, limit: int) -> Way:
    """vLLM's, with the model loaded once more."""
    from vllm import LLM, SamplingParams

    engine, sampling = LLM(model=name), SamplingParams(temperature=1.0, max_tokens=limit)

    def write(asked: Tensor, number: int) -> int:
        (answer,) = engine.generate([{"prompt_token_ids": asked.tolist()}], sampling, use_tqdm=False)
        return len(answer.outputs[0].token_ids)

    return write


def measure(ways: dict[str, Way], requests: list[Tensor]) -> dict[str, tuple[Tensor, int]]:
    """For each way the milliseconds of each request, after one to warm up, and the tokens written."""
    times = {name: [] for name in ways}
    tokens = dict.fromkeys(ways, 0)
    for number, asked in enumerate([requests[0], *requests]):
        for name, write in ways.items():
            started = time.perf_counter()
            written = write(asked, number)
            times[name].append(1000 * (time.perf_counter() - started))
            tokens[name] += written if number else 0
    return {name: (torch.tensor(times[name][1:]), tokens[name]) for name in ways}


def main() -> None:
    """Print a row for each way to decode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="pocket", help="whose requests and limits")
    parser.add_argument("--model", default="pocket", help="a folder, a hub id, or the bundled model")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--vllm", action="store_true", help="measure vLLM, too")
    args = parser.parse_args()

    config = GRPOConfig.preset(args.preset)
    task = digits_and_length(config.length, config.digit_sum, instruction=config.instruction)
    model, tokenizer = load(args.model)
    openings = task.held_out[: args.requests]
    requests = [request(tokenizer, task.message, opening, config.prompt_tokens) for opening in openings]
    ways = {"pgnotes": by_the_loop(model, tokenizer, config.token_limit)}
    ways |= {"generate": by_generate(model, tokenizer, config.token_limit)}
    ways |= {"vllm": by_vllm(args.model, config.token_limit)} if args.vllm else {}

    print(f"torch {torch.__version__}, transformers {transformers.__version__}; {torch.get_num_threads()} threads")
    print(f"{len(requests)} requests, one at a time: milliseconds\n  {'':10}{'p50':>8}{'p95':>8}{'a token':>10}")
    for name, (times, tokens) in measure(ways, requests).items():
        p50, p95 = times.quantile(torch.tensor([0.5, 0.95])).tolist()
        print(f"  {name:10}{p50:8.0f}{p95:8.0f}{times.sum().item() / tokens:10.2f}")


if __name__ == "__main__":
    main()
