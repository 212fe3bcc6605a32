"""The one seam between the loop and a model: trunk, head, cache and masks, and the copies of it that a run needs.

A model family that does something of its own is taught here and nowhere else; `check_logprobs` finds those that do.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer

from pgnotes.lm.errors import BadInputError, out_of_memory

if TYPE_CHECKING:
    from peft import LoraModel

LORA_ALPHA = 32  # scaled by alpha/rank, all ranks want about the same rate (Schulman 2025, LoRA without regret)


# what a forward pass needs


def hidden_states(
    model: PreTrainedModel, ids: Tensor, positions: Tensor, mask: Tensor, cache: DynamicCache | None = None
) -> Tensor:
    """Hidden states [B, n, H] of tokens `ids` at `positions`, both [B, n]: the model's trunk, without its head.

    They see the keys (those in the cache first) where `mask` [B, 1, n, K] is True. Positions and mask are always given:
    without a mask, positions that start again are taken for a second text packed into the same row.
    """
    return model.base_model(
        input_ids=ids,
        position_ids=positions,
        attention_mask=mask,
        use_cache=cache is not None,
        **{cache_argument(model.base_model): cache},
    ).last_hidden_state


def cache_argument(trunk: nn.Module) -> str:
    """What the trunk calls its cache: transformers 5.24 renamed the argument."""
    return "cache" if "cache" in inspect.signature(trunk.forward).parameters else "past_key_values"


def head_logits(model: PreTrainedModel, hidden: Tensor, temperature: float) -> Tensor:
    """Logits [N, V] of hidden states [N, H] at this temperature, as the model scales them, in at least float32."""
    head = model.get_output_embeddings()
    with torch.autocast(hidden.device.type, enabled=False):
        logits = head(hidden.to(head.weight.dtype))
    logits = own_scaling(model, logits.to(torch.promote_types(logits.dtype, torch.float32)))
    return logits if temperature == 1 else logits / temperature


def own_scaling(model: PreTrainedModel, logits: Tensor) -> Tensor:
    """What some families do to the logits that leave their head; the others get them back as they are."""
    config = model.config.get_text_config()
    if divisor := getattr(config, "logits_scaling", None):  # Granite
        return logits / divisor
    if factor := getattr(config, "logit_scale", None):  # Cohere
        return logits * factor
    return logits


def causal(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Positions [B, n] and mask [B, 1, n, n] of texts that begin here."""
    rows, width = ids.shape
    earlier = torch.ones(width, width, dtype=torch.bool, device=ids.device).tril()
    return torch.arange(width, device=ids.device).expand(rows, -1), earlier.expand(rows, 1, -1, -1)


def prefill(model: PreTrainedModel, prompts: list[Tensor]) -> tuple[Tensor, DynamicCache, Tensor]:
    """Run each prompt once. prompts: B tensors [P_b] of ids.

    Returns (hidden [B, H] after the last token, cache, lengths [B]). Shorter prompts are padded on the right: causality
    hides the padding from every real token, and what is written afterwards must not look at it.
    """
    lengths = torch.tensor([len(p) for p in prompts], device=model.device)
    ids = nn.utils.rnn.pad_sequence(prompts, batch_first=True).to(model.device)
    cache = DynamicCache(config=model.config)
    hidden = hidden_states(model, ids, *causal(ids), cache)
    return hidden[torch.arange(len(prompts), device=model.device), lengths - 1], cache, lengths


