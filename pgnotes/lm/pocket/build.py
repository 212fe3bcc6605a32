"""Make the pocket model: a byte tokenizer, a small Qwen2, and supervised training to follow requests roughly."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from pgnotes.lm.pocket.corpus import example
from pgnotes.lm.policy import parameter_groups
from pgnotes.lm.tasks import digits_and_length

SPECIAL = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
REQUEST = "{length} {digit_sum}: {prompt}"  # how the pocket model is asked; the pocket preset uses the same words
# Steps, peak learning rate, share of the numbers in requests that are exactly right
STAGES = ((2600, 3e-3, 0.0), (800, 1e-3, 0.1))
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, 256 of them after four special ones: every Unicode string survives a round trip."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(SPECIAL + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL[1:3],
        padding_side="left",
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.clean_up_tokenization_spaces = False
    return fast


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen2ForCausalLM:
    """A random Qwen2 of about one million parameters.

    The two stop tokens stand in its generation settings, as in Qwen2.5.
    """
    torch.manual_seed(seed)
    ends = [tokenizer.convert_tokens_to_ids("<|end|>"), tokenizer.pad_token_id]
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        eos_token_id=ends[0],
        pad_token_id=ends[1],  # ty: ignore[invalid-argument-type]
        bos_token_id=None,
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=ends, pad_token_id=ends[1], do_sample=True, temperature=1.0, top_k=0, top_p=1.0
    )
    return model


def batches(tokenizer: PreTrainedTokenizerFast, seed: int, exact: float, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (tokens [B, T], labels [B, T]); the label is -100 on the request and on padding.

    `exact` is for `corpus.example`.
    """
    rng, held_out = random.Random(seed), frozenset(digits_and_length().held_out)
    while True:
        rows = [ids_of(tokenizer, *example(rng, held_out, exact)) for _ in range(size)]
        width = max(len(request) + len(rest) for request, rest in rows)
        tokens, labels = torch.full((size, width), tokenizer.pad_token_id), torch.full((size, width), -100)
        for i, (request, rest) in enumerate(rows):
            end = len(request) + len(rest)
            tokens[i, :end] = torch.tensor(request + rest)
            labels[i, len(request) : end] = torch.tensor(rest)
        yield tokens, labels


def ids_of(
    tokenizer: PreTrainedTokenizerFast, length: int, digit_sum: int, start: str, rest: str
) -> tuple[list[int], list[int]]:
    """One of `corpus.example` as tokens: the request, and what is written after it with its stop token."""
    asked = [{"role": "user", "content": REQUEST.format(length=length, digit_sum=digit_sum, prompt=start)}]
    request = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    return tokenizer(request)["input_ids"], tokenizer(rest + "<|end|>")["input_ids"]


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 100 steps, then a straight line that would end at a twentieth of the peak."""
    return peak * min((step + 1) / 100, 1.0 - 0.95 * step / steps)


def build(
    out: Path, stages: tuple[tuple[int, float, float], ...] = STAGES, seed: int = 0, batch: int = 64
) -> Iterator[float]:
    """Train from nothing, stage by stage, and save under `out` in half precision.

    Yields the loss in nats a character of each step. A stage starts from the weights that the one before it would have
    saved, with a new optimizer and new sentences.
    """
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, seed)
    for number, (steps, peak, exact) in enumerate(stages):
        if number:
            model.half().float()

        optimizer = torch.optim.AdamW(
            parameter_groups(dict(model.named_parameters()), weight_decay=0.05), betas=(0.9, 0.98)
        )
        sentences = batches(tokenizer, seed + number, exact, batch)
        for step, (tokens, labels) in zip(range(steps), sentences, strict=False):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, steps, peak)

            # each place says what comes next
            hidden, targets = model.model(input_ids=tokens[:, :-1]).last_hidden_state, labels[:, 1:]
            live = targets >= 0
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[live]), targets[live])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            yield loss.item()

    model.half().save_pretrained(out)
    tokenizer.save_pretrained(out)
