"""Endless shuffled documents per source, and how a document is written down.

`render` gives (parts, whole): parts are (text, answering) so that the chat stage knows what is an answer;
`whole` documents are never cut when rows are packed.
"""
import json
import random

import generators
from settings import END_OF_TURN, START_OF_TURN, work_dir

MADE = {"made-stories": generators.made_story, "made-chat": generators.made_chat, "retrieval": generators.retrieval}


def documents(name, folder="clean"):
    with open(work_dir() / folder / f"{name}.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def source(name, rng, folder="clean"):
    if name in MADE:
        while True:
            yield MADE[name](rng)
    rows = documents(name, folder)
    while True:
        rng.shuffle(rows)
        yield from rows


def chat(turns):
    """Gemma's template; answers end with the end-of-turn mark and a newline."""
    parts = []
    for number, turn in enumerate(turns):
        role = "model" if number % 2 else "user"
        parts.append((f"{START_OF_TURN}{role}\n", False))
        parts.append((f"{turn}{END_OF_TURN}\n", role == "model"))
    return parts


def plain(turns):
    return [("\n".join(turns) + "\n", True)]


def fairytale(document, rng):
    text, pairs = document["text"], list(document["pairs"])
    rng.shuffle(pairs)
    pairs = pairs[:3]
    if not pairs or rng.random() < 0.3:
        return [(text, True)]
    if rng.random() < 0.5:
        parts = [(text + "\n\n", False)]
        for question, answer in pairs:
            parts += [(f"Question: {question}\nAnswer:", False), (f" {answer}\n", True)]
        return parts
    turns = [f"{text}\n\n{pairs[0][0]}", pairs[0][1]]
    for question, answer in pairs[1:]:
        turns += [question, answer]
    return chat(turns)


def render(name, document, rng):
    if name == "fairytaleqa":
        return fairytale(document, rng), True
    if name == "fables" and document["moral"] and rng.random() < 0.3:
        return chat([f"Tell me a fable about {document['hero']}.", document["text"]]), True
    if name == "stories" and document["title"] and rng.random() < 0.2:
        return chat([f"Tell me the story \"{document['title']}\".", document["text"]]), True
    if "turns" in document:
        turns = document["turns"]
        as_chat = {"self-dialogue": 0.4, "persona-chat": 0.25, "gsm8k": 0.3, "small-talk": 0.7, "made-chat": 0.9}[name]
        return (chat(turns) if rng.random() < as_chat else plain(turns)), True
    return [(document["text"], True)], name not in ("children", "easy-fiction")
