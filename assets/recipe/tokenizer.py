"""Learn the vocabulary on a sample of the weighted mix."""
import random
import sys

import sentencepiece

from mixture import render, source
from settings import BOS, END_OF_TURN, EOS, MIX, PAD, SEED, START_OF_TURN, UNK, VOCABULARY, work_dir


def model_file():
    return work_dir() / "tokenizer.model"


def load():
    return sentencepiece.SentencePieceProcessor(model_file=str(model_file()))


def main(sample=10_000_000):
    """`sample`: characters of the mix to learn from."""
    text = work_dir() / "tokenizer.txt"
    with open(text, "w", encoding="utf-8") as out:
        for name, share in MIX.items():
            goal, done = share * sample, 0
            rng = random.Random(f"{SEED} tokenizer {name}")
            documents = source(name, rng)
            while done < goal:
                part = render(name, next(documents), rng)[0]
                words = "".join(piece for piece, _ in part)
                for line in words.replace(START_OF_TURN, "").replace(END_OF_TURN, "").split("\n"):
                    if line:
                        out.write(line[:4000] + "\n")
                done += len(words)
    sentencepiece.SentencePieceTrainer.train(
        input=str(text), model_prefix=str(model_file().with_suffix("")), vocab_size=VOCABULARY,
        model_type=sys.argv[1] if len(sys.argv) > 1 else "bpe", byte_fallback=True, split_digits=True,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
        pad_id=PAD, eos_id=EOS, bos_id=BOS, unk_id=UNK, bos_piece="<bos>", eos_piece="<eos>",
        user_defined_symbols=[START_OF_TURN, END_OF_TURN, "\n"],
        character_coverage=0.9995, input_sentence_size=150_000, shuffle_input_sentence=True, num_threads=2,
        max_sentence_length=20000, minloglevel=1)
    tokenizer = load()
    lines = text.read_text(encoding="utf-8").split("\n")[::50]
    size = sum(len(line.encode()) for line in lines)
    print(f"{size / sum(len(ids) for ids in tokenizer.encode(lines)):.3f} bytes a token")


if __name__ == "__main__":
    main()
