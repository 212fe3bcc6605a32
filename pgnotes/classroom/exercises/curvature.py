"""Lesson 12's products with a Fisher matrix, by differentiating a KL twice: two suspects, and five to be tried."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


def kl_at(theta: Tensor, visits: Tensor, keep: bool, forward: bool = True) -> Tensor:
    """KL between the policy of these logits and itself, to be differentiated.  keep: whether the old one is fixed."""
    now = theta.log_softmax(-1)
    old = now.detach() if keep else now
    first, second = (old, now) if forward else (now, old)
    return (visits * (first.exp() * (first - second)).sum(-1)).sum()


def kl_product(logits: Tensor, visits: Tensor, v: Tensor, keep: bool, forward: bool = True) -> Tensor:
    """F v as trainers take it: the gradient of (∇KL)·v.  keep: whether the old policy is held fixed."""
    with torch.enable_grad():
        theta = logits.detach().requires_grad_()
        (slope,) = torch.autograd.grad(kl_at(theta, visits, keep, forward), theta, create_graph=True)
        if not slope.requires_grad:
            return torch.zeros_like(v)
        return torch.autograd.grad((slope * v).sum(), theta)[0]


@dataclass(frozen=True)
class Suspect:
    """(logits, visits, v) -> F v of a table, by a KL differentiated twice."""

    keep: bool = field(repr=False)  # which has the bug is to be found out

    def __call__(self, logits: Tensor, visits: Tensor, v: Tensor) -> Tensor:
        """F v."""
        return kl_product(logits, visits, v, self.keep)

    def kl(self, logits: Tensor, visits: Tensor) -> tuple[Tensor, Tensor]:
        """The KL that it differentiates, at the policy itself, and its gradient."""
        theta = logits.detach().requires_grad_()
        kl = kl_at(theta, visits, self.keep)
        return kl.detach(), torch.autograd.grad(kl, theta)[0]


SUSPECTS = {"X": Suspect(keep=False), "Y": Suspect(keep=True)}


@dataclass(frozen=True)
class Product:
    """v [K] -> F v + damping · v of one softmax row, by one of several ways."""

    name: str
    logits: tuple[float, ...]
    damping: float
    keep: bool = True
    forward: bool = True

    def __call__(self, v: Tensor) -> Tensor:
        """What conjugate gradients are given, in the type that damping · v has."""
        v = v if isinstance(v, Tensor) else torch.as_tensor(v, dtype=torch.float64)
        if v.shape != (len(self.logits),):
            raise ValueError(f"v has shape {list(v.shape)}; it must be [{len(self.logits)}], one vector at a time")
        logits = torch.tensor(self.logits, dtype=torch.float64)
        curved = kl_product(logits, torch.ones((), dtype=torch.float64), v.double(), self.keep, self.forward)
        slack = self.damping * v
        return curved.to(slack.dtype) + slack

    def __repr__(self) -> str:
        """Its name alone: which is broken is to be found out."""
        return self.name


PRODUCTS = (
    Product("first", (0.0, 1.0, 2.0), 0.1),
    Product("second", (0.0, 1.0, 2.0), 0.1, keep=False),
    Product("third", (1.0, 1.0, -1.0, 0.0), 0.1, forward=False),
    Product("fourth", (1.0, 1.0, -1.0, 0.0), 0.01, keep=False, forward=False),
    Product("fifth", (3.0, 0.0), 0.5),
)
