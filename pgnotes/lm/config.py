"""The settings of a run: one frozen dataclass and four presets."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from pgnotes.lm.errors import BadInputError
from pgnotes.lm.tasks import IN_WORDS, REWARDS
from pgnotes.theory import advantages, mismatch, objectives, terms

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "float16", "bfloat16")


def setting(default: Any, least: float = -math.inf, most: float = math.inf, among: Iterable[str] = ()) -> Any:
    """A field of the settings and what it may be: a number from `least` to `most`, or one of `among`."""
    return field(default=default, metadata={"least": least, "most": most, "among": tuple(among)})


def positive(default: float) -> Any:
    """A field that must be greater than 0."""
    return setting(default, least=2.0**-1022)  # the least float that is not subnormal: those may count as 0


@dataclass(frozen=True)
class GRPOConfig:
    """Everything that decides what a run does.

    Two runs with equal settings (threads included) on one CPU end bitwise alike.
    """

    # what is learned
    model: str = "pocket"  # "pocket", a folder or a hub id
    lora_rank: int = setting(0, least=0)  # train adapters of this rank beside the weights; 0 trains the weights
    prompts: str = "bundled"  # "bundled", "openwebtext" or a text file, one prompt a line
    length: int = setting(48, least=1)  # characters a completion must have
    digit_sum: int = setting(12, least=0)  # what its digits must add up to
    reward: str = "binary"  # "binary", "shaped", "steep", or a function of one's own, "file.py:function"
    task: str = "digits"  # or a function of one's own that makes one, "file.py:function"
    instruction: str = IN_WORDS  # the request put to the model
    prompt_tokens: int = setting(128, least=1)  # openings are cut to so many tokens
    max_new_tokens: int = setting(0, least=0)  # most tokens of a completion; 0 means length + 16
    warmup_examples: int = setting(0, least=0)  # of the task's own, learned from before the first step
    warmup_batch: int = setting(16, least=1)  # examples in an update of that stage
    warmup_lr: float = positive(8e-5)  # of its AdamW at the beginning; it falls to a tenth
    # Logits are multiplied by it for good, and divided by it while examples are learned; above 1 leaves a surer model.
    warmup_temperature: float = positive(1.0)
    # how much
    steps: int = setting(100, least=1)
    prompts_per_step: int = setting(16, least=1)
    group_size: int = setting(16, least=2)  # completions of each prompt
    epochs: int = setting(1, least=1)  # updates from each step's samples; with 1 the ratio is 1 by construction
    # how
    lr: float = positive(1e-5)  # of AdamW; its course does not depend on `steps`, which can be raised later
    warmup: int = setting(10, least=0)  # updates until the rate is whole
    decay_after: int = setting(0, least=0)  # updates until it begins to fall
    half_life: int = setting(0, least=0)  # updates in which it then halves; 0 means it never falls
    # Of AdamW; with 0.999 the second moment lags behind gradients that grow as rewards come in.
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = setting(0.01, least=0)
    grad_clip: float = positive(1.0)  # largest norm of the whole gradient
    temperature: float = positive(1.0)  # of the sampler and of the scorer
    # "gdpo" takes the task's several rewards, each normalised alone, where it has them
    advantages: str = setting("grpo", among=(*advantages.KINDS, "gdpo"))
    loss: str = setting("ppo", among=terms.KINDS)
    clip: tuple[float, float] = (0.2, 0.2)  # how far below and above 1 a ratio still pushes; see `policy_loss`
    gate: tuple[float, float] = terms.GATE  # temperatures of loss "sapo", which has no clip
    sampler_cap: float = setting(0.0, least=0)  # weigh tokens by min(policy/sampler, cap); 0 leaves them as they are
    sampler_rule: str = setting("token", among=mismatch.SAMPLER_RULES)  # by what ratio, cut or masked at the cap
    sampler_floor: float = setting(0.0, least=0)  # masks drop what lies below, too
    aggregate: str = setting("token", among=objectives.AGGREGATES)
    beta: float = setting(0.0, least=0)  # weight of the KL to the start model, in nats a token
    # The gradient of k2 as a loss is the KL's own; under the paper's k3 one token of ratio e⁴ outweighs fifty others.
    kl: str = setting("k2", among=objectives.KL_KINDS)
    entropy_bonus: float = setting(0.0, least=-10)  # weight of the entropy, in nats a token; below 0 sureness is paid
    entropy_scale: str = setting("constant", among=objectives.ENTROPY_SCALES)  # by what the bonus is scaled in a step
    # bookkeeping
    seed: int = 0
    device: str = setting("auto", among=DEVICES)  # "auto" takes the GPU if there is one
    precision: str = setting("auto", among=PRECISIONS)  # of the arithmetic; "auto" takes half where a GPU gains by it
    threads: int = setting(0, least=0, most=1024)  # of the CPU; 0 means all; too many end the process without a word
    evaluate: int = setting(100, least=1)  # completions sampled before, after, and on unseen targets
    checkpoint_every: int = setting(25, least=1)

    def __post_init__(self) -> None:
        """BadInputError naming the first setting that can't work."""
        for limited in fields(self):
            if limited.metadata:
                check(limited.name, getattr(self, limited.name), **limited.metadata)
        own = ":" in self.reward or ":" in self.task
        if not own and (self.reward not in REWARDS or self.task != "digits"):
            raise BadInputError(
                f"reward is {self.reward!r} and task {self.task!r}; a reward is one of {', '.join(REWARDS)}, "
                "a task is digits, and either may be file.py:function"
            )
        if len(self.betas) != 2 or not all(0 <= b < 1 for b in self.betas):
            raise BadInputError(f"betas is {self.betas}; it must be two numbers from 0 to below 1")
        if self.sampler_floor > self.sampler_cap:
            raise BadInputError(f"sampler_floor is {self.sampler_floor}; it must not be above sampler_cap")
        try:
            terms.clip_range(self.clip)
            terms.gate_range(self.gate)
        except ValueError as error:
            raise BadInputError(str(error)) from None

    @property
    def token_limit(self) -> int:
        """The most tokens a completion may have."""
        return self.max_new_tokens or self.length + 16

    def learning_rate(self, updates: int) -> float:
        """The rate of the next update: a straight line up, level, then halving every `half_life` updates."""
        fallen = 0.5 ** (max(0, updates - self.decay_after) / self.half_life) if self.half_life else 1.0
        return self.lr * fallen * min(1.0, (updates + 1) / max(self.warmup, 1))

    @classmethod
    def preset(cls, name: str) -> GRPOConfig:
        """The settings of that name (lesson 09).

        "smoke" (20 s, for tests), "pocket" (the bundled model, minutes), "laptop" (SmolLM2-135M, an hour and a
        quarter without a GPU), "t4" (Qwen2.5-0.5B).
        """
        if name not in PRESETS:
            raise BadInputError(f"preset is {name!r}; it must be one of {', '.join(PRESETS)}")
        return cls(**PRESETS[name])

    @classmethod
    def from_json(cls, values: dict) -> GRPOConfig:
        """The settings from the dictionary in `run.json`.

        BadInputError for keys that another version of pgnotes knew, and for values of another type.
        """
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


