"""Everything from raw text to model folders: make.py [--tokens 37e6] [--jobs 2].

Steps that are done are skipped, interrupted trainings go on; delete a file of the work directory to redo its step.
"""
import argparse
import os
import subprocess
import sys

import torch

from settings import HERE, TOKENS, work_dir

LANGUAGE = ["griffin", "hawk", "mqa"]
TOYS = {"griffin-induction": "5e-3", "hawk-induction": "1e-2"}


def command(script, *arguments):
    return [sys.executable, str(HERE / script), *map(str, arguments)]


def run(*commands, jobs=1):
    """Run all, `jobs` at a time with an equal share of the cores; stop at the first failure."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    waiting, running = list(commands), []
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(subprocess.Popen(waiting.pop(0), env=environment, cwd=HERE))
        first = running.pop(0)
        if first.wait():
            for other in running:
                other.terminate()
            sys.exit(f"failed: {' '.join(first.args)}")


def main():
    parse = argparse.ArgumentParser()
    parse.add_argument("--tokens", type=float, default=TOKENS, help="of pretraining, for each sibling")
    parse.add_argument("--jobs", type=int, default=1 if torch.cuda.is_available() else 2)
    args = parse.parse_args()
    work = work_dir()
    if not (work / "clean" / "small-talk.jsonl").exists():
        run(command("clean.py"))
    if not (work / "tokenizer.model").exists():
        run(command("tokenizer.py"))
    if not (work / "pretrain.u16").exists():
        run(command("pack.py", max(48, args.tokens / 1e6)))
    if not (work / "chat.u16").exists():
        run(command("chat.py"))
    run(*(command("train.py", name, "--tokens", args.tokens) for name in LANGUAGE), jobs=args.jobs)
    run(*(command("train.py", name, "--stage", "chat", "--start", name) for name in LANGUAGE), jobs=args.jobs)
    run(*(command("induction.py", name, "--rate", rate) for name, rate in TOYS.items()), jobs=args.jobs)
    everything = LANGUAGE + list(TOYS)
    run(command("attribution.py"), *(command("export.py", name) for name in everything))
    run(*(command("evaluate.py", HERE.parent / "models" / name) for name in LANGUAGE), jobs=args.jobs)
    run(command("card.py", *everything))


if __name__ == "__main__":
    main()
