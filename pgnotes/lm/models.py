"""A causal language model and its tokenizer from the hub, a folder, or the bundled pocket model; precision by device."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import httpx
import torch
from accelerate import Accelerator
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.constants import ENDPOINT
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.cache_utils import DynamicLayer
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import logging

from pgnotes.lm.errors import BadInputError, out_of_memory
from pgnotes.lm.logprobs import completion_logprobs


def precision(capability: tuple[int, int] | None) -> torch.dtype:
    """What to compute in on a CUDA device of this compute capability: bfloat16 from sm_80 on, float16 before; without CUDA (None) float32.

    `torch.cuda.is_bf16_supported()` is no help: it says yes on a T4 (sm_75), where bfloat16 is emulated.
    """
    if capability is None:
        return torch.float32
    return torch.bfloat16 if capability >= (8, 0) else torch.float16


def device_capability(device: torch.device | str = "auto") -> tuple[int, int] | None:
    """Compute capability of the first CUDA device, or None where `device` is another kind."""
    cuda = str(device).startswith(("auto", "cuda")) and torch.cuda.is_available()
    return torch.cuda.get_device_capability(0) if cuda else None


def processes_and_device(name: str = "auto") -> tuple[Accelerator, torch.device]:
    """This process among the others, and the device it computes on.

    name: "cpu", "cuda" or "mps"; "auto" takes the GPU if there is one.
    BadInputError for a device that this machine does not have, or that the processes do not share.
    """
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    # Accelerate leaves processes without GPUs alone with themselves unless it is told that they are to work on the CPU.
    accelerator = Accelerator(mixed_precision="no", cpu=several and (name == "cpu" or not torch.cuda.is_available()))
    if name in ("auto", accelerator.device.type):
        return accelerator, accelerator.device
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not has[name] or several:
        raise BadInputError(
            f"device is {name!r}, which {'the processes do not share' if several else 'this machine does not have'}; try auto"
        )
    return accelerator, torch.device(name)


def why_no_hub(seconds: float = 3.0) -> str | None:
    """Why the model hub does not answer within `seconds`, or None if it does.

    Asked once before the first download, which would retry for 20 s and more.
    """
    try:
        httpx.head(ENDPOINT, timeout=seconds)
        return None  # whatever the answer's status
    except ImportError as error:  # a SOCKS proxy wants a package of its own
        return f"{error}".splitlines()[0]
    except Exception as error:  # no network, or an address or a proxy that is none: each fails in its own way
        return f"{type(error).__name__}: {error}".rstrip(": ")


def locate(name: str) -> str:
    """Where to load a model from: the bundled folder for "pocket", a folder as given (a run's own `model/` inside it), else a hub id.

    BadInputError for a folder that holds no model or a name that is neither; ConnectionError for a hub id not in the cache while the hub is out of reach.
    """
    if name == "pocket":
        return str(files("pgnotes.lm.pocket"))
    folder = Path(name).expanduser()
    if folder.is_dir():
        found = next((f for f in (folder, folder / "model") if (f / "config.json").is_file()), None)
        if found is None:
            raise BadInputError(
                f"model is {name!r}, a folder without config.json; give a folder written by save_pretrained, a hub id, or 'pocket'"
            )
        return str(found)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise BadInputError(
            f"model is {name!r}, which is neither a folder here nor a hub id like 'Qwen/Qwen2.5-0.5B-Instruct'; the bundled model is 'pocket'"
        )
    cached = try_to_load_from_cache(name, "config.json")
    reason = why_no_hub()
    if reason is None:
        return name
    if not isinstance(cached, str):
        raise ConnectionError(
            f"model is {name!r}, which is not on this machine, and the hub can't be reached ({reason}); --set model=pocket needs no network"
        )
    return str(Path(cached).parent)  # given the folder itself, nothing waits for a hub that does not answer


def is_pocket(name: str) -> bool:
    """True for the bundled model and for a folder with a model built like it, which are asked in the same few characters."""
    templates = [Path(locate(place)) / "chat_template.jinja" for place in ("pocket", name)]
    return all(file.is_file() for file in templates) and templates[0].read_bytes() == templates[1].read_bytes()


def tokenizer_class(where: str) -> type:
    """AutoTokenizer, or PreTrainedTokenizerFast where the folder itself asks for that.

    AutoTokenizer gives every Qwen2 a Qwen2Tokenizer, which composes characters (NFC) whatever `tokenizer.json` says;
    then not every text survives a round trip.
    """
    named = get_tokenizer_config(where).get("tokenizer_class")
    return PreTrainedTokenizerFast if named in ("TokenizersBackend", "PreTrainedTokenizerFast") else AutoTokenizer


def load(
    name: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model in evaluation mode (no dropout: the policy that samples is the policy that is scored) and its tokenizer.

    name: "pocket", a folder or a hub id (see `locate` for the errors).  Attention is always SDPA, which takes the
    boolean masks used here.
    BadInputError also for a model whose log-probabilities would come out wrong (see `check_logprobs`).
    """
    where = locate(name)
    with loading(name), quiet(Path(where).is_dir()):
        tokenizer = tokenizer_class(where).from_pretrained(where, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(where, dtype=dtype, attn_implementation="sdpa")
    if model.config._attn_implementation != "sdpa":
        raise BadInputError(
            f"model is {name!r}, which has no SDPA attention; eager attention would add a boolean mask instead of applying it"
        )
    model = model.to(device).eval()
    check_logprobs(model, name)
    return model, tokenizer


@contextlib.contextmanager
def loading(name: str) -> Iterator[None]:
    """Make a fault while a model is read a BadInputError: damaged files, missing ones, and kinds unknown here each fail in their own way."""
    try:
        yield
    except Exception as error:
        if out_of_memory(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadInputError(f"model is {name!r}, but it could not be loaded: {reason}") from error


@contextlib.contextmanager
def quiet(is_local: bool = True) -> Iterator[None]:
    """No bars while files of this machine are read or written, which would bury the one that matters; a download shows its own."""
    shown = logging.is_progress_bar_enabled()
    if is_local:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@torch.no_grad()
def check_logprobs(model: PreTrainedModel, name: str) -> None:
    """BadInputError unless the way in which completions are scored here gives the model's own log-probabilities.

    Two completions of five tokens after a prompt of four, beside the model's own forward pass. It catches models that
    do something to their logits after the head (Granite and Cohere scale them), and those whose layers keep a running
    state instead of keys and values.
    """
    kind, head = model.config.model_type, model.get_output_embeddings()
    if head is None:
        raise BadInputError(f"model is {name!r}, of type {kind}, which has no head over a vocabulary of its own")
    layers = DynamicCache(config=model.config).layers
    if odd := next(
        (
            type(layer).__name__
            for layer in layers
            if "LinearAttention" in type(layer).__name__ or not isinstance(layer, DynamicLayer)
        ),
        None,
    ):
        raise BadInputError(
            f"model is {name!r}, of type {kind}, with a {odd}: it keeps a running state, which completions can't share; "
            "give a model with attention in every layer"
        )
    # Any tokens will do, the same each time
    ids = (7919 * torch.arange(1, 15, device=model.device)) % head.weight.shape[0]
    prompt, tokens = ids[:4], ids[4:].view(2, 5)
    try:
        found, _ = completion_logprobs(model, prompt, tokens, torch.ones_like(tokens, dtype=torch.bool))
        logits = model(input_ids=torch.cat([prompt.expand(2, -1), tokens], dim=1)).logits[:, 3:-1]
    except (AttributeError, TypeError, IndexError, RuntimeError) as error:
        if out_of_memory(error):
            raise
        raise BadInputError(
            f"model is {name!r}, of type {kind}, which can't be run as training needs it: {error}"
        ) from error
    expected = logits.to(found.dtype).log_softmax(-1).gather(2, tokens[..., None])[..., 0]
    gap = (found - expected).abs().max().item()
    # 0.003 nats in float32, 0.3 in float16; what is wrong is wrong by more
    if gap > 10 * torch.finfo(model.dtype).eps ** 0.5:
        raise BadInputError(
            f"model is {name!r}, of type {kind}: scored here, a token's log-probability is up to {gap:.2g} nats off the model's own, "
            "which does more to its logits than its head; this kind can't be trained here"
        )


def text_limit(model: PreTrainedModel) -> int | None:
    """The most tokens that prompt and completion may have together, or None.

    That is the number of positions the model knows, or the window of its attention where that is shorter: masks here
    know no window.
    """
    windows = [getattr(layer, "sliding_window", None) for layer in DynamicCache(config=model.config).layers]
    limits = [getattr(model.config.get_text_config(), "max_position_embeddings", None), *windows]
    return min((limit for limit in limits if limit and limit > 0), default=None)


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token that ends a completion: those of the generation settings and the tokenizer's own (Qwen2.5-Instruct has two)."""
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    return sorted({e for e in [*ends, tokenizer.eos_token_id] if e is not None})


def cut(tokenizer: PreTrainedTokenizerBase, prompt: str, max_tokens: int) -> str:
    """The prompt's first `max_tokens` tokens as text, with the names of special tokens defused ('<|end|>' in a text must not end it)."""
    for special in tokenizer.all_special_tokens:
        prompt = prompt.replace(special, f"{special[:1]} {special[1:]}")
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    if len(ids) <= max_tokens:
        return prompt
    for end in range(max_tokens, len(ids)):  # further than `max_tokens` only where they do not make a single character
        if kept := tokenizer.decode(ids[:end]).rstrip("\ufffd"):
            return kept
    return prompt


def encode(tokenizer: PreTrainedTokenizerBase, message: str) -> Tensor:
    """Token ids [P] of one user message, ready for the completion: in the model's chat template, or as it is where there is none.

    ValueError for a message of no tokens: there would be nothing to continue.
    """
    if tokenizer.chat_template is None:
        ids = tokenizer(message)["input_ids"]
    else:
        chat = [{"role": "user", "content": message}]
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise ValueError(f"message is {message!r}, which has no tokens")
    return torch.tensor(ids)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Parameters for AdamW: matrices decay, biases and norms don't."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
