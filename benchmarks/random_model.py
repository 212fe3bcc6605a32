"""Models with random weights, a tokenizer of numbered words, and runs on them.

For measurements that need a shape and not a skill.
"""

from __future__ import annotations

import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config
from transformers.utils import logging

from pgnotes.lm.config import GRPOConfig
from pgnotes.lm.learner import Learner, learner
from pgnotes.lm.policy import Policy
from pgnotes.lm.rollout import Group, generate
from pgnotes.lm.tasks import from_reward

logging.disable_progress_bar()

SMALL = {  # about 25 million parameters, half of them in the embedding
    "vocab_size": 32_000,
    "hidden_size": 384,
    "intermediate_size": 1024,
    "num_hidden_layers": 8,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
}
TINY = SMALL | {
    "vocab_size": 2_000,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
QWEN25_05B = {  # Qwen2.5-0.5B, to the parameter
    "vocab_size": 151_936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
}
SIZES = {"small": SMALL, "tiny": TINY, "qwen": QWEN25_05B}


def write_model(folder: Path, shape: dict, seed: int = 0) -> str:
    """Save a Qwen2 of this shape and a tokenizer whose word "w17" is token 17.

    The stop token is none of the model's, so no completion ends early.
    """
    torch.manual_seed(seed)
    no_ends = {"bos_token_id": None, "eos_token_id": None}
    config = Qwen2Config(**shape, **no_ends, max_position_embeddings=4096, tie_word_embeddings=True)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)

    words = {f"w{i}": i for i in range(shape["vocab_size"])} | {"<end>": shape["vocab_size"]}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="w0").save_pretrained(folder)
    return str(folder)


def write_prompts(file: Path, tokens: int, vocab_size: int, count: int = 200, seed: int = 0) -> str:
    """Save `count` prompts of exactly so many tokens, one a line."""
    ids = torch.randint(1, vocab_size, (count, tokens), generator=torch.Generator().manual_seed(seed))
    lines = [" ".join(f"w{i}" for i in row) for row in ids.tolist()]
    file.write_text("\n".join(lines), encoding="utf-8")
    return str(file)


def random_reward(completions: list, **columns: object) -> list[float]:
    """A number for each completion that does not look at it, so that no group is dead."""
    return [random.random() for _ in completions]


def random_run(
    model: str,
    prompts: str,
    shape: tuple[int, int, int],
    per_step: int,
    compute_dtype: torch.dtype | None = None,
    **settings: object,
) -> Learner:
    """A run of the engine on these files, under `random_reward`.

    shape: tokens of a prompt, tokens of a completion, completions of a prompt.
    """
    length, new, group_size = shape
    fixed = {
        "instruction": "{prompt}",
        "prompt_tokens": length,
        "max_new_tokens": new,
        "group_size": group_size,
        "prompts_per_step": per_step,
    }
    config = GRPOConfig(model=model, prompts=prompts, **fixed, **settings)
    return learner(config, compute_dtype=compute_dtype, task=from_reward(random_reward, prompts), generate=all_ended)


def all_ended(policy: Policy, prompts: list[Tensor], noise: list[Tensor], temperature: float) -> list[Group]:
    """The loop's own samples, all of which pass for ended: a random model hardly ever ends, and would not be paid."""
    groups = generate(policy, prompts, noise, temperature)
    for group in groups:
        group.ended = torch.ones_like(group.ended)
    return groups
