"""Hymba as NVIDIA released it (arXiv 2411.13676), with the released tensor names: the full forward pass, trainable."""

import json
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from scan import selective_scan


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        x = x.float()  # the mean of squares loses too much in bfloat16
        return self.weight * (x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.eps))


class Mixer(nn.Module):
    """Attention and Mamba side by side on one projection; a layer that reuses keys and values projects none."""

    def __init__(self, c, reuses):
        super().__init__()
        hidden, eps = c.hidden_size, c.rms_norm_eps
        self.reuses, self.heads, self.kv_heads = reuses, c.num_attention_heads, c.num_key_value_heads
        self.key, self.rank, self.states = hidden // self.heads, c.mamba_dt_rank, c.mamba_d_state
        inner = c.mamba_expand * hidden
        self.value = inner // self.heads
        kv = [] if reuses else [self.kv_heads * self.key, self.kv_heads * self.value]
        self.parts = [hidden, *kv, inner, inner]
        self.in_proj = nn.Linear(hidden, sum(self.parts), bias=False)
        self.out_proj = nn.Linear(inner, hidden, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, c.mamba_d_conv, groups=inner)
        self.x_proj = nn.ModuleList([nn.Linear(inner, self.rank + 2 * self.states, bias=False)])
        self.dt_proj = nn.ModuleList([nn.Linear(self.rank, inner)])
        self.A_log = nn.ParameterList([torch.arange(1.0, self.states + 1).log().repeat(inner, 1)])
        self.D = nn.ParameterList([torch.ones(inner)])
        self.dt_layernorm = RMSNorm(self.rank, eps)
        self.B_layernorm = RMSNorm(self.states, eps)
        self.C_layernorm = RMSNorm(self.states, eps)
        self.pre_avg_layernorm1 = RMSNorm(inner, eps)
        self.pre_avg_layernorm2 = RMSNorm(inner, eps)

    def forward(self, x, rope, mask, kv):
        """x [batch, length, hidden] → the mixed x and the keys and values that the layer used."""
        query, *kv_parts, u, gate = self.in_proj(x).split(self.parts, -1)
        query = rotate(split_heads(query, self.heads), rope)
        if not self.reuses:
            key, value = kv_parts
            kv = rotate(split_heads(key, self.kv_heads), rope), split_heads(value, self.kv_heads)
        attended = self.attend(query, *kv, mask)
        scanned = self.mamba(u, gate)
        return self.out_proj((self.pre_avg_layernorm1(attended) + self.pre_avg_layernorm2(scanned)) / 2), kv

    def attend(self, query, key, value, mask):
        key, value = (t.repeat_interleave(self.heads // self.kv_heads, 1) for t in (key, value))
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
        return out.transpose(1, 2).flatten(2)

    def mamba(self, u, gate):
        length, taps = u.shape[1], self.conv1d.weight.unbind(-1)
        padded = F.pad(u, (0, 0, len(taps) - 1, 0)).float()
        u = sum(padded[:, k : k + length] * tap[:, 0] for k, tap in enumerate(taps)) + self.conv1d.bias
        u = F.silu(u)
        dt, B, C = self.x_proj[0](u).split([self.rank, self.states, self.states], -1)
        dt = F.softplus(self.dt_proj[0](self.dt_layernorm(dt)).float())
        y = selective_scan(u, dt, -self.A_log[0].exp(), self.B_layernorm(B), self.C_layernorm(C))
        return (y + u * self.D[0]) * F.silu(gate.float())


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gated = c.mlp_hidden_act == "silu"
        if self.gated:
            self.gate_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.up_proj = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.down_proj = nn.Linear(c.intermediate_size, c.hidden_size, bias=False)

    def forward(self, x):
        up = self.up_proj(x)
        return self.down_proj(F.silu(self.gate_proj(x)) * up if self.gated else F.relu(up).square())


class Layer(nn.Module):
    def __init__(self, c, reuses, dropout):
        super().__init__()
        self.mamba = Mixer(c, reuses)
        self.input_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.pre_moe_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        self.moe = nn.Module()
        self.moe.experts = nn.ModuleList([MLP(c)])
        self.dropout = dropout

    def forward(self, x, rope, mask, kv):
        mixed, kv = self.mamba(self.input_layernorm(x), rope, mask, kv)
        x = x + F.dropout(mixed, self.dropout, self.training)
        return x + F.dropout(self.moe.experts[0](self.pre_moe_layernorm(x)), self.dropout, self.training), kv


class Hymba(nn.Module):
    """`dropout` acts on the embeddings and on what each mixer and MLP adds, while training."""

    def __init__(self, c, dropout=0.0):
        super().__init__()
        self.config, self.dropout = c, dropout
        self.group_of = {i: group[0] for group in c.kv_reuse_group or [] for i in group}
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.model.memory_tokens = nn.Parameter(torch.empty(c.num_memory_tokens, c.hidden_size))
        self.model.layers = nn.ModuleList(
            Layer(c, self.group_of.get(i, i) != i, dropout) for i in range(c.num_hidden_layers)
        )
        self.model.final_layernorm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        if not c.tie_word_embeddings:
            self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)

    def forward(self, ids):
        """ids [batch, length] → logits [batch, length, vocabulary]. The meta tokens go in front of each row."""
        c, body = self.config, self.model
        meta = body.memory_tokens.expand(len(ids), -1, -1)
        x = F.dropout(torch.cat([meta, body.embed_tokens(ids)], 1), self.dropout, self.training)
        rope, window = rope_table(c, x.shape[1], x.device), window_mask(c, x.shape[1], x.device)
        kv = {}
        for i, layer in enumerate(body.layers):
            mask = None if c.sliding_window is None or i in c.global_attn_idx else window
            first = self.group_of.get(i, i)
            x, kv[first] = layer(x, rope, mask, kv.get(first))
        x = body.final_layernorm(x[:, c.num_memory_tokens :])
        return F.linear(x, body.embed_tokens.weight) if c.tie_word_embeddings else self.lm_head(x)


def split_heads(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def rotate(x, rope):
    cos, sin = rope
    a, b = x.chunk(2, -1)
    return (x * cos + torch.cat([-b, a], -1) * sin).to(x.dtype)


def rope_table(c, length, device):
    size = c.hidden_size // c.num_attention_heads
    base = c.rope_theta
    if c.rope_type == "ntk":
        base *= (2 * c.max_position_embeddings / c.orig_max_position_embeddings - 1) ** (size / (size - 2))
    frequency = base ** -(torch.arange(0, size, 2, device=device) / size)
    angle = torch.outer(torch.arange(length, device=device), frequency).repeat(1, 2)
    return angle.cos(), angle.sin()


def window_mask(c, length, device):
    """True where a query of a sliding-window layer sees a key: recent ones and the meta tokens."""
    position = torch.arange(length, device=device)
    back = position[:, None] - position
    return (back >= 0) & ((back <= (c.sliding_window or length)) | (position < c.num_memory_tokens))


def read_config(file):
    return SimpleNamespace(**json.loads(Path(file).read_text()))


def load(folder):
    """The checkpoint in `folder`, as float32."""
    folder = Path(folder)
    model = Hymba(read_config(folder / "config.json"))
    model.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    return model.eval()