def completion_hidden(model: PreTrainedModel, prompt: Tensor, tokens: Tensor, mask: Tensor, pack: int = 0) -> Tensor:
    """The hidden states [N, H] from which a group's N live tokens are chosen, one completion after the other.

    prompt: [P] ids.  tokens: [G, R] ids.  mask: [G, R] bool, True on live tokens, which come first in each row.
    pack: so many completions share a row and one copy of the prompt, each seeing the prompt and itself; 0 is
    `pack_size`, and 1 the plain way. Dead tokens are not computed (sequence packing, and Prefix Grouper, 2506.05433).
    """
    counts = (mask.sum(-1) - 1).clamp(min=0)  # each completion's last token is chosen, and chooses nothing
    pack = pack or pack_size(
        len(prompt), counts.float().mean().item(), len(tokens), model.config.get_text_config().hidden_size
    )
    completion, place = mask.nonzero(as_tuple=True)
    line = completion // pack

    # Where a completion begins in its row, behind the prompt and the completions before it.
    first = counts.cumsum(0) - counts
    first = len(prompt) + first - first[torch.arange(len(tokens), device=tokens.device) // pack * pack]
    ids = tokens.new_zeros(math.ceil(len(tokens) / pack), int((first + counts).max()))

    # Owners: -1 is the prompt, which everyone sees; padding sees the prompt and itself.
    owner, positions = torch.full_like(ids, -2), torch.arange(ids.shape[1], device=tokens.device).repeat(len(ids), 1)
    ids[:, : len(prompt)], owner[:, : len(prompt)] = prompt, -1
    inner = place < counts[completion]
    here = line[inner], (first[completion] + place)[inner]
    ids[here], owner[here], positions[here] = tokens[mask][inner], completion[inner], len(prompt) + place[inner]
    visible = (owner[:, None] == -1) | (owner[:, None] == owner[:, :, None])
    visible &= positions[:, None] <= positions[:, :, None]

    # By index_select: several completions begin at one place, and indexing would add up their gradients in any order.
    hidden = hidden_states(model, ids, positions, visible[:, None]).flatten(0, 1)
    before = torch.where(place == 0, len(prompt), first[completion] + place) - 1
    return hidden.index_select(0, line * ids.shape[1] + before)


def pack_size(prompt: int, length: float, completions: int, hidden: int) -> int:
    """How many completions of about this length share a row, so that a group costs the least arithmetic.

    A token costs about 24 h² operations in a layer's matrices and 4 h for each token of its row in attention (Kaplan et
    al. 2020, table 1): wide rows compute the prompt less often, and attend more in vain.
    """
    widths = [prompt + pack * length for pack in range(1, completions + 1)]
    costs = [math.ceil(completions / pack) * width * (6 * hidden + width) for pack, width in enumerate(widths, 1)]
    return 1 + costs.index(min(costs))


# the self-check


@torch.no_grad()
def check_logprobs(model: PreTrainedModel, name: str) -> None:
    """BadInputError unless the way in which completions are scored here gives the model's own log-probabilities.

    Two completions of five tokens after a prompt of four, beside the model's own forward pass. It catches models that
    do more to their logits than is known here, and those whose layers keep a running state instead of keys and values.
    """
    kind, head = model.config.model_type, model.get_output_embeddings()
    if head is None:
        raise BadInputError(f"model is {name!r}, of type {kind}, which has no head over a vocabulary of its own")
    for layer in DynamicCache(config=model.config).layers:
        if "LinearAttention" in type(layer).__name__ or not isinstance(layer, DynamicLayer):
            raise BadInputError(
                f"model is {name!r}, of type {kind}, with a {type(layer).__name__}: it keeps a running state, which "
                "completions can't share; give a model with attention in every layer"
            )

    # Any tokens will do, the same each time.
    ids = (7919 * torch.arange(1, 15, device=model.device)) % head.weight.shape[0]
    prompt, tokens = ids[:4], ids[4:].view(2, 5)
    try:
        hidden = completion_hidden(model, prompt, tokens, torch.ones_like(tokens, dtype=torch.bool), pack=2)
        found = head_logits(model, hidden, 1.0).log_softmax(-1).unflatten(0, (2, 5))
        logits = model(input_ids=torch.cat([prompt.expand(2, -1), tokens], dim=1)).logits[:, 3:-1]
    except (AttributeError, TypeError, IndexError, RuntimeError) as error:
        if out_of_memory(error):
            raise
        raise BadInputError(
            f"model is {name!r}, of type {kind}, which can't be run as training needs it: {error}"
        ) from error

    gap = (found - logits.to(found.dtype).log_softmax(-1)).gather(2, tokens[..., None]).abs().max().item()
    if gap > 10 * torch.finfo(model.dtype).eps ** 0.5:  # 0.003 nats in float32, 0.3 in float16; a fault is larger
        raise BadInputError(
            f"model is {name!r}, of type {kind}: scored here, a token's log-probability is up to {gap:.2g} nats off "
            "the model's own, which does more to its logits than is known here; this kind can't be trained here"
        )


@torch.no_grad()
def multiply_logits(model: PreTrainedModel, factor: float, name: str) -> None:
    """Multiply a model's logits by `factor`, for good: above 1 it is surer (temperature scaling, Guo et al. 2017).

    In the weights of its last normalisation, since the head's may be the embeddings' as well.
    BadInputError for a family where that does something else.
    """
    parts = [part for path, part in model.base_model.named_modules() if not re.search("[0-9]", path)]  # no layers
    norms = [part for part in parts if getattr(part, "weight", None) is not None and part.weight.dim() == 1]
    bias = getattr(model.get_output_embeddings(), "bias", None)
    scaled = [p for norm in norms[-1:] for p in norm.parameters()] + ([] if bias is None else [bias])

    ids = (7919 * torch.arange(1, 15, device=model.device))[None] % model.config.get_text_config().vocab_size
    before = model(input_ids=ids).logits
    for p in scaled:
        p.mul_(factor)
    gap = (model(input_ids=ids).logits / factor - before).abs().max() / before.abs().max()
    if gap > torch.finfo(model.dtype).eps ** 0.5:
        raise BadInputError(
            f"warmup_temperature is {factor}, but model {name!r}, of type {model.config.model_type}, has no last "
            "normalisation whose weights multiply its logits; set it to 1"
        )


# the model of a run


@dataclass
class Policy:
    """The model that a run trains, and all that it needs of it besides.

    Without adapters all weights are trained, in float32; the start model and the one that samples are models of their
    own. With adapters (LoRA, Hu et al. 2022) the weights stay as they are, in `compute_dtype`, and the start model is
    the same model with its adapters off.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stops: list[int]  # ids that end a completion
    compute_dtype: torch.dtype  # of the arithmetic; what is trained is float32
    start_model: PreTrainedModel | None = None  # as it was before training; None where nothing asks for it
    sampling_copy: PreTrainedModel | None = None  # in `compute_dtype`; None where the model itself samples
    adapters: LoraModel | None = None  # around `model`

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.model.device

    def trainable(self) -> dict[str, nn.Parameter]:
        """What is trained, by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def autocast(self) -> torch.autocast:
        """The context in which matrix products are in half precision, where the device has a good one."""
        return torch.autocast(self.device.type, self.compute_dtype, enabled=self.compute_dtype != torch.float32)

    @torch.no_grad()
    def sampler(self) -> PreTrainedModel:
        """The model as it samples: itself, or its half-precision copy brought up to date."""
        if self.sampling_copy is None:
            return self.model
        for ours, trained in zip(self.sampling_copy.parameters(), self.model.parameters(), strict=True):
            ours.copy_(trained)
        return self.sampling_copy

    @contextlib.contextmanager
    def reference(self) -> Generator[PreTrainedModel]:
        """The start model, in whatever form it is at hand."""
        if self.adapters is None:
            assert self.start_model is not None, "it was not loaded"
            yield self.start_model
            return
        self.adapters.disable_adapter_layers()
        try:
            yield self.model
        finally:
            self.adapters.enable_adapter_layers()

    def state(self) -> Mapping[str, Tensor]:
        """What a checkpoint keeps: all weights, or the adapters alone."""
        return self.model.state_dict() if self.adapters is None else self.trainable()

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state` gave.  RuntimeError if it does not fit."""
        if self.adapters is not None and set(state) != set(self.trainable()):
            raise RuntimeError("its adapters are others")
        self.model.load_state_dict(state, strict=self.adapters is None)

    def merged(self) -> PreTrainedModel:
        """A model for all uses: the adapters, if there are any, become part of its weights, for good."""
        return self.model if self.adapters is None else cast(PreTrainedModel, self.adapters.merge_and_unload())


def add_adapters(model: PreTrainedModel, rank: int, seed: int = 0) -> LoraModel:
    """Freeze a model, and put matrices of this rank beside each linear layer but the head (Hu et al. 2022, eq. 3).

    Only they are trained. The model is changed in place, and gives at first what it gave before.
    seed: of the random one of each two.  BadInputError without the package peft.
    """
    try:
        from peft import LoraConfig, LoraModel
    except ImportError as error:
        raise BadInputError(f"lora_rank is {rank}, which needs the package peft: pip install peft") from error
    config = LoraConfig(r=rank, lora_alpha=LORA_ALPHA, target_modules="all-linear")
    with torch.random.fork_rng():  # peft draws from the global generator
        torch.manual_seed(seed)
        adapters = LoraModel(model, config, "default")
    for p in model.parameters():
        if p.requires_grad:
            p.data = p.data.to(torch.promote_types(p.dtype, torch.float32))
    return adapters


def parameter_groups(parameters: dict[str, nn.Parameter], weight_decay: float) -> list[dict]:
    """Parameters for AdamW: matrices decay, biases and norms don't."""
    matrices = [p for p in parameters.values() if p.dim() > 1]
    others = [p for p in parameters.values() if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
