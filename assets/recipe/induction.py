"""The paper's induction-heads toy: induction.py griffin-induction|hawk-induction [--steps N].

Tokens 0 … 14 at random; token 15 stands once at a random place and again at the end; the answer is the token that
followed it. The length doubles from 16 to 256 whenever 95 % of 64 fresh rows are right, then training goes on at 256.
"""
import argparse
import json
import time

import torch
import torch.nn.functional as F

from model import SIBLINGS, Model
from settings import SEED, work_dir
from train import optimiser_for, rate_at, save

SPECIAL = 15
LENGTHS = [256, 512, 1024, 2048, 4096, 8192, 16384]


def rows(count, length, generator):
    tokens = torch.randint(0, SPECIAL, (count, length), generator=generator)
    place = torch.randint(0, length - 2, (count, 1), generator=generator)
    tokens.scatter_(1, place, SPECIAL)
    tokens[:, -1] = SPECIAL
    return tokens, tokens.gather(1, place + 1).squeeze(1)


def last_logits(model, tokens):
    position = torch.arange(tokens.size(1), dtype=torch.int32, device=tokens.device).expand_as(tokens).contiguous()
    logits = model.hidden(tokens, position)[:, -1] @ model.embed_tokens.weight.T
    return model.c.cap * torch.tanh(logits / model.c.cap)


def accuracy(model, length, count, generator):
    right = 0
    device = model.embed_tokens.weight.device
    with torch.no_grad():
        for _ in range(0, count, 16):
            tokens, answer = rows(16, length, generator)
            right += (last_logits(model, tokens.to(device)).argmax(-1).cpu() == answer).sum().item()
    return right / count


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("name", choices=["griffin-induction", "hawk-induction"])
    parse.add_argument("--steps", type=int, default=2500)
    parse.add_argument("--rate", type=float, default=5e-3)
    parse.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parse.parse_args()
    torch.manual_seed(SEED)
    torch.set_flush_denormal(True)
    model = Model(SIBLINGS[args.name]).to(args.device)
    optimiser = optimiser_for(model, 0.1)
    generator = torch.Generator().manual_seed(SEED)
    test = torch.Generator().manual_seed(SEED + 1)
    path = work_dir() / f"{args.name}.pt"
    step, length, curve = 0, 16, []
    if path.exists():
        found = torch.load(path, weights_only=False)
        model.load_state_dict(found["model"])
        optimiser.load_state_dict(found["optimiser"])
        step, length, curve = found["step"], found["length"], found["curve"]
        generator.set_state(found["generator"])
    seen, saved = 0.0, time.time()

    def keep(**more):
        save(path, model=model.state_dict(), optimiser=optimiser.state_dict(), step=step, length=length, curve=curve,
             generator=generator.get_state(), tokens=step * 4096, arguments=vars(args), **more)

    while step < args.steps:
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, args.steps, args.rate, 50, args.steps // 2)
        tokens, answer = rows(min(128, 4096 // length), length, generator)
        loss = F.cross_entropy(last_logits(model, tokens.to(args.device)), answer.to(args.device))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step, seen = step + 1, seen + loss.item()
        if step % 20 == 0:
            right = accuracy(model, length, 64, test)
            curve.append((step, length, seen / 20, right))
            print(json.dumps({"step": step, "length": length, "loss": round(seen / 20, 4), "right": right}), flush=True)
            seen = 0.0
            if right >= 0.95 and length < 256:
                length *= 2
        if time.time() - saved > 120:
            keep()
            saved = time.time()
    measured = {str(n): accuracy(model, n, 256 if n <= 2048 else 64, test) for n in LENGTHS}
    print(json.dumps(measured))
    keep()
    folder = work_dir() / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{args.name}.json").write_text(json.dumps({"accuracy": measured, "steps": step}))


if __name__ == "__main__":
    main()
