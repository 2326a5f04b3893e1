"""Pack the short second stage: chat, questions with answers and retrieval, with the answering side marked.

A fifth of it stays prose, so that the books are not forgotten.
"""
from pack import write

MIX = {
    "self-dialogue": 0.18,
    "persona-chat": 0.16,
    "small-talk": 0.03,
    "made-chat": 0.18,
    "fairytaleqa": 0.06,
    "gsm8k": 0.02,
    "retrieval": 0.14,
    "stories": 0.02,
    "fables": 0.03,
    "children": 0.12,
    "easy-fiction": 0.06,
}


def main(tokens=1_500_000):
    write("chat", MIX, tokens)


if __name__ == "__main__":
    main()
