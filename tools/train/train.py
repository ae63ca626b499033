"""Trains the model on one GPU: `python train.py TEXTS MODEL_FOLDER [options]`, see README.md.

MODEL_FOLDER holds the tokenizer; `best.pt` (the weights that scored best on held-out stories) and `state.pt` (to go on
from with --resume) are written there.
"""

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from batches import LONG, SHORT, TOKENS, batches
from evaluate import score
from model import Hymba, read_config
from muon import Muon
from texts import read_sources

CHECKS = 20  # scorings of the held-out stories in one training
WARM_UP = 0.02  # of the training


def main():
    args = parse_arguments()
    torch.manual_seed(args.seed)
    config = read_config(Path(__file__).parent / "config.json")
    model = Hymba(config, args.dropout)
    initialise(model)
    model.cuda().train()
    twin = Hymba(config).cuda().eval()  # for scoring: not compiled, since every story has another length
    teacher = None
    if args.teacher:
        teacher = Hymba(config).cuda().eval().requires_grad_(False)
        teacher.load_state_dict(torch.load(args.teacher))
    tokenizer = Tokenizer.from_file(str(args.folder / "tokenizer.json"))
    _, held_out = read_sources(args.texts)
    optimizers = make_optimizers(model, args)
    passed, step, before, best = 0.0, 0, 0.0, math.inf
    if args.resume:
        state = torch.load(args.folder / "state.pt")
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        passed, step, before, best = (state[key] for key in ("progress", "step", "seconds", "best"))
    for trained in (model, teacher) if teacher else (model,):
        compile_layers(trained)

    start, checked, losses = time.monotonic() - before, passed, []
    first = round(passed * args.passes)
    for through, batch in batches(args.texts, args.folder, args.passes, args.seed, first):
        passed = max(through, (time.monotonic() - start) / args.seconds)
        if passed - checked >= 1 / CHECKS:
            checked = passed
            best = check(model, twin, tokenizer, held_out, args.folder, best, step, passed, start, losses)
            losses = []
            save_state(model, optimizers, args.folder, passed, step, time.monotonic() - start, best)
        if passed >= 1:
            break
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate(passed)
        rows = torch.from_numpy(batch.astype("int64")).cuda(non_blocking=True)
        losses.append(train_step(model, optimizers, rows, args.mask, teacher))
        step += 1
    check(model, twin, tokenizer, held_out, args.folder, best, step, 1.0, start, losses)


def compile_layers(model):
    """Compiles ahead for both row lengths, so that --seconds counts training alone."""
    torch._dynamo.config.recompile_limit = 64  # layers of every kind, at every row length
    for layer in model.model.layers:
        layer.compile(dynamic=False)
    for length in (SHORT, LONG):
        with torch.autocast("cuda", torch.bfloat16):
            logits = model(torch.zeros(TOKENS // length, length, dtype=torch.long, device="cuda"))
        if logits.requires_grad:
            logits.float().sum().backward()
    model.zero_grad()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("texts", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--passes", type=int, default=28, help="passes over the stories")
    parser.add_argument("--seconds", type=float, default=205, help="most time; the schedule shortens to fit")
    parser.add_argument("--rate", type=float, default=5e-3, help="peak learning rate")
    parser.add_argument("--decay", type=float, default=1.0, help="weight decay of matrices")
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--mask", type=float, default=0.15, help="share of input tokens hidden behind <unk>")
    parser.add_argument("--teacher", type=Path, help="weights to learn from as much as from the texts")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


def initialise(model):
    residual = 0.02 * 1.5 / math.sqrt(2 * model.config.num_hidden_layers)
    for name, p in model.named_parameters():
        if name.endswith("dt_proj.0.bias"):  # softplus(bias) from 0.001 to 0.1, as in Mamba
            dt = torch.empty_like(p).uniform_(math.log(1e-3), math.log(1e-1)).exp()
            p.data = dt.expm1().log()
        elif name.endswith("dt_proj.0.weight"):
            p.data.normal_(std=0.5 * p.shape[1] ** -0.5)
        elif "out_proj" in name or "down_proj" in name:
            p.data.normal_(std=residual)
        elif name.endswith("proj.weight") or name.endswith("proj.0.weight") or "tokens" in name:
            p.data.normal_(std=0.02)


def make_optimizers(model, args):
    layers = [(name, p) for name, p in model.model.layers.named_parameters()]
    matrices = [p for name, p in layers if name.endswith("_proj.weight") or name.endswith("_proj.0.weight")]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    optimizers = [
        Muon(matrices, args.rate, args.decay),
        torch.optim.AdamW(others, min(args.rate, 3e-3), (0.9, 0.95), weight_decay=0.0, fused=True),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def rate(passed):
    """Share of the peak rate: a short rise, level to the middle, then down to nothing."""
    return min(1.0, passed / WARM_UP, 2 * (1 - passed))


def train_step(model, optimizers, rows, mask, teacher=None):
    inputs, targets = rows[:, :-1], rows[:, 1:]
    # Hiding tokens keeps the model from learning the few stories by heart. Ids below 5 are the turns' marks.
    hidden = (torch.rand(inputs.shape, device=inputs.device) < mask) & (inputs >= 5)
    with torch.autocast("cuda", torch.bfloat16):
        logits = model(inputs.masked_fill(hidden, 0))
    loss = F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
    if teacher:
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
            taught = teacher(inputs).float().softmax(-1)
        loss = (loss + F.cross_entropy(logits.flatten(0, 1).float(), taught.flatten(0, 1))) / 2
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return loss.detach()


def check(model, twin, tokenizer, held_out, folder, best, step, passed, start, losses):
    """Scores the held-out stories and keeps the weights where they are the best so far; gives the best score."""
    twin.load_state_dict(model.state_dict())
    with torch.autocast("cuda", torch.bfloat16):
        found = score(twin, tokenizer, held_out)
    loss = torch.stack(losses).mean().item() if losses else math.nan
    print(
        f"{passed:5.1%} step {step} {time.monotonic() - start:5.0f} s  training loss {loss:.4f}  held out: {found}",
        flush=True,
    )
    if found.bits_a_byte >= best:
        return best
    torch.save(model.state_dict(), folder / "best.pt")
    return found.bits_a_byte


def save_state(model, optimizers, folder, passed, step, seconds, best):
    state = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "progress": passed,
        "step": step,
        "seconds": seconds,
        "best": best,
    }
    torch.save(state, folder / "state.new")
    (folder / "state.new").replace(folder / "state.pt")


if __name__ == "__main__":
    main()
