"""Before a run: will it fit, will it learn, how long will it take?"""

from __future__ import annotations

import math

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.errors import release_frames
from pgnotes.lm.grpo import train_step
from pgnotes.lm.learner import learner
from pgnotes.lm.logprobs import CHUNK_LOGITS
from pgnotes.lm.models import device_capability, loading, locate, precision
from pgnotes.lm.policy import add_adapters
from pgnotes.lm.tasks import Task

GIB = 2**30


def memory_estimate(config: GRPOConfig, capability: tuple[int, int] | None = None) -> dict[str, float]:
    """GiB that training takes, by part, from the model's configuration alone: nothing is loaded (lesson 09).

    capability: of the CUDA device, None for a CPU.  The activations are those of one group, which goes through the
    backward pass at a time: for each token and layer about twelve vectors of the hidden size and four of the MLP's.
    """
    with loading(config.model), torch.device("meta"):
        shape = AutoConfig.from_pretrained(locate(config.model))
        model = AutoModelForCausalLM.from_config(shape)
    parameters = sum(p.numel() for p in model.parameters())
    if config.lora_rank:
        add_adapters(model, config.lora_rank)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    frozen = parameters if config.lora_rank else 0  # kept in half precision, and start model and sampler as well
    shape = shape.get_text_config()

    half = precision(capability, config.precision).itemsize
    attention_heads = getattr(shape, "num_attention_heads", 1)
    heads = getattr(shape, "num_key_value_heads", None) or attention_heads
    width = getattr(shape, "head_dim", None) or shape.hidden_size // attention_heads
    embedding = 0 if frozen else shape.vocab_size * shape.hidden_size
    tokens = config.prompts_per_step * config.group_size * (config.prompt_tokens + config.token_limit)
    group = config.prompt_tokens + config.group_size * config.token_limit
    wide = getattr(shape, "intermediate_size", None) or 4 * shape.hidden_size
    logits = min(CHUNK_LOGITS, config.group_size * config.token_limit * shape.vocab_size)
    parts = {
        "weights": 4 * trained + half * frozen,
        "gradients": 4 * trained,
        "optimizer": 8 * trained,
        "half-precision copy": half * parameters if half == 2 and not frozen else 0,
        "reference": half * parameters if config.beta > 0 and not frozen else 0,
        "key/value cache": 2 * shape.num_hidden_layers * heads * width * half * tokens,
        "autocast's copies": half * (trained - embedding) if half == 2 else 0,
        "embedding's gradient on its way": 8 * embedding,  # what is added up, and what is added
        "logits": 16 * logits,  # and log-probabilities, probabilities, gradient
        "activations": group * shape.num_hidden_layers * half * (12 * shape.hidden_size + 4 * wide),
        # Each of a layer's seven matrices keeps what came in, in float32.
        "adapters' inputs": group * shape.num_hidden_layers * 4 * (6 * shape.hidden_size + wide) if frozen else 0,
    }
    return {name: size / GIB for name, size in parts.items()} | {"total": sum(parts.values()) / GIB}


def preflight(config: GRPOConfig, task: Task | None = None) -> dict:
    """Do one step of the run on a copy that is thrown away, and say what to expect (lesson 09).

    task: instead of the one that `config` names.
    pass_rate, truncated (share cut off by the token limit), reward_std, dead_fail and dead_pass (shares of groups
    without a signal), expected_dead (pᴳ + (1-p)ᴳ at that pass rate; None where rewards are not 0 and 1 alone, and
    groups of failures differ), seconds_per_step, minutes (all steps, without a warm-up), memory (`memory_estimate`).
    """
    try:
        record, seconds = train_step(learner(config, task=task), 0)
    except BaseException as error:
        release_frames(error)
        raise
    keys = ("pass_rate", "truncated", "reward_std", "dead_fail", "dead_pass")
    p, per_step = record["pass_rate"], seconds["rollout_s"] + seconds["train_s"]
    two_valued = math.isclose(record["reward"], p)  # it pays for passes, and for nothing else
    return {key: record[key] for key in keys} | {
        "expected_dead": p**config.group_size + (1 - p) ** config.group_size if two_valued else None,
        "seconds_per_step": per_step,
        "minutes": per_step * config.steps / 60,
        "memory": memory_estimate(config, device_capability(config.device)),
    }
