"""The settings of a run: one frozen dataclass and three presets."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from pgnotes.lm.errors import BadInputError
from pgnotes.lm.tasks import IN_WORDS, REWARDS
from pgnotes.theory import advantages, objectives

MOST_THREADS = 1024  # far more than a machine can start end the process without a word
DEVICES = ("auto", "cpu", "cuda", "mps")
LEAST = {
    2: ("group_size",),
    1: ("steps", "prompts_per_step", "epochs", "prompt_tokens", "evaluate", "checkpoint_every", "length"),
    0: (
        "max_new_tokens",
        "warmup",
        "decay_after",
        "half_life",
        "weight_decay",
        "beta",
        "entropy_bonus",
        "threads",
        "digit_sum",
    ),
}
CHOICES = {
    "advantages": advantages.KINDS,
    "loss": objectives.KINDS,
    "aggregate": objectives.AGGREGATES,
    "kl": objectives.KL_KINDS,
    "device": DEVICES,
}


@dataclass(frozen=True)
class GRPOConfig:
    """Everything that decides what a run does; two runs with equal settings (threads included) on one CPU end bitwise alike."""

    # what is learned
    model: str = "pocket"  # "pocket", a folder or a hub id
    prompts: str = "bundled"  # "bundled", "openwebtext" or a text file, one prompt a line
    length: int = 48  # characters a completion must have
    digit_sum: int = 12  # what its digits must add up to
    reward: str = "binary"  # "binary", "shaped", or a function of one's own, "file.py:function"
    task: str = "digits"  # or a function of one's own that makes one, "file.py:function"
    instruction: str = IN_WORDS  # the request put to the model
    prompt_tokens: int = 128  # openings are cut to so many tokens
    max_new_tokens: int = 0  # most tokens of a completion; 0 means length + 16
    # how much
    steps: int = 100
    prompts_per_step: int = 16
    group_size: int = 16  # completions of each prompt
    epochs: int = 1  # updates from each step's samples; with 1 the ratio is 1 by construction
    # how
    lr: float = 1e-5  # of AdamW; its course does not depend on `steps`, which can be raised later
    warmup: int = 10  # updates until the rate is whole
    decay_after: int = 0  # updates until it begins to fall
    half_life: int = 0  # updates in which it then halves; 0 means it never falls
    # Of AdamW; with 0.999 the second moment lags behind gradients that grow as rewards come in
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.01
    grad_clip: float = 1.0  # largest norm of the whole gradient
    temperature: float = 1.0  # of the sampler and of the scorer
    advantages: str = "grpo"
    loss: str = "ppo"
    clip: tuple[float, float] = (0.2, 0.2)  # how far below and above 1 a ratio still pushes
    aggregate: str = "token"
    beta: float = 0.0  # weight of the KL to the start model, in nats a token
    # Its gradient as a loss is the KL's own; under the paper's k3 one token of ratio e⁴ outweighs fifty others
    kl: str = "k2"
    entropy_bonus: float = 0.0  # weight of the entropy, in nats a token
    # bookkeeping
    seed: int = 0
    device: str = "auto"  # "cpu", "cuda" or "mps"; "auto" takes the GPU if there is one
    threads: int = 0  # of the CPU; 0 means all
    evaluate: int = 100  # completions sampled before, after, and on unseen targets
    checkpoint_every: int = 25

    def __post_init__(self) -> None:
        """BadInputError naming the first setting that can't work."""
        for least, keys in LEAST.items():
            for key in keys:
                if not least <= getattr(self, key) < math.inf:
                    raise BadInputError(f"{key} is {getattr(self, key)}; it must be at least {least}")
        if self.threads > MOST_THREADS:
            raise BadInputError(
                f"threads is {self.threads}; it must be at most {MOST_THREADS}, or 0 for all that there are"
            )
        for key in ("lr", "temperature", "grad_clip"):
            if not 0 < getattr(self, key) < math.inf:
                raise BadInputError(f"{key} is {getattr(self, key)}; it must be greater than 0")
        for key, known in CHOICES.items():
            if getattr(self, key) not in known:
                raise BadInputError(f"{key} is {getattr(self, key)!r}; it must be one of {', '.join(known)}")
        own = ":" in self.reward or ":" in self.task
        if not own and (self.reward not in REWARDS or self.task != "digits"):
            raise BadInputError(
                f"reward is {self.reward!r} and task {self.task!r}; a reward is one of {', '.join(REWARDS)}, a task is digits, "
                "and either may be file.py:function"
            )
        if len(self.betas) != 2 or not all(0 <= b < 1 for b in self.betas):
            raise BadInputError(f"betas is {self.betas}; it must be two numbers from 0 to below 1")
        try:
            objectives.clip_range(self.clip)
        except ValueError as error:
            raise BadInputError(str(error)) from None

    @property
    def token_limit(self) -> int:
        """The most tokens a completion may have."""
        return self.max_new_tokens or self.length + 16

    def learning_rate(self, updates: int) -> float:
        """The rate of the next update after so many: a straight line up, level, then halving every `half_life` updates."""
        fallen = 0.5 ** (max(0, updates - self.decay_after) / self.half_life) if self.half_life else 1.0
        return self.lr * fallen * min(1.0, (updates + 1) / max(self.warmup, 1))

    @classmethod
    def preset(cls, name: str) -> GRPOConfig:
        """The settings called "smoke" (20 s, for tests), "pocket" (a laptop, minutes) or "t4" (Qwen2.5-0.5B on Colab's T4)."""
        if name not in PRESETS:
            raise BadInputError(f"preset is {name!r}; it must be one of {', '.join(PRESETS)}")
        return cls(**PRESETS[name])

    @classmethod
    def from_json(cls, values: dict) -> GRPOConfig:
        """The settings from the dictionary in `run.json`; BadInputError for keys that another version of pgnotes knew."""
        known = {field.name: field.default for field in fields(cls)}
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
        if unknown := sorted(set(values) - set(known)):
            raise BadInputError(
                f"this run was made by another version of pgnotes; unknown settings: {', '.join(unknown)}"
            )
        for key, value in values.items():
            if not isinstance(value, type(known[key])) and not (
                isinstance(known[key], float) and isinstance(value, int)
            ):
                raise BadInputError(
                    f"{key} is {value!r} in the run's settings; it must be of type {type(known[key]).__name__}"
                )
        return cls(**values)


POCKET = {
    "device": "cpu",  # a model so small gains nothing from a GPU, and on a CPU two runs are alike to the bit
    "instruction": "{length} {digit_sum}: {prompt}",  # as in the pocket model's supervised stage
    "prompt_tokens": 96,
    "lr": 6.5e-4,  # a model of one million parameters takes large steps
    "decay_after": 105,  # most is learned by then, and smaller steps settle what is left
    "half_life": 25,
    "beta": 0.03,  # keeps the text language while the rule is learned
    "steps": 150,
    "evaluate": 400,
}

PRESETS: dict[str, dict] = {
    "smoke": POCKET | {"steps": 6, "prompts_per_step": 4, "group_size": 4, "evaluate": 16, "checkpoint_every": 2},
    "pocket": POCKET,
    "t4": {
        "model": "Qwen/Qwen2.5-0.5B-Instruct",
        "length": 64,
        "digit_sum": 20,
        "reward": "shaped",  # before training almost nothing passes, and a group without a pass teaches nothing
        "beta": 0.02,
        "steps": 120,
        "group_size": 8,
    },
}
