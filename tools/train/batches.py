"""Batches of packed documents, made anew for every pass over the stories by a pool of processes.

A batch is uint16 [rows, length + 1]: each row starts with a document, and further documents follow until it is full.
"""

import random
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from tokenizers import Tokenizer

from chat import chat
from texts import BOOKS, CLASSICS, STORIES, read_sources

SHORT, LONG = 512, 2048  # row lengths: one for stories, one that fills the context with long texts
TOKENS = 32_768  # of one batch, of either length
CHAT = 0.5  # share of the stories that are told as conversations


def batches(texts, folder, passes, seed=0, first=0, workers=8):
    """Yields (progress from 0 to 1, batch) over `passes` passes, beginning with pass `first`; `folder` is prepare.py's."""
    with ProcessPoolExecutor(workers, get_context("spawn"), open_texts, (texts, folder)) as pool:
        ahead = min(passes, first + 2 * workers)
        waiting = deque(pool.submit(one_pass, seed + i, i / passes) for i in range(first, ahead))
        for i in range(first, passes):
            made = waiting.popleft().result()
            if ahead < passes:
                waiting.append(pool.submit(one_pass, seed + ahead, ahead / passes))
                ahead += 1
            for k, batch in enumerate(made):
                yield (i + k / len(made)) / passes, batch


def open_texts(texts, folder):
    """Opens, once in each process, the sources as pairs of (text, its ids as a plain document)."""
    global sources, tokenizer
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = np.load(folder / "texts.npz")
    sources = {
        name: list(zip(documents, np.split(ids[name], ids[f"{name}_ends"])))
        for name, documents in read_sources(texts)[0].items()
    }


def one_pass(seed, progress):
    """Every story once and a share of the rest, large at first and small at the end: the stories are the goal."""
    rng = random.Random(seed)
    told, plain = [], []
    for name in STORIES:
        for text, ids in sources[name]:
            if rng.random() < CHAT:
                told.append(chat(text, rng))
            else:
                plain.append(ids)
    for name in BOOKS:
        for text, ids in take(sources[name], 0.1 + 0.6 * (1 - progress), rng):
            if len(text) < 2500 and rng.random() < CHAT:
                told.append(chat(text, rng))
            else:
                plain.append(ids)
    for name in CLASSICS:
        plain += [ids for _, ids in take(sources[name], 0.01 + 0.24 * (1 - progress), rng)]
    chats = tokenizer.encode_batch_fast(told, add_special_tokens=False)
    documents = plain + [np.array(e.ids, np.uint16) for e in chats]
    rng.shuffle(documents)
    long, short = [], []
    for ids in documents:
        (long if len(ids) > SHORT or rng.random() < 0.15 else short).append(ids)
    made = group(pack(short, SHORT + 1), rng) + group(pack(cut(long, LONG + 1, rng), LONG + 1), rng)
    rng.shuffle(made)
    return made


def take(documents, share, rng):
    return rng.sample(documents, round(share * len(documents)))


def cut(documents, length, rng):
    """Pieces of at most `length` tokens; where a long document is cut differs from pass to pass."""
    for ids in documents:
        first = rng.randint(length // 2, length)
        yield ids[:first]
        for start in range(first, len(ids), length):
            yield ids[start : start + length]


def pack(documents, length):
    """Rows of `length` tokens; what does not fit into a row any more is left out."""
    rows, row, size = [], [], 0
    for ids in documents:
        row.append(ids)
        size += len(ids)
        if size >= length:
            rows.append(np.concatenate(row)[:length])
            row, size = [], 0
    return rows


def group(rows, rng):
    if not rows:
        return []
    rng.shuffle(rows)
    count = TOKENS // (len(rows[0]) - 1)
    return [np.stack(rows[i : i + count]) for i in range(0, len(rows) - count + 1, count)]
