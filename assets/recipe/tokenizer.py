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


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _encode_varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def _fields(message):
    """(number, the whole field, its payload) of a protocol buffer message; payload None unless it is a string."""
    at = 0
    while at < len(message):
        start = at
        tag, at = _varint(message, at)
        payload = None
        if tag & 7 == 0:
            _, at = _varint(message, at)
        elif tag & 7 == 2:
            size, at = _varint(message, at)
            payload, at = message[at:at + size], at + size
        else:
            at += {1: 8, 5: 4}[tag & 7]
        if at > len(message):
            raise ValueError("the tokenizer model is cut short")
        yield tag >> 3, message[start:at], payload


def without_paths(data):
    """A tokenizer.model less the file names of the machine that learned it: ModelProto.trainer_spec (2) .input (1)
    and .model_prefix (2). Every other byte stays, so pieces and ids do."""
    out = bytearray()
    for number, field, payload in _fields(data):
        if number == 2:
            spec = b"".join(inner for name, inner, _ in _fields(payload) if name not in (1, 2))
            field = _encode_varint(2 << 3 | 2) + _encode_varint(len(spec)) + spec
        out += field
    return bytes(out)


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
