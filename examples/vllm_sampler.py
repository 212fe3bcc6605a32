"""Another sampler: vLLM writes the completions, the loop trains on them. It needs a GPU, and was not run here.

    pip install vllm                   in an environment of its own: vLLM brings its own PyTorch
    python examples/vllm_sampler.py    trains Qwen2.5-0.5B on the digits task into runs/vllm

vLLM computes in half precision and in another order, so that its probabilities are not quite the policy's:
`sampler_cap` weighs each token by min(policy/sampler, cap).
"""

from __future__ import annotations

import dataclasses
import os

from torch import Tensor

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.grpo import train
from pgnotes.lm.policy import Policy
from pgnotes.lm.rollout import Group, group_of


class VLLMSampler:
    """A `pgnotes.lm.rollout.Sampler`: vLLM in this process, given the policy's weights before each step."""

    def __init__(self, model: str, memory: float = 0.3):
        """model: a hub id or a folder.  memory: the share of the GPU's that vLLM may take."""
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the engine in this process, where it can be given weights
        from vllm import LLM

        # The log-probabilities of what was drawn, at the temperature it was drawn at.
        self.engine = LLM(model, gpu_memory_utilization=memory, logprobs_mode="processed_logprobs")

    def __call__(self, policy: Policy, prompts: list[Tensor], noise: list[Tensor], temperature: float) -> list[Group]:
        """Of the noise only the shape [R, G] counts, and its first number as a seed."""
        from vllm import SamplingParams

        weights = [(name, p.data) for name, p in policy.model.named_parameters()]
        self.engine.apply_model(lambda model: model.load_weights(iter(weights)))
        self.engine.reset_prefix_cache()  # it was computed by the old weights

        limit, group_size = noise[0].shape
        settings = [
            SamplingParams(
                n=group_size,
                max_tokens=limit,
                temperature=temperature,
                seed=int(2**31 * uniform[0, 0]),
                stop_token_ids=policy.stops,
                ignore_eos=False,
                logprobs=0,
                detokenize=False,
            )
            for uniform in noise
        ]
        asked = [{"prompt_token_ids": prompt.tolist()} for prompt in prompts]
        answers = self.engine.generate(asked, settings, use_tqdm=False)
        return [as_group(policy, prompt, answer.outputs) for prompt, answer in zip(prompts, answers, strict=True)]


def as_group(policy: Policy, prompt: Tensor, outputs: list) -> Group:
    """vLLM's completions of one prompt as a group."""
    ids = [list(output.token_ids) for output in outputs]
    chances = [
        [table[token].logprob for token, table in zip(output.token_ids, output.logprobs, strict=True)]
        for output in outputs
    ]
    return group_of(policy, prompt, ids, chances)


if __name__ == "__main__":
    config = dataclasses.replace(GRPOConfig.preset("t4"), sampler_cap=2.0)
    train(config, "runs/vllm", resume=True, generate=VLLMSampler(config.model))
