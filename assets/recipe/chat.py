"""Pack the short second stage: chat, questions with answers and retrieval, with the answering side marked.

Two fifths of it stay prose, so that the books are not forgotten.
"""
from pack import write

MIX = {
    "self-dialogue": 0.12,
    "persona-chat": 0.12,
    "small-talk": 0.025,
    "made-chat": 0.12,
    "fairytaleqa": 0.04,
    "gsm8k": 0.02,
    "retrieval": 0.12,
    "stories": 0.015,
    "fables": 0.02,
    "children": 0.23,
    "easy-fiction": 0.17,
}


def main(tokens=1_500_000):
    write("chat", MIX, tokens)


if __name__ == "__main__":
    main()
