"""The selective scan of Mamba-1 (arXiv 2312.00752) with its gradient: Triton kernels on a GPU, a plain loop elsewhere.

h_t = exp(dt_t A) h_{t-1} + dt_t B_t u_t and y_t = C_t h_t, for every channel d and state n, in float32.
Shapes: u, dt, y [batch, length, D]; A [D, N]; B, C [batch, length, N]. D must be a multiple of 32, N a power of two.
"""

import torch

try:
    import triton
    import triton.language as tl
except ImportError:  # a CPU-only PyTorch comes without Triton
    triton = None

CHANNELS, WARPS = 32, 1  # of one program: the fastest of six pairs measured on an H200


def selective_scan(u, dt, A, B, C):
    """y of the recurrence above, [batch, length, D]; differentiable in all five inputs."""
    inputs = [t.float().contiguous() for t in (u, dt, A, B, C)]
    return torch.ops.hymba.scan(*inputs)[0] if u.is_cuda else plain_scan(*inputs)


def plain_scan(u, dt, A, B, C):
    """The recurrence step by step: the reference that the kernels are tested against."""
    h = u.new_zeros(u.shape[0], *A.shape)
    ys = []
    for t in range(u.shape[1]):
        h = torch.exp(dt[:, t, :, None] * A) * h + (dt[:, t] * u[:, t])[:, :, None] * B[:, t, None]
        ys.append((h * C[:, t, None]).sum(-1))
    return torch.stack(ys, 1)


if triton:

    @triton.jit
    def forward_kernel(u, dt, A, B, C, y, H, L, D: tl.constexpr, N: tl.constexpr, BD: tl.constexpr):
        b = tl.program_id(0).to(tl.int64)
        d = tl.program_id(1) * BD + tl.arange(0, BD)
        n = tl.arange(0, N)
        cell = d[:, None] * N + n[None, :]
        a = tl.load(A + cell)
        h = tl.zeros((BD, N), tl.float32)
        row = b * L
        step, x = tl.load(dt + row * D + d), tl.load(u + row * D + d)
        bt, ct = tl.load(B + row * N + n), tl.load(C + row * N + n)
        for t in range(L):
            row = b * L + t
            ahead = b * L + tl.minimum(t + 1, L - 1)  # loaded a step early: waiting for memory is what takes time
            next_step, next_x = tl.load(dt + ahead * D + d), tl.load(u + ahead * D + d)
            next_bt, next_ct = tl.load(B + ahead * N + n), tl.load(C + ahead * N + n)
            h = tl.exp(step[:, None] * a) * h + (step * x)[:, None] * bt[None, :]
            tl.store(y + row * D + d, tl.sum(h * ct[None, :], 1))
            tl.store(H + row * D * N + cell, h)
            step, x, bt, ct = next_step, next_x, next_bt, next_ct

    @triton.jit
    def backward_kernel(
        dy, u, dt, A, B, C, H, du, ddt, dA, dB, dC, L, D: tl.constexpr, N: tl.constexpr, BD: tl.constexpr
    ):
        b = tl.program_id(0).to(tl.int64)
        block = tl.program_id(1)
        d = block * BD + tl.arange(0, BD)
        n = tl.arange(0, N)
        cell = d[:, None] * N + n[None, :]
        a = tl.load(A + cell)
        carry = tl.zeros((BD, N), tl.float32)  # gradient that reaches h_t from later steps
        da = tl.zeros((BD, N), tl.float32)
        row = b * L + L - 1
        h = tl.load(H + row * D * N + cell)
        step, x, out = tl.load(dt + row * D + d), tl.load(u + row * D + d), tl.load(dy + row * D + d)
        bt, ct = tl.load(B + row * N + n), tl.load(C + row * N + n)
        for i in range(L):
            t = L - 1 - i
            row = b * L + t
            ahead = b * L + tl.maximum(t - 1, 0)
            before = tl.load(H + ahead * D * N + cell) * tl.where(t > 0, 1.0, 0.0)
            next_step, next_x = tl.load(dt + ahead * D + d), tl.load(u + ahead * D + d)
            next_bt, next_ct = tl.load(B + ahead * N + n), tl.load(C + ahead * N + n)
            next_out = tl.load(dy + ahead * D + d)
            g = carry + out[:, None] * ct[None, :]
            decay = tl.exp(step[:, None] * a)
            through = g * before * decay  # gradient of step * a
            gb = tl.sum(g * bt[None, :], 1)
            tl.store(du + row * D + d, gb * step)
            tl.store(ddt + row * D + d, tl.sum(through * a, 1) + gb * x)
            # Sums over the channels of this block only; the caller adds the blocks up, in a fixed order.
            partial = (block * tl.num_programs(0) + b) * L * N + t * N + n
            tl.store(dB + partial, tl.sum(g * (step * x)[:, None], 0))
            tl.store(dC + partial, tl.sum(out[:, None] * h, 0))
            da += through * step[:, None]
            carry = g * decay
            h = before
            step, x, out, bt, ct = next_step, next_x, next_out, next_bt, next_ct
        tl.store(dA + b * D * N + cell, da)


@torch.library.custom_op("hymba::scan", mutates_args=())
def scan(
    u: torch.Tensor, dt: torch.Tensor, A: torch.Tensor, B: torch.Tensor, C: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    y, H = torch.empty_like(u), u.new_empty(*u.shape, A.shape[1])
    (batch, L, D), N = u.shape, A.shape[1]
    forward_kernel[(batch, D // CHANNELS)](u, dt, A, B, C, y, H, L, D, N, CHANNELS, num_warps=WARPS)
    return y, H


@scan.register_fake
def _(u, dt, A, B, C):
    return torch.empty_like(u), u.new_empty(*u.shape, A.shape[1])


@torch.library.custom_op("hymba::scan_backward", mutates_args=())
def scan_backward(
    dy: torch.Tensor,
    u: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    H: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    (batch, L, D), N = u.shape, A.shape[1]
    blocks = D // CHANNELS
    du, ddt, dA = torch.empty_like(u), torch.empty_like(u), u.new_empty(batch, D, N)
    dB, dC = u.new_empty(blocks, batch, L, N), u.new_empty(blocks, batch, L, N)
    backward_kernel[(batch, blocks)](
        dy.contiguous(), u, dt, A, B, C, H, du, ddt, dA, dB, dC, L, D, N, CHANNELS, num_warps=WARPS
    )
    return du, ddt, dA.sum(0), dB.sum(0), dC.sum(0)


@scan_backward.register_fake
def _(dy, u, dt, A, B, C, H):
    return tuple(torch.empty_like(t) for t in (u, dt, A, B, C))


def _keep(ctx, inputs, output):
    ctx.save_for_backward(*inputs, output[1])
    ctx.set_materialize_grads(False)  # H gets no gradient, and zeros of its size would cost more than the scan


def _backward(ctx, dy, _dH):
    return torch.ops.hymba.scan_backward(dy, *ctx.saved_tensors)


scan.register_autograd(_backward, setup_context=_keep)
