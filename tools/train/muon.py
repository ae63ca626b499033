"""Muon (Jordan et al. 2024): momentum whose matrices are made orthogonal, with decoupled weight decay.

Scaled as in arXiv 2502.16982, so that a learning rate means what it means for AdamW. PyTorch's own goes matrix by
matrix, which costs more than the model's step here; this one takes all matrices of a shape at once.
"""

import torch


class Muon(torch.optim.Optimizer):
    """`params`: matrices only."""

    def __init__(self, params, lr, weight_decay, momentum=0.95):
        shapes = {}
        for p in params:
            shapes.setdefault(p.shape, []).append(p)
        defaults = dict(lr=lr, weight_decay=weight_decay, momentum=momentum)
        super().__init__([{"params": same} for same in shapes.values()], defaults)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            params = group["params"]
            gradient = torch.stack([p.grad for p in params])
            state = self.state[params[0]]
            if not state:
                state["momentum"] = torch.zeros_like(gradient)
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            update = orthogonal(gradient.lerp(state["momentum"], group["momentum"]))
            scale = 0.2 * max(update.shape[-2:]) ** 0.5
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(params, list(update.to(params[0].dtype).unbind()), alpha=-group["lr"] * scale)


def orthogonal(x):
    """The nearest orthogonal matrices, roughly, by Newton-Schulz iteration; x [count, rows, columns]."""
    tall = x.shape[-2] > x.shape[-1]
    x = x.bfloat16().mT if tall else x.bfloat16()
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.775 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x
