"""A causal language model and its tokenizer from the hub, a folder, or the bundled pocket model; precision by device."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import httpx
import torch
from huggingface_hub import try_to_load_from_cache
from huggingface_hub.constants import ENDPOINT
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.models.auto.tokenization_auto import get_tokenizer_config
from transformers.utils import logging

logging.disable_progress_bar()  # one for every file loaded or saved would bury the one that matters


def precision(capability: tuple[int, int] | None) -> torch.dtype:
    """What to compute in on a CUDA device of this compute capability: bfloat16 from sm_80 on, float16 before; without CUDA (None) float32.

    `torch.cuda.is_bf16_supported()` is no help: it says yes on a T4 (sm_75), where bfloat16 is emulated.
    """
    if capability is None:
        return torch.float32
    return torch.bfloat16 if capability >= (8, 0) else torch.float16


def device_capability() -> tuple[int, int] | None:
    """Compute capability of the first CUDA device, or None."""
    return torch.cuda.get_device_capability(0) if torch.cuda.is_available() else None


def hub_is_reachable(seconds: float = 3.0) -> bool:
    """True if the model hub answers within `seconds`. Asked once before the first download, which would retry for 20 s and more."""
    try:
        httpx.head(ENDPOINT, timeout=seconds)
        return True  # whatever the answer's status
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def locate(name: str) -> str:
    """Where to load a model from: the bundled folder for "pocket", a folder as given (a run's own `model/` inside it), else a hub id.

    ValueError for a folder that holds no model or a name that is neither; ConnectionError for a hub id not in the cache while the hub is out of reach.
    """
    if name == "pocket":
        return str(files("pgnotes.lm.pocket"))
    folder = Path(name).expanduser()
    if folder.is_dir():
        found = next((f for f in (folder, folder / "model") if (f / "config.json").is_file()), None)
        if found is None:
            raise ValueError(f"model is {name!r}, a folder without config.json; give a folder written by save_pretrained, a hub id, or 'pocket'")
        return str(found)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ValueError(f"model is {name!r}, which is neither a folder here nor a hub id like 'Qwen/Qwen2.5-0.5B-Instruct'; the bundled model is 'pocket'")
    if hub_is_reachable():
        return name
    cached = try_to_load_from_cache(name, "config.json")
    if not isinstance(cached, str):
        raise ConnectionError(f"model is {name!r}, which is not on this machine, and the hub can't be reached; --set model=pocket needs no network")
    return str(Path(cached).parent)  # given the folder itself, nothing waits for a hub that does not answer


def tokenizer_class(where: str) -> type:
    """AutoTokenizer, or PreTrainedTokenizerFast where the folder itself asks for that.

    AutoTokenizer gives every Qwen2 a Qwen2Tokenizer, which composes characters (NFC) whatever `tokenizer.json` says; then not every text survives a round trip.
    """
    named = get_tokenizer_config(where).get("tokenizer_class")
    return PreTrainedTokenizerFast if named in ("TokenizersBackend", "PreTrainedTokenizerFast") else AutoTokenizer


def load(name: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A model in evaluation mode (no dropout: the policy that samples is the policy that is scored) and its tokenizer.

    name: "pocket", a folder or a hub id (see `locate` for the errors).  Attention is always SDPA, which takes the boolean masks used here.
    """
    where = locate(name)
    try:
        tokenizer = tokenizer_class(where).from_pretrained(where, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(where, dtype=dtype, attn_implementation="sdpa")
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"model is {name!r}, but it could not be loaded: {str(error).splitlines()[0]}") from error
    if model.config._attn_implementation != "sdpa":
        raise ValueError(f"model is {name!r}, which has no SDPA attention; eager attention would add a boolean mask instead of applying it")
    return model.to(device).eval(), tokenizer


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
    return prompt if len(ids) <= max_tokens else tokenizer.decode(ids[:max_tokens]).rstrip("\ufffd")


def encode(tokenizer: PreTrainedTokenizerBase, message: str) -> Tensor:
    """Token ids [P] of one user message, ready for the completion: in the model's chat template, or as it is where there is none."""
    if tokenizer.chat_template is None:
        return torch.tensor(tokenizer(message)["input_ids"])
    text = tokenizer.apply_chat_template([{"role": "user", "content": message}], tokenize=False, add_generation_prompt=True)
    return torch.tensor(tokenizer(text, add_special_tokens=False)["input_ids"])


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Parameters for AdamW: matrices decay, biases and norms don't."""
    matrices, others = ([p for p in model.parameters() if (p.dim() > 1) is wanted] for wanted in (True, False))
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
