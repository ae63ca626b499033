"""Stories retold as conversations: a request made from words of the story, and the story over one to three turns."""

import re

SYSTEM = ("You are a storyteller.", "You tell short stories for children.", "You are a helpful assistant.")
ASK = (
    "Tell me a story about {}.",
    "Can you tell me a story about {}?",
    "I want a story about {}.",
    "Please write a story about {}.",
    "Write a short story about {}.",
    "Tell a short story with {} in it.",
    "Make up a story about {}.",
    "Once more, a story about {}, please.",
)
ASK_ANY = ("Tell me a story.", "Can you tell me a story?", "I would like to hear a story.", "Tell me a short story.")
MORE = (
    "What happened next?",
    "And then?",
    "Tell me more.",
    "Please go on.",
    "Keep going.",
    "How does the story end?",
    "Go on!",
)
# "a little cherry tree" where the phrase surely ends: before a stop or a word that cannot belong to it.
THING = re.compile(
    r"\ban? (?:[a-z]+ ){0,2}?([a-z]+)"
    r"(?=[.,!?;]| (?:and|who|that|in|on|with|named|called|was|had|to|from|near|at|for|lived|under|by)\b)"
)
NAME = re.compile(r"named ([A-Z][a-z]+)")
SENTENCE_END = re.compile(r'(?<=[.!?"])\s+(?=[A-Z"])')
NOT_THINGS = set(
    "day time lot long very big little small new good bad part way bit while moment few great nice old happy sad "
    "hard piece kind special".split()
)
SENTENCES_A_TURN = 3  # fewest


def chat(story, rng):
    """`story` as text of the chat template, the special tokens spelled out; `rng` is a random.Random."""
    text = "<s>"
    if rng.random() < 0.3:
        text += f"<extra_id_0>System\n{rng.choice(SYSTEM)}\n\n"
    for turn, part in enumerate(split_turns(story, rng)):
        ask = request(story, rng) if turn == 0 else rng.choice(MORE)
        text += f"<extra_id_1>User\n{ask}\n<extra_id_1>Assistant\n{part}</s>\n"
    return text


def request(story, rng):
    opening = " ".join(SENTENCE_END.split(story)[:5])
    things = [m[0] for m in THING.finditer(opening) if m[1] not in NOT_THINGS and not m[1].endswith("ly")]
    things = list(dict.fromkeys(things))[:4]
    topic = " and ".join(rng.sample(things, min(len(things), rng.choice((1, 1, 1, 2)))))
    name = NAME.search(opening)
    if name and (not topic or rng.random() < 0.35):
        topic = f"{topic} and {name[1]}" if topic and rng.random() < 0.4 else name[1]
    return rng.choice(ASK).format(topic) if topic and rng.random() < 0.9 else rng.choice(ASK_ANY)


def split_turns(story, rng):
    ends = [m.start() for m in SENTENCE_END.finditer(story)]
    turns = rng.choices((1, 2, 3), (9, 7, 4))[0]
    if len(ends) < SENTENCES_A_TURN * turns:
        return [story]
    cuts = sorted(rng.sample(ends[SENTENCES_A_TURN - 1 : len(ends) - 1 : SENTENCES_A_TURN], turns - 1))
    return [story[a:b].strip() for a, b in zip([0, *cuts], [*cuts, len(story)])]
