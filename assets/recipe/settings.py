"""Places and shares that the other steps agree on."""
import os
from pathlib import Path

HERE = Path(__file__).resolve().parent


def work_dir() -> Path:
    """Where everything that can be made again is kept."""
    base = os.environ.get("EYRIE_RECIPE_DIR")
    if not base:
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        base = Path(cache) / "eyrie" / "recipe"
    path = Path(base)
    path.mkdir(parents=True, exist_ok=True)
    return path


def data_dir() -> Path:
    """The text collections; see README for what each folder holds."""
    return Path(os.environ.get("EYRIE_DATA_DIR", HERE.parents[2] / "shared" / "data"))


SEED = 20261122
VOCABULARY = 4096
PAD, EOS, BOS, UNK = 0, 1, 2, 3
START_OF_TURN, END_OF_TURN = "<start_of_turn>", "<end_of_turn>"
SEQUENCE = 512
BLOCK = 4096  # rows that are shuffled together
TOKENS = 37e6  # of pretraining, for each sibling
WINDOW = 128

# Share of the training tokens per source.
MIX = {
    "children": 0.34,
    "easy-fiction": 0.25,
    "self-dialogue": 0.09,
    "stories": 0.025,
    "fables": 0.015,
    "fairytaleqa": 0.02,
    "persona-chat": 0.035,
    "gsm8k": 0.01,
    "small-talk": 0.005,
    "made-stories": 0.04,
    "made-chat": 0.05,
    "retrieval": 0.12,
}
