"""Trains the byte-level BPE tokenizer and encodes the texts with it: `python prepare.py TEXTS MODEL_FOLDER`."""

import json
import random
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from chat import ASK, ASK_ANY, MORE, SYSTEM
from texts import BOOKS, CLASSICS, STORIES, read_sources

VOCABULARY = 4096
SPECIAL = ["<unk>", "<s>", "</s>", "<extra_id_0>", "<extra_id_1>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}<extra_id_0>System\n"
    "{{ message['content'] }}\n\n{% elif message['role'] == 'user' %}<extra_id_1>User\n{{ message['content'] }}\n"
    "{% elif message['role'] == 'assistant' %}<extra_id_1>Assistant\n{{ message['content'] }}</s>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<extra_id_1>Assistant\n{% endif %}"
)
TOKENIZER_CONFIG = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "add_bos_token": True,
    "model_max_length": 2048,
    "chat_template": CHAT_TEMPLATE,
}


def train(sources):
    """A tokenizer that spells stories in few tokens: they count three times, the classics by a tenth."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    turns = "User\nAssistant\nSystem\n" + "\n".join((*SYSTEM, *ASK, *ASK_ANY, *MORE)).replace("{}", "")
    texts = [text for name in STORIES for text in sources[name]] * 3
    texts += [text for name in BOOKS for text in sources[name]]
    texts += random.Random(0).sample(sources[CLASSICS[0]], len(sources[CLASSICS[0]]) // 10) + [turns] * 500
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def main(texts, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sources, _ = read_sources(texts)
    trained = train(sources)
    tokenizer = json.loads(trained.to_str())
    # The older way to write merges, which every reader of tokenizer.json knows.
    tokenizer["model"]["merges"] = [" ".join(pair) for pair in tokenizer["model"]["merges"]]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf8")
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG, indent=1), encoding="utf8")
    arrays = {}
    for name, documents in sources.items():
        arrays[name], arrays[f"{name}_ends"] = encode(trained, documents)
    np.savez_compressed(folder / "texts.npz", **arrays)


def encode(tokenizer, documents):
    """All documents as <s> text </s>, one after another, and where each but the last one ends."""
    encoded = tokenizer.encode_batch([f"<s>{text}</s>" for text in documents], add_special_tokens=False)
    ids = [np.array(e.ids, np.uint16) for e in encoded]
    return np.concatenate(ids), np.cumsum([len(each) for each in ids])[:-1]


if __name__ == "__main__":
    main(*sys.argv[1:])
