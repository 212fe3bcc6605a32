"""A progress bar that shows what training is about: pass rate, reward, KL, and the task's first measure."""

from __future__ import annotations

import os
from types import TracebackType

from tqdm.auto import tqdm


def measures_of(record: dict) -> list[str]:
    """The names of the task's measures in a record: what has a spread, but for the reward."""
    return [name.removesuffix("_std") for name in record if name.endswith("_std") and name != "reward_std"]


class Bar:
    """A consumer of step records, for `pgnotes.lm.grpo.train`; a context manager that opens and closes the bar."""

    def __init__(self, steps: int):
        silent = os.environ.get("RANK", "0") != "0"  # of several processes the first one shows a bar
        self.bar = tqdm(total=steps, desc="GRPO", unit="step", dynamic_ncols=True, disable=silent)

    def __call__(self, record: dict) -> None:
        """Move to the record's step."""
        shown = {"pass": f"{record['pass_rate']:.0%}", "reward": f"{record['reward']:.2f}"}
        shown |= {name: f"{record[name]:.0f}" for name in measures_of(record)[:1]}
        if record["kl"] is not None:
            shown["kl"] = f"{record['kl']:.3f}"
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update(record["step"] + 1 - self.bar.n)

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()