def check(key: str, value: Any, least: float, most: float, among: tuple[str, ...]) -> None:
    """BadInputError unless a setting is what its field allows."""
    if among:
        if value not in among:
            raise BadInputError(f"{key} is {value!r}; it must be one of {', '.join(among)}")
    elif not least <= value < math.inf:
        raise BadInputError(
            f"{key} is {value}; it must be {f'at least {least}' if least % 1 == 0 else 'greater than 0'}"
        )
    elif value > most:
        raise BadInputError(f"{key} is {value}; it must be at most {most}")


def with_absolute_paths(config: GRPOConfig) -> GRPOConfig:
    """The settings with folders and files named from the root, so that a run can be resumed from anywhere."""
    changes = {}
    for key in ("model", "prompts"):
        path = Path(getattr(config, key)).expanduser()
        if getattr(config, key) not in ("pocket", "bundled", "openwebtext") and path.exists():
            changes[key] = str(path.resolve())
    for key in ("reward", "task"):
        file, colon, function = getattr(config, key).rpartition(":")
        if file and Path(file).expanduser().exists():
            changes[key] = f"{Path(file).expanduser().resolve()}{colon}{function}"
    return replace(config, **changes)


POCKET = {
    "device": "cpu",  # a model so small gains nothing from a GPU, and on a CPU two runs are alike to the bit
    "instruction": "{length} {digit_sum}: {prompt}",  # as in the pocket model's supervised stage
    "prompt_tokens": 96,
    "lr": 6.5e-4,  # a model of one million parameters takes large steps
    "decay_after": 105,  # most is learned by then, and smaller steps settle what is left
    "half_life": 25,
    "beta": 0.03,  # keeps the text language while the rule is learned
    "steps": 125,  # three runs pass 94, 96.5 and 97.5 % by then
    "evaluate": 400,
}

REAL = {  # a pretrained model that has never counted characters
    "length": 64,
    "digit_sum": 20,
    # Before them nothing passes, and reinforcement has nothing to sharpen. After these three or four in ten do, by many
    # numbers (three runs); after 3,840 others one or two in a hundred did, and the steps multiplied one trick (one run,
    # lesson 09).
    "warmup_examples": 12_800,
    "warmup_batch": 32,
    # Our reading: even choices stay about even, and where it tends to the right ending, the wrong one thins out.
    "warmup_temperature": 1.7,
    "reward": "steep",  # most of what does not pass is one or two off
    "advantages": "reinforce_pp",  # by the batch's spread: a group's would pay a character nearer like a pass
}

PRESETS: dict[str, dict] = {
    "smoke": POCKET | {"steps": 6, "prompts_per_step": 4, "group_size": 4, "evaluate": 16, "checkpoint_every": 2},
    "pocket": POCKET,
    "laptop": REAL
    | {
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "precision": "float32",  # small enough for it on any device, and so one recipe on all
        "max_new_tokens": 30,
        "warmup_lr": 5e-4,
        "lr": 4e-5,  # at 1e-4 the share that passed rose to 44 % in 70 steps, and then fell
        "decay_after": 75,
        "half_life": 60,
        "steps": 230,
        "prompts_per_step": 4,
    },
    "t4": REAL
    | {
        "model": "Qwen/Qwen2.5-0.5B-Instruct",
        "max_new_tokens": 32,
        "warmup_lr": 2e-4,  # four times as many weights take smaller steps
        "lr": 2e-5,
        "steps": 120,
        "group_size": 8,
        "beta": 0.02,  # on `laptop` the text stayed language without a leash; here nobody has looked yet
    },
}
