"""The model against NVIDIA's released module code, and the scan's kernels against a plain loop: `pytest`."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from model import load
from scan import plain_scan, selective_scan

GOLDEN = Path(__file__).parents[2] / "packages/testing/fixtures/golden"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("name", ["no-sharing", "shared-pairs", "shared-triple"])
@torch.no_grad()
def test_logits_and_greedy_continuation_equal_the_released_codes(name):
    expected = load_file(GOLDEN / name / "expected.safetensors")
    model = load(GOLDEN / name)  # their sizes are too odd for the kernels: the plain loop, on the CPU
    assert (model(expected["input_ids"]) - expected["logits"]).abs().max() < 1e-3
    with safe_open(GOLDEN / name / "expected.safetensors", "pt") as file:
        prompt = int(file.metadata()["prompt_len"])
    greedy = expected["greedy_ids"]
    assert model(greedy)[:, prompt - 1 : -1].argmax(-1).equal(greedy[:, prompt:])


@pytest.mark.skipif(DEVICE == "cpu", reason="the kernels need a GPU")
@pytest.mark.parametrize("length", [1, 2, 37, 300])
def test_kernels_equal_the_plain_loop(length):
    torch.manual_seed(length)
    batch, D, N = 3, 96, 16
    inputs = [
        torch.randn(batch, length, D, device=DEVICE),
        torch.rand(batch, length, D, device=DEVICE),
        -3 * torch.rand(D, N, device=DEVICE),
        torch.randn(batch, length, N, device=DEVICE),
        torch.randn(batch, length, N, device=DEVICE),
    ]
    weight = torch.randn(batch, length, D, device=DEVICE)
    results = []
    for scan, dtype in ((selective_scan, torch.float32), (plain_scan, torch.float64)):
        leaves = [t.to(dtype).requires_grad_() for t in inputs]
        y = scan(*leaves)
        results.append([y, *torch.autograd.grad((y * weight.to(dtype)).sum(), leaves)])
    for found, exact in zip(*results):
        assert (found - exact).norm() <= 1e-5 * exact.norm()
