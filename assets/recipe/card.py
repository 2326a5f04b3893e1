"""Write the model cards from what was measured: card.py NAME... [--interim]."""
import argparse
import json

import torch

from model import SIBLINGS, Model, config_of
from settings import HERE, MIX, work_dir

SHAPE = {
    "griffin": "a Griffin: two recurrent layers, then one of local attention, and again",
    "hawk": "a Hawk: recurrent layers only, no attention at all",
    "mqa": "the paper's baseline: multi-query attention over everything before, no recurrence",
    "griffin-induction": "the paper's toy Griffin, local attention in the third of five blocks",
    "hawk-induction": "the paper's toy Hawk, five recurrent blocks",
}
LIMITS = """## Limits
A model this small writes simple, slightly old-fashioned English and friendly small talk. It knows no facts, cannot
calculate, loses the thread after a few sentences, and may make up anything. It was trained on English only, at
512 tokens. Do not rely on what it says; it is here to be looked into.
"""


def read_result(name):
    path = work_dir() / "results" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def checkpoint(name):
    path = work_dir() / f"{name}.pt"
    return torch.load(path, map_location="cpu", weights_only=False) if path.exists() else None


def sizes(c):
    model = Model(c)
    table = model.embed_tokens.weight.numel()
    return sum(p.numel() for p in model.parameters()) - table, table


def curve_table(curve):
    """About a dozen points, each the mean loss of the hundred steps before."""
    goals = [curve[-1][0] * share for share in (0.01, 0.02, 0.04, 0.08, 0.15, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0)]
    lines = ["| tokens seen | training loss (nats a token) |", "|---|---|"]
    for goal in goals:
        near = [point for point in curve if point[0] <= goal * 1.0001][-2:] or curve[:1]
        row = f"| {near[-1][0] / 1e6:.2f} M | {sum(p[1] for p in near) / len(near):.3f} |"
        if row not in lines:
            lines.append(row)
    return "\n".join(lines)


def held_table(result):
    lines = ["| held-out text | bits a byte | bytes |", "|---|---|---|"]
    for name, value in result["bits_per_byte"].items():
        lines.append(f"| {name} | {value:.3f} | {result['bytes'][name]:,} |")
    for book, (value, size) in result["whole_books"].items():
        lines.append(f"| whole book in one go: {book.removesuffix('.txt').replace('___', ', ')} | {value:.3f} | {size:,} |")
    return "\n".join(lines)


