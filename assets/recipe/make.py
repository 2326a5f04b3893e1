"""Everything from raw text to model folders: make.py [--tokens 37e6] [--jobs 2].

Steps that are done are skipped, interrupted trainings go on; delete a file of the work directory to redo its step.

On a machine with a card, of which only a FILE of bundle.py is known, just the trainings:
    make.py --bundle FILE --minutes 9 --width 256 --layers 9 --tokens 150e6 --out FOLDER
Exit code 3: the minutes are over, run it again.
"""
import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

import bundle
from model import Model, sized
from settings import HERE, TOKENS, work_dir
from train import UNFINISHED

LANGUAGE = ["griffin", "hawk", "mqa"]
TOYS = {"griffin-induction": "5e-3", "hawk-induction": "1e-2"}


def command(script, *arguments):
    return [sys.executable, str(HERE / script), *map(str, arguments)]


def run(*commands, jobs=1, deadline=None):
    """Run all, `jobs` at a time with an equal share of the cores; stop at the first failure.

    With a deadline, trainings get the time that is left; False if one of them has not come to its end."""
    threads = max(1, (os.cpu_count() or 1) // jobs)
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    waiting, running, finished = list(commands), [], True
    while waiting or running:
        while waiting and len(running) < jobs:
            left = [] if deadline is None else ["--slice", f"{max(0, deadline - time.monotonic()):.0f}"]
            running.append(subprocess.Popen(waiting.pop(0) + left, env=environment, cwd=HERE))
        first = running.pop(0)
        code = first.wait()
        finished &= code == 0
        if code not in (0, UNFINISHED):
            for other in running:
                other.terminate()
            sys.exit(f"failed: {' '.join(first.args)}")
    return finished


def prepare(work, tokens):
    if not (work / "clean" / "small-talk.jsonl").exists():
        run(command("clean.py"))
    if not (work / "tokenizer.model").exists():
        run(command("tokenizer.py"))
    if not (work / "pretrain.u16").exists():
        run(command("pack.py", max(48, tokens / 1e6)))
    if not (work / "chat.u16").exists():
        run(command("chat.py"))


def train(args, deadline):
    """Both stages of each sibling; whether all came to their end."""
    given = {name: getattr(args, name) for name in ("width", "layers", "batch", "device")}
    options = [word for name, value in given.items() if value is not None for word in (f"--{name}", value)]
    pretrain = [command("train.py", name, "--tokens", args.tokens, *options) for name in args.only]
    chat = [command("train.py", name, "--stage", "chat", "--start", name, *options) for name in args.only]
    return run(*pretrain, jobs=args.jobs, deadline=deadline) and run(*chat, jobs=args.jobs, deadline=deadline)


def parsed():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--tokens", type=float, default=TOKENS, help="of pretraining, for each sibling")
    parse.add_argument("--jobs", type=int, default=1 if torch.cuda.is_available() else 2)
    parse.add_argument("--only", type=lambda names: names.split(","), metavar="NAME,...",
                       help="of the siblings [all; with --out those that come back together]")
    for name in ("width", "layers", "batch"):
        parse.add_argument(f"--{name}", type=int, help="as of train.py")
    parse.add_argument("--device", help="as of train.py")
    parse.add_argument("--rows-only", action="store_true", help="clean text, vocabulary and packed rows, no more")
    parse.add_argument("--minutes", type=float, help="stop the trainings after that long")
    parse.add_argument("--bundle", type=Path, help="what bundle.py has packed, instead of the raw text")
    parse.add_argument("--resume", type=Path, help="a folder that --out has filled, to go on from")
    parse.add_argument("--out", type=Path, help="a folder for the checkpoints' parts; nothing follows then")
    args = parse.parse_args()
    if unknown := set(args.only or []) - set(LANGUAGE):
        parse.error(f"--only: expected some of {', '.join(LANGUAGE)}, found {', '.join(sorted(unknown))}")
    chosen = args.only or LANGUAGE
    if not args.out:
        args.only = chosen
        return args
    counts = {name: sum(value.numel() for value in Model(sized(name, args.width, args.layers)).state_dict().values())
              for name in chosen}
    fit = bundle.siblings_that_fit(counts)
    rest = ",".join(name for name in chosen if name not in fit)
    if not fit or args.only and rest:
        parse.error(f"--out: {rest} would not come back (8 files, 64 MiB); expected --only "
                    f"{','.join(fit) or 'with a smaller model'}")
    if rest:
        print(f"these come back together: {', '.join(fit)}; call again with --only {rest}", flush=True)
    args.only = fit
    return args


def main():
    begun, args = time.monotonic(), parsed()
    work = work_dir()
    if args.bundle:
        bundle.unpack(args.bundle)
    else:
        prepare(work, args.tokens)
    if args.rows_only:
        return
    if args.resume:
        bundle.receive(args.resume)
    finished = train(args, None if args.minutes is None else begun + 60 * args.minutes)
    if args.out:
        made = [name for one in args.only for name in (one, f"{one}-chat") if (work / f"{name}.pt").exists()]
        bundle.send(args.out, made)
    if not finished:
        sys.exit(UNFINISHED)
    if args.bundle or args.out:
        return
    run(*(command("induction.py", name, "--rate", rate) for name, rate in TOYS.items()), jobs=args.jobs)
    everything = args.only + list(TOYS)
    run(command("attribution.py"), *(command("export.py", name) for name in everything))
    run(*(command("evaluate.py", HERE.parent / "models" / name) for name in args.only), jobs=args.jobs)
    run(command("card.py", *everything))


if __name__ == "__main__":
    main()
