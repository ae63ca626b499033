"""Held-out quality: `python evaluate.py MODEL_FOLDER STORIES [--count 200]`.

Each story is scored alone, after <s> and with </s> at its end, by the bfloat16 weights in float32 arithmetic.
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from model import load
from texts import read_documents


@dataclass
class Score:
    nats: float  # of all tokens together
    tokens: int
    bytes: int

    def __str__(self):
        a_token = self.nats / self.tokens
        return (
            f"{a_token:.4f} nats a token, perplexity {math.exp(a_token):.2f}, {self.bits_a_byte:.4f} bits a byte "
            f"({self.tokens} tokens, {self.bytes} bytes)"
        )

    @property
    def bits_a_byte(self):
        return self.nats / math.log(2) / self.bytes


@torch.no_grad()
def score(model, tokenizer, texts, batch=50):
    """Score of `texts`; the model is on the device where it shall run."""
    device = next(model.parameters()).device
    encoded = tokenizer.encode_batch([f"<s>{text}</s>" for text in texts], add_special_tokens=False)
    rows = [torch.tensor(e.ids) for e in encoded]
    rows.sort(key=len)
    nats = 0.0
    for i in range(0, len(rows), batch):
        ids = torch.nn.utils.rnn.pad_sequence(rows[i : i + batch], batch_first=True, padding_value=-1).to(device)
        logits = model(ids[:, :-1].clamp(min=0)).float()
        nats += F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=-1, reduction="sum").item()
    return Score(nats, sum(len(row) - 1 for row in rows), sum(len(text.encode()) for text in texts))


def main():
    args = argparse.ArgumentParser(description=__doc__)
    args.add_argument("model", type=Path)
    args.add_argument("stories", type=Path)
    args.add_argument("--count", type=int, default=200)
    args = args.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    print(score(load(args.model).to(device), tokenizer, read_documents(args.stories)[: args.count]))


if __name__ == "__main__":
    main()
