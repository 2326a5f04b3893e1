"""Makes tiny-bpe.model (like Gemma's: byte fallback, no prefix space, turn markers as user-defined pieces) and
tiny-unigram.model (prefix space, compiled normalisation rules). Needs the Python package sentencepiece.

With transformers and tokenizers too: gemma-like.model with Gemma's pieces for white space and markup,
gemma-like.json as transformers' own converter makes it, and gemma-like-ids.json, texts with the ids that both
libraries give them."""
import itertools
import json
import os
import pathlib
import random
import shutil
import tempfile
import types

import sentencepiece

HERE = pathlib.Path(__file__).parent.resolve()
WHO = ["The falcon", "A heron", "The old keeper", "My sister", "Every griffin", "The hawk"]
DOES = ["watches", "remembers", "forgets", "guards", "counts", "follows"]
WHAT = ["the river", "a small window", "seven eggs", "the long story", "the first token", "its own nest"]
WHEN = ["at night.", "before the rain.", "without a sound.", "again and again.", "in winter."]


GEMMA_PIECES = ["<mask>", "[multimodal]", "<unused0>", "<unused1>", "<start_of_turn>", "<end_of_turn>", "\n",
                "\n\n", "\n\n\n", "\u2581\u2581", "\u2581\u2581\u2581", "\u2581\u2581\u2581\u2581", "<table>", "</table>",
                "<b>"]
ODD = ["", " ", "  ", "   ", "     ", "\n", "\n\n\n\n", " \n ", "\t", "\t\tx", "a", "\u00e9", "\u65e5\u672c",
       "\U0001f985", "e\u0301", "\u200d", "\ufeff", "\u00a0", "12345", "3.14", "The falcon", " The falcon ",
       "Thefalconwatchestheriver", "<table>x</table>", "<tab", "<<b>>", "<0x41>", "aaaaaaaa", "eeeee the the", "ABC",
       "<|x|>", "\r\n", "\x01\x7f", "\ufffd",
       "every  griffin   remembers    seven     eggs"]


def gemma_like(sentencepiece_options):
    """The converter's pieces, and the ids of odd and of random texts."""
    import transformers.convert_slow_tokenizer as convert

    sentencepiece.SentencePieceTrainer.train(
        model_prefix="gemma-like", model_type="bpe", vocab_size=520, byte_fallback=True, split_digits=True,
        normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True, user_defined_symbols=GEMMA_PIECES, **sentencepiece_options)
    processor = sentencepiece.SentencePieceProcessor("gemma-like.model")
    convert.GemmaSentencePieceExtractor.sp = processor  # which transformers 5 forgets to set
    slow = types.SimpleNamespace(vocab_file="gemma-like.model", pad_token="<pad>", eos_token="<eos>", bos_token="<bos>",
                                 unk_token="<unk>", add_prefix_space=False, legacy=False)
    converted = convert.GemmaConverter(slow).converted()
    converted.save("gemma-like.json", pretty=False)
    letters = random.Random(1)
    alphabet = [*"abcdefghinorst eTEA  .,<>#\u65e5\u00e9\U0001f985012", "the ", "falcon", "  ", "\n", "\n\n",
                "<b>", " remembers"]
    texts = ODD + ["".join(letters.choices(alphabet, k=letters.randint(2, 30))) for _ in range(300)]
    ids = [processor.encode(text) for text in texts]
    for text, expected in zip(texts, ids):
        assert converted.encode(text, add_special_tokens=False).ids == expected, text
    pathlib.Path("gemma-like-ids.json").write_text(json.dumps([list(each) for each in zip(texts, ids)]) + "\n")


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
        gemma_like(common)
        for name in ("tiny-bpe.model", "tiny-unigram.model", "gemma-like.model", "gemma-like.json",
                     "gemma-like-ids.json"):
            shutil.copy(name, HERE / name)
        os.chdir(HERE)


if __name__ == "__main__":
    main()