def retrieval_table():
    results = {name: read_result(name) for name in ("griffin", "hawk", "mqa")}
    results = {name: r for name, r in results.items() if r and "retrieval" in r}
    if not results:
        return "Not measured yet."
    lines = ["| task | " + " | ".join(f"{n} inside | {n} outside" for n in results) + " |",
             "|---|" + "---|---|" * len(results)]
    for task in next(iter(results.values()))["retrieval"]:
        cells = [f"{r['retrieval'][task][where]:.0%}" for r in results.values() for where in ("inside", "outside")]
        lines.append(f"| {task} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def language_card(name, interim, branch):
    found, result = checkpoint(name + branch), read_result(name)
    c = config_of(name, found)
    stage = checkpoint(f"{name}{branch}-chat")
    beside, table = sizes(c)
    used = found["arguments"]
    note = "**Interim weights**, exported while training still ran.\n\n" if interim else ""
    planned = used["tokens"]
    moments = "" if "config" in found else " (0.9/0.95 and with decay for the first 7.4 M tokens of these weights)"
    precision = "matrix products in bf16, else fp32" if used.get("device", "cpu") != "cpu" else "fp32"
    cut = "" if found["tokens"] > 0.98 * planned else " (stopped before the rate had fallen to its end)"
    chat = f", then {stage['tokens'] / 1e6:.2f} M in the chat stage (loss on the answering side)" if stage else ""
    if not result:
        held = "Not measured yet."
    elif result["share"] < 1:
        held = f"On the first {result['share']:.0%} of each set only:\n\n" + held_table(result)
    else:
        held = held_table(result)
    mix = "\n".join(f"| {source} | {share:.1%} |" for source, share in MIX.items())
    return f"""# {name}

{note}One of three siblings (griffin, hawk, mqa) made by `assets/recipe`: {SHAPE[name]}.
Same text, same order, same vocabulary, the same number of parameters beside the embedding within 5 %.

| | |
|---|---|
| parameters | {beside:,} beside the embedding, {table:,} in it (tied) |
| shape | width {c.width}, {c.layers} layers, {c.heads} heads of {c.head_size}, one key-value head, MLP {c.hidden}{f", window {c.window}" if "attention" in c.pattern else ""} |
| vocabulary | {c.vocabulary}, SentencePiece BPE with bytes as fallback |
| trained on | {found['tokens'] / 1e6:.2f} M tokens in rows of 512{cut}{chat} |
| rate | {used['rate'] or 3e-3:g}, {used['warm_up']} steps of warm-up, constant, last {used['decay_share']:.0%} linear to 3 % |
| otherwise | AdamW 0.9/0.99, the embedding at three times the rate and without decay{moments}, decay 0.1 on matrices, clip 1, batch {used['batch']} × 512, {precision}; stored as bf16 |
| prompt format | Gemma's chat template; plain text works too |

## Training
{curve_table(found['curve'])}

## Held-out text
Whole books, the persona-chat test file (turns one a line) and the fairytaleqa test split were kept from training.
Books are scored in pieces of 1 to 3 thousand characters as trained, each document from a fresh state{
" and as whole books in one go" if result and result["whole_books"] else ""}; bytes are those of exactly the text scored.
Measured on the exported weights in fp32 arithmetic.

{held}

## Retrieval written as text
Share of answers that are right to the last token (greedy), the fact within the window of 128 tokens and beyond it
({result["retrieval_examples"] if result else 100} fresh examples each).

{retrieval_table()}

{LIMITS}
## Data
Share of the pretraining tokens:

| source | share |
|---|---|
{mix}

Licences and names: [ATTRIBUTION.md](../ATTRIBUTION.md). `made-…` and `retrieval` come from the recipe's own generators.
The weights are under the repository's licence (Apache-2.0), with these attributions to be kept.

`reference.json`: tokens and their log-probabilities by the recipe's own forward pass, for testing an engine.
"""


def toy_card(name, interim):
    c, found, result = SIBLINGS[name], checkpoint(name), read_result(name)
    beside, table = sizes(c)
    note = "**Interim weights**, exported while training still ran.\n\n" if interim else ""
    lines = ["| length | right |", "|---|---|"]
    for length, right in (result or {"accuracy": {}})["accuracy"].items():
        lines.append(f"| {int(length):,} | {right:.1%} |")
    progress = ["| step | length | loss | right of 64 |", "|---|---|---|---|"]
    curve = found["curve"]
    for step, length, loss, right in curve[:12] + curve[12::max(1, len(curve) // 10)]:
        progress.append(f"| {step} | {length} | {loss:.4f} | {right:.0%} |")
    used = found["arguments"]
    return f"""# {name}

{note}Induction heads, {SHAPE[name]}; made by `assets/recipe/induction.py` from random rows, no text.
No tokenizer: give it token lists. Tokens 0 to 14 stand at random; token 15 stands once somewhere and again at the
end; the model's answer is the token that followed it the first time. No start token.

| | |
|---|---|
| parameters | {beside:,} beside the embedding, {table:,} in it |
| shape | width {c.width}, {c.layers} blocks, {c.heads} heads of {c.head_size}, MLP {c.hidden}{f", window {c.window}" if "attention" in c.pattern else ""}, vocabulary {c.vocabulary} |
| trained | {found['step']} steps of at most 4096 tokens, length doubled from 16 to 256 at 95 % right, then 256 |
| rate | {used['rate']:g}, warm-up 50, second half linear to 3 %; AdamW 0.9/0.95, decay 0.1, clip 1 |

## Measured
Trained at 256 tokens at most; fresh rows (256 up to length 2,048, 64 beyond).

{chr(10).join(lines)}

## Training
{chr(10).join(progress)}

## Limits
It does this one task and nothing else. `reference.json` holds tokens and log-probabilities by the recipe's own
forward pass, for testing an engine.
"""


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("names", nargs="+", choices=sorted(SIBLINGS))
    parse.add_argument("--interim", action="store_true")
    parse.add_argument("--branch", default="", help="of the checkpoint names, as in NAME-short")
    args = parse.parse_args()
    for name in args.names:
        toy = name.endswith("-induction")
        card = toy_card(name, args.interim) if toy else language_card(name, args.interim, args.branch)
        (HERE.parent / "models" / name / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
