"""A causal language model and its tokenizer, from the hub, a folder or the bundled model; devices and precision."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import torch
from accelerate import Accelerator
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.constants import ENDPOINT
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DynamicCache,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import logging

from pgnotes.lm.errors import BadInputError, out_of_memory
from pgnotes.lm.policy import check_logprobs


def precision(capability: tuple[int, int] | None, wanted: str = "auto") -> torch.dtype:
    """What to compute in: bfloat16 on CUDA devices from compute capability 8.0 on, float16 on older ones, else float32.

    capability: (major, minor), or None without CUDA.  wanted: the setting, which decides unless it is "auto".
    `torch.cuda.is_bf16_supported()` is no help: it says yes on a T4 (sm_75), where bfloat16 is emulated.
    """
    if wanted != "auto":
        return getattr(torch, wanted)
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
            f"device is {name!r}, which {'the processes do not share' if several else 'this machine does not have'}; "
            "try auto"
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


OLD_NAMES = {"gpt2": "openai-community/gpt2", "distilgpt2": "distilbert/distilgpt2"}  # from before owners had one


def locate(name: str) -> str:
    """Where to load a model from: the bundled folder for "pocket", a folder as given, else a hub id.

    A run's folder stands for the `model/` in it.  BadInputError for a folder that holds no model or a name that is
    neither; ConnectionError for a hub id that is not in the cache while the hub is out of reach.
    """
    if name == "pocket":
        return str(files("pgnotes.lm.pocket"))
    folder = Path(name).expanduser()
    if folder.is_dir():
        found = next((f for f in (folder, folder / "model") if (f / "config.json").is_file()), None)
        if found is None:
            raise BadInputError(
                f"model is {name!r}, a folder without config.json; "
                "give a folder written by save_pretrained, a hub id, or 'pocket'"
            )
        return str(found)
    name = OLD_NAMES.get(name, name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise BadInputError(
            f"model is {name!r}, which is neither a folder here nor a hub id like 'Qwen/Qwen2.5-0.5B-Instruct'; "
            "the bundled model is 'pocket'"
        )
    cached = try_to_load_from_cache(name, "config.json")
    reason = why_no_hub()
    if reason is None:
        return name
    if not isinstance(cached, str):
        raise ConnectionError(
            f"model is {name!r}, which is not on this machine, and the hub can't be reached ({reason}); "
            "--set model=pocket needs no network"
        )
    return str(Path(cached).parent)  # given the folder itself, nothing waits for a hub that does not answer


def is_pocket(name: str) -> bool:
    """True for the bundled model and for a folder with one built like it: both are asked in the same few characters."""
    templates = [Path(locate(place)) / "chat_template.jinja" for place in ("pocket", name)]
    return all(file.is_file() for file in templates) and templates[0].read_bytes() == templates[1].read_bytes()


def tokenizer_class(where: str) -> Any:
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
            f"model is {name!r}, which has no SDPA attention; "
            "eager attention would add a boolean mask instead of applying it"
        )
    model = model.to(device).eval()
    check_logprobs(model, name)
    return model, tokenizer


@contextlib.contextmanager
def loading(name: str) -> Generator[None]:
    """Make a fault while a model is read a BadInputError.

    Damaged files, missing ones, and kinds unknown here each fail in their own way.
    """
    try:
        yield
    except Exception as error:
        if out_of_memory(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadInputError(f"model is {name!r}, but it could not be loaded: {reason}") from error


@contextlib.contextmanager
def quiet(is_local: bool = True) -> Generator[None]:
    """No bars while files of this machine are read or written: they would bury the one that matters.

    A download shows its own.
    """
    shown = logging.is_progress_bar_enabled()
    if is_local:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def text_limit(model: PreTrainedModel) -> int | None:
    """The most tokens that prompt and completion may have together, or None.

    That is the number of positions the model knows, or the window of its attention where that is shorter: masks here
    know no window.
    """
    windows = [getattr(layer, "sliding_window", None) for layer in DynamicCache(config=model.config).layers]
    limits = [getattr(model.config.get_text_config(), "max_position_embeddings", None), *windows]
    return min((limit for limit in limits if limit and limit > 0), default=None)


def stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Every token that ends a completion: the generation settings' and the tokenizer's (Qwen2.5-Instruct has two)."""
    ends = model.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    return sorted({e for e in [*ends, tokenizer.eos_token_id] if e is not None})


def cut(tokenizer: PreTrainedTokenizerBase, prompt: str, max_tokens: int) -> str:
    """The prompt's first `max_tokens` tokens as text.

    The names of special tokens in it are defused: '<|end|>' in a text must not end it.
    """
    for special in tokenizer.all_special_tokens:
        prompt = prompt.replace(special, f"{special[:1]} {special[1:]}")
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    if len(ids) <= max_tokens:
        return prompt
    for end in range(max_tokens, len(ids)):  # further than `max_tokens` only where they do not make a single character
        if kept := str(tokenizer.decode(ids[:end])).rstrip("\ufffd"):
            return kept
    return prompt


def encode(tokenizer: PreTrainedTokenizerBase, message: str) -> Tensor:
    """Token ids [P] of one user message, ready for the completion.

    In the model's chat template, or as it is where there is none.
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


def request(tokenizer: PreTrainedTokenizerBase, message: Callable[[str], str], prompt: str, most: int) -> Tensor:
    """Token ids [P] of the message that a task makes of a prompt, which is cut to `most` tokens."""
    return encode(tokenizer, message(cut(tokenizer, prompt, most)))
