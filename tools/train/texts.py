"""The training texts: documents by source, and the stories held out of training to choose the best weights by."""

from pathlib import Path

SEPARATOR = "<|endoftext|>"
STORIES = ("tinystories_cased", "tinystories_truecased_rest")
BOOKS = ("fairytaleqa", "storybooks_ccby")
CLASSICS = ("chilit_pd",)
HOLD_OUT_EVERY = 23  # of the stories published with their case: 100 of 2,316


def read_documents(file):
    return [text.strip() for text in Path(file).read_text(encoding="utf8").split(SEPARATOR) if text.strip()]


def read_sources(folder):
    """Texts to train on, by source, and the held-out stories."""
    sources = {name: read_documents(Path(folder) / f"{name}.txt") for name in (*STORIES, *BOOKS, *CLASSICS)}
    held_out = sources[STORIES[0]][::HOLD_OUT_EVERY]
    del sources[STORIES[0]][::HOLD_OUT_EVERY]
    return sources, held_out
