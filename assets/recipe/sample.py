"""Let an exported model speak: sample.py FOLDER "prompt" [--plain] [--seed N]. Slow (no cache); for a quick look."""
import argparse

import torch

import tokenizer
from mixture import chat
from model import load
from settings import BOS, END_OF_TURN, EOS


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("folder")
    parse.add_argument("prompt")
    parse.add_argument("--plain", action="store_true", help="go on from the prompt as it stands, no chat template")
    parse.add_argument("--tokens", type=int, default=80)
    parse.add_argument("--temperature", type=float, default=0.7)
    parse.add_argument("--seed", type=int, default=0)
    args = parse.parse_args()
    torch.manual_seed(args.seed)
    model, processor = load(args.folder).eval(), tokenizer.load()
    text = args.prompt if args.plain else "".join(part for part, _ in chat([args.prompt, ""])[:-1])
    ids = [BOS] + processor.encode(text)
    stop, begin = (EOS, processor.piece_to_id(END_OF_TURN)), len(ids)
    with torch.no_grad():
        while len(ids) - begin < args.tokens and ids[-1] not in stop:
            tokens = torch.tensor([ids])
            position = torch.arange(len(ids), dtype=torch.int32).view(1, -1)
            logits = model(tokens, position)[0, -1]
            low = logits.topk(40).values[-1]
            chances = torch.softmax(logits.masked_fill(logits < low, -1e30) / max(args.temperature, 1e-3), -1)
            ids.append(torch.multinomial(chances, 1).item())
    print(processor.decode([i for i in ids[begin:] if i not in stop]))


if __name__ == "__main__":
    main()
