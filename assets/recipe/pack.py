"""Pack the mix into rows of 513 tokens (512 inputs, 512 targets): pack.py [million tokens].

Also 256 rows of text kept from training, to look at meanwhile. Documents are <bos> text <eos>. Short ones are never cut; pieces of books fill what is left of a row and go on in
the next. Rows are written in training order, so every model reads the same tokens in the same order. NAME.json says how
many tokens of each source were drawn by the end of each block of rows.
"""
import json
import random
import sys

import numpy as np

import tokenizer
from mixture import render, source
from settings import BLOCK, BOS, EOS, MIX, SEED, SEQUENCE, work_dir


def encode(processor, parts):
    """Token ids and whether each is part of an answer. Parts are encoded one by one, as a chat does."""
    ids, answers = [BOS], [False]
    for text, answering in parts:
        part = processor.encode(text)
        ids += part
        answers += [answering] * len(part)
    return ids + [EOS], answers + [True]


class Stream:
    def __init__(self, name, processor, folder):
        self.name, self.processor, self.tokens = name, processor, 0
        self.rng = random.Random(f"{SEED} {name}")
        self.documents = source(name, self.rng, folder)

    def next(self):
        parts, whole = render(self.name, next(self.documents), self.rng)
        ids, answers = encode(self.processor, parts)
        self.tokens += len(ids)
        return ids, answers, whole


def rows(mix, streams, count, rng):
    """Rows of SEQUENCE + 1 tokens and their answer masks."""
    width = SEQUENCE + 1
    waiting = []  # whole documents that did not fit where they were drawn
    rest = None   # what is left of a cut one
    total = 0
    for _ in range(count):
        row, mask = [], []
        while len(row) < width:
            space = width - len(row)
            fitting = next((n for n, (ids, _) in enumerate(waiting) if len(ids) <= space), None)
            if rest:
                ids, answers = rest
                rest = None
            elif fitting is not None:
                ids, answers = waiting.pop(fitting)
            else:
                total = sum(s.tokens for s in streams.values()) or 1
                behind = min(streams, key=lambda name: streams[name].tokens / mix[name] + rng.random() * total * 0.02)
                ids, answers, whole = streams[behind].next()
                if whole and width >= len(ids) > space and len(waiting) < 60:
                    waiting.append((ids, answers))
                    continue
            row += ids[:space]
            mask += answers[:space]
            if len(ids) > space + 20:
                rest = ids[space:], answers[space:]
        yield row, mask


def write(name, mix, tokens, documents="clean"):
    """NAME.u16 and NAME.mask in the work directory, of the documents in one of its folders."""
    processor = tokenizer.load()
    count = tokens // SEQUENCE
    folder = work_dir()
    rng = random.Random(f"{SEED} rows {name}")
    streams = {each: Stream(each, processor, documents) for each in mix}
    drawn = []
    with open(folder / f"{name}.partial", "wb") as out, open(folder / f"{name}.mask", "wb") as masks:
        block = []
        for number, row in enumerate(rows(mix, streams, count, rng), 1):
            block.append(row)
            if len(block) == BLOCK or number == count:  # shuffle within a block
                rng.shuffle(block)
                np.array([ids for ids, _ in block], dtype=np.uint16).tofile(out)
                np.packbits(np.array([mask for _, mask in block], dtype=bool), axis=1).tofile(masks)
                block = []
                drawn.append({each: stream.tokens for each, stream in streams.items()})
                print(f"{name}: {number} of {count} rows", flush=True)
    (folder / f"{name}.json").write_text(json.dumps(drawn))
    (folder / f"{name}.partial").rename(folder / f"{name}.u16")


def main():
    write("held", {name: share for name, share in MIX.items() if (work_dir() / "held" / f"{name}.jsonl").exists()},
          256 * SEQUENCE, "held")
    write("pretrain", MIX, int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 24_000_000)


if __name__ == "__main__":
    main()
