"""Writes a trained model in the released layout: `python export.py MODEL_FOLDER`, where train.py left `best.pt`.

Adds config.json, generation_config.json, model.safetensors (bfloat16) and expected.safetensors: input ids, their
logits, and a greedy continuation, by the bfloat16 weights in float32 arithmetic. Without `best.pt`, expected.safetensors
alone, of the model that is there.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from model import load

PROMPT = "<s>Once upon a time, there was a little boat that could not swim."
CONTINUED = 60  # tokens
GENERATION = {"bos_token_id": 1, "eos_token_id": 2, "temperature": 0.7, "top_k": 40, "do_sample": True}


def write_model(folder):
    shutil.copy(Path(__file__).parent / "config.json", folder)
    (folder / "generation_config.json").write_text(json.dumps(GENERATION, indent=1))
    weights = torch.load(folder / "best.pt", map_location="cpu")
    weights = {name: tensor.bfloat16().contiguous() for name, tensor in weights.items()}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@torch.no_grad()
def write_expected(folder):
    model = load(folder)
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(PROMPT, add_special_tokens=False).ids
    greedy = torch.tensor([ids])
    for _ in range(CONTINUED):
        greedy = torch.cat([greedy, model(greedy)[:, -1:].argmax(-1)], 1)
    expected = {"input_ids": greedy[:, : len(ids)], "greedy_ids": greedy}
    expected["logits"] = model(expected["input_ids"])
    expected = {name: tensor.clone() for name, tensor in expected.items()}  # views of one tensor are refused
    save_file(expected, folder / "expected.safetensors", {"prompt_len": str(len(ids))})


def main(folder):
    folder = Path(folder)
    if (folder / "best.pt").exists():
        write_model(folder)
    write_expected(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
