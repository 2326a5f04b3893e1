"""Makes tiny-bpe.model (like Gemma's: byte fallback, no prefix space, turn markers as user-defined pieces) and
tiny-unigram.model (prefix space, compiled normalisation rules). Needs the Python package sentencepiece."""
import itertools
import os
import pathlib
import shutil
import tempfile

import sentencepiece

HERE = pathlib.Path(__file__).parent.resolve()
WHO = ["The falcon", "A heron", "The old keeper", "My sister", "Every griffin", "The hawk"]
DOES = ["watches", "remembers", "forgets", "guards", "counts", "follows"]
WHAT = ["the river", "a small window", "seven eggs", "the long story", "the first token", "its own nest"]
WHEN = ["at night.", "before the rain.", "without a sound.", "again and again.", "in winter."]


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the trainer writes the paths it is given into the model
        pathlib.Path("text.txt").write_text(
            "\n".join(" ".join(parts) for parts in itertools.product(WHO, DOES, WHAT, WHEN)) + "\n")
        pathlib.Path("rules.tsv").write_text("FB01\t66 69\nFB02\t66 6C\n2026\t2E 2E 2E\nA0\t20\n")
        common = {"input": "text.txt", "minloglevel": 2, "num_threads": 1, "pad_id": 0, "eos_id": 1, "bos_id": 2,
                  "unk_id": 3, "bos_piece": "<bos>", "eos_piece": "<eos>"}
        sentencepiece.SentencePieceTrainer.train(
            model_prefix="tiny-bpe", model_type="bpe", vocab_size=420, byte_fallback=True,
            normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
            user_defined_symbols=["<start_of_turn>", "<end_of_turn>", "\n", "<table>"], **common)
        sentencepiece.SentencePieceTrainer.train(
            model_prefix="tiny-unigram", model_type="unigram", vocab_size=75,
            normalization_rule_tsv="rules.tsv", user_defined_symbols=["[@BOS@]", "<b>"], **common)
        for name in ("tiny-bpe.model", "tiny-unigram.model"):
            shutil.copy(name, HERE / name)
        os.chdir(HERE)


if __name__ == "__main__":
    main()
