"""Measure an exported model on text held back from training: evaluate.py FOLDER [--share 1.0].

Bits per byte: the bytes are those of exactly the text scored; every document starts from a fresh state after <bos>.
Writes results/<name>.json in the work directory.
"""
import argparse
import json
import math
import random
from pathlib import Path

import torch

import fused
import tokenizer
from generators import RETRIEVAL
from mixture import documents
from model import load
from settings import BOS, SEED, WINDOW, work_dir


def log_probs(model, ids):
    """Natural log-probability of ids[1:], each after those before it."""
    tokens = torch.tensor([ids])
    position = torch.arange(len(ids), dtype=torch.int32).view(1, -1)
    with torch.no_grad():
        x = model.hidden(tokens, position)[0, :-1]
        out = []
        for rows, target in zip(x.split(256), tokens[0, 1:].split(256)):
            out.append(-fused.row_losses(rows, model.embed_tokens.weight, target, model.c.cap))
    return torch.cat(out)


def bits_and_bytes(model, processor, texts):
    """Bits, and the bytes they are for."""
    bits, size = 0.0, 0
    for text in texts:
        bits -= log_probs(model, [BOS] + processor.encode(text)).double().sum().item() / math.log(2)
        size += len(text.encode())
    return bits, size


def held_texts(share):
    """Name of the set -> texts, each one document."""
    sets, whole = {}, {}
    for name in ("children", "easy-fiction"):
        rows = documents(name, "held")
        pieces = [row["text"] for row in rows]
        sets[f"books, {name}"] = pieces[: math.ceil(len(pieces) * share)]
        for row in rows:
            whole.setdefault(row["book"], []).append(row["text"])
    for name in ("persona-chat", "self-dialogue"):
        texts = ["\n".join(row["turns"]) + "\n" for row in documents(name, "held")]
        sets[name] = texts[: math.ceil(len(texts) * share)]
    tales = [row["text"] for row in documents("fairytaleqa", "held")]
    sets["fairytaleqa"] = tales[: math.ceil(len(tales) * share)]
    return sets, {book: "\n\n".join(parts) for book, parts in whole.items()}


def retrieval_example(processor, task, far, rng):
    """Ids, where the answer begins, and how far back the fact begins, in tokens."""
    context, pairs = RETRIEVAL[task](rng, far)
    ask, answer, fact = pairs[0]
    before = [BOS] + processor.encode(context[: context.index(fact)])
    question = [BOS] + processor.encode(context + ask)
    ids = question + processor.encode(answer)
    return ids, len(question), len(ids) - len(before)


def retrieval_scores(model, processor, count):
    """Share of answers whose every token is the model's first choice."""
    table = {}
    for task in sorted(RETRIEVAL):
        for far in (False, True):
            rng, right, seen, chance = random.Random(f"{SEED} test {task} {far}"), 0, 0, 0
            while seen < count and chance < 20 * count:
                chance += 1
                ids, start, distance = retrieval_example(processor, task, far, rng)
                reach = distance > WINDOW + 12 if far else distance <= WINDOW
                if not reach or len(ids) > 512:
                    continue
                tokens = torch.tensor([ids])
                position = torch.arange(len(ids), dtype=torch.int32).view(1, -1)
                with torch.no_grad():
                    best = model(tokens, position)[0, start - 1:-1].argmax(-1)
                right += bool((best == tokens[0, start:]).all())
                seen += 1
            table.setdefault(task, {})["outside" if far else "inside"] = round(right / max(1, seen), 3)
    return table


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("folder", type=Path)
    parse.add_argument("--share", type=float, default=1.0, help="of each set, for a quick look")
    parse.add_argument("--pieces-only", action="store_true", help="do not read the held-out books in one go as well")
    parse.add_argument("--examples", type=int, default=100, help="per retrieval task")
    args = parse.parse_args()
    torch.set_flush_denormal(True)
    model, processor = load(args.folder).eval(), tokenizer.load()
    sets, whole = held_texts(args.share)
    result = {"share": args.share, "bits_per_byte": {}, "bytes": {}, "whole_books": {}}
    measured = {name: bits_and_bytes(model, processor, texts) for name, texts in sets.items()}
    parts = [measured[name] for name in sets if name.startswith("books, ")]
    measured = {"books": tuple(map(sum, zip(*parts))), **measured}
    for name, (bits, size) in measured.items():
        result["bits_per_byte"][name], result["bytes"][name] = round(bits / size, 4), size
        print(name, result["bits_per_byte"][name], flush=True)
    if "global_attention" not in model.c.pattern and args.share == 1.0 and not args.pieces_only:
        for book, text in whole.items():
            bits, size = bits_and_bytes(model, processor, [text])
            result["whole_books"][book] = round(bits / size, 4), size
            print(book, result["whole_books"][book], flush=True)
    result["retrieval"] = retrieval_scores(model, processor, args.examples)
    result["retrieval_examples"] = args.examples
    print(json.dumps(result["retrieval"], indent=1))
    folder = work_dir() / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{args.folder.resolve().name}.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
