"""Turn the raw collections into clean documents, one JSON object a line.

A document is {"text": ...} for prose or {"turns": [...]} for a conversation;
"question"/"answer" pairs ride along where a collection has them.
Files written: clean/<source>.jsonl for training and held/<source>.jsonl for validation.
"""
import csv
import io
import json
import lzma
import random
import re
import tarfile

from settings import SEED, data_dir, work_dir

SENSITIVE = re.compile(
    r"\b(nigg\w*|negro\w*|darky|darkies|darkey\w*|pickaninn\w*|coon|coons|chinam[ae]n|chink|chinks|"
    r"jap|japs|squaw\w*|redskin\w*|half-?breed\w*|mulatto\w*|injun\w*|gypsy-?trash|kaffir\w*|"
    r"heathen\w*|savages)\b", re.I)
QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201c": '"', "\u201d": '"',
                        "\u201e": '"', "\u2013": "-", "\u2026": "...", "\u00a0": " ", "\ufeff": "",
                        "\u200b": "", "\t": " ", "\r": ""})
CHAPTER = re.compile(r"^\s*(chapter|book|part|letter|story|stave|canto)\b[ .:]*"
                     r"(i|1|one|first|the first)\b[ .:]*", re.I)
END_MARK = re.compile(r"^\W*(the end|finis|end of (the )?(book|project|volume)|transcriber'?s? notes?|"
                      r"footnotes?|advertisements?)\b", re.I)


def plain(text):
    text = text.translate(QUOTES).replace("\u2014", "--")
    text = re.sub(r"\s*-{2,}\s*", " - ", text)
    return re.sub(r" {2,}", " ", text)


def texts_in(archive):
    with tarfile.open(archive, "r:xz") as tar:
        for member in tar:
            if member.isfile():
                yield member.name, tar.extractfile(member).read().decode("utf-8", "replace")


def lines_of(path):
    return io.StringIO(lzma.open(path, "rb").read().decode("utf-8"))


def is_heading(paragraph):
    letters = [c for c in paragraph if c.isalpha()]
    if not letters:
        return True
    if sum(c.isupper() for c in letters) > 0.8 * len(letters):
        return True
    return len(paragraph) < 60 and not re.search(r"[.!?\"',;:)-]$", paragraph)


def book_paragraphs(raw):
    raw = raw.replace("\r", "")
    raw = re.sub(r"\[(Illustration|Footnote|Sidenote|Transcriber|Picture|Note)[^\]]*\]", "", raw, flags=re.I)
    raw = re.sub(r"\[(\d+|\*|[A-Z])\]", "", raw).replace("_", "")
    blocks = [b for b in re.split(r"\n\s*\n", raw) if b.strip()]
    start = 0
    for number, block in enumerate(blocks[: len(blocks) // 4]):
        if CHAPTER.match(block) and len(block) < 200:
            start = number + 1  # the last "Chapter I" in the first quarter: past the contents
    for block in blocks[start:]:
        if END_MARK.match(block) and len(block) < 60:
            break
        lines = block.split("\n")
        indented = sum(line.startswith("    ") for line in lines)
        if len(lines) > 1 and indented > len(lines) / 2:
            continue  # tables, verse in columns, title pages
        paragraph = plain(" ".join(line.strip() for line in lines)).strip()
        if len(paragraph) < 2 or is_heading(paragraph) or SENSITIVE.search(paragraph):
            continue
        if re.search(r"\.{4,}|\* \*|copyright|gutenberg|\bpage \d", paragraph, re.I):
            continue
        if sum(c.isdigit() for c in paragraph) > 0.1 * len(paragraph):
            continue
        yield paragraph


def opens_with_prose(paragraphs):
    """Without a chapter mark: skip what stands before the first real paragraph."""
    for number, paragraph in enumerate(paragraphs[:60]):
        if len(paragraph) > 200:
            return paragraphs[number:]
    return paragraphs


def pieces(paragraphs, rng, low=1000, high=3000):
    """Runs of whole paragraphs, low to high characters each."""
    run, size, goal = [], 0, rng.randint(low, high)
    for paragraph in paragraphs:
        if run and size + len(paragraph) > high:
            yield "\n\n".join(run)
            run, size, goal = [], 0, rng.randint(low, high)
        run.append(paragraph)
        size += len(paragraph) + 2
        if size >= goal:
            yield "\n\n".join(run)
            run, size, goal = [], 0, rng.randint(low, high)
    if size >= low // 2:
        yield "\n\n".join(run)


def clean_books(folder):
    """Every hundredth book, at least two a collection, is kept whole for validation."""
    rng = random.Random(SEED)
    books = sorted(texts_in(data_dir() / folder / f"{folder}.tar.xz"))
    order = list(range(len(books)))
    rng.shuffle(order)
    held_numbers = set(order[: max(2, round(len(books) / 100))])
    train, held = [], []
    for number, (name, raw) in enumerate(books):
        paragraphs = opens_with_prose(list(book_paragraphs(raw)))
        cut = [{"text": text, "book": name.rsplit("/", 1)[-1]} for text in pieces(paragraphs, rng)]
        (held if number in held_numbers else train).extend(cut)
    return train, held


def tidy_turn(turn):
    turn = plain(turn).replace("\n", " ").strip()
    if not turn:
        return ""
    turn = turn[0].upper() + turn[1:]
    turn = re.sub(r"\bi('m|'ve|'ll|'d)?\b", lambda m: "I" + (m.group(1) or ""), turn)
    if turn[-1] not in ".!?\"')":
        asks = re.match(r"(what|who|where|when|why|how|do|does|did|is|are|can|could|would|will|have|has)\b", turn, re.I)
        turn += "?" if asks else "."
    return turn


def clean_self_dialogue():
    for line in lines_of(data_dir() / "self-dialogue/self-dialogue.jsonl.xz"):
        turns = [tidy_turn(turn) for turn in json.loads(line)["turns"]]
        if all(turns) and not SENSITIVE.search(" ".join(turns)):
            yield {"turns": turns}


def clean_persona(name):
    for row in csv.DictReader(lines_of(data_dir() / f"synthetic-persona-chat/Synthetic-Persona-Chat_{name}.csv.xz")):
        turns = []
        for line in row["Best Generated Conversation"].split("\n"):
            turn = plain(re.sub(r"^\s*User ?[12]'?s?:\s*", "", line)).strip()
            if turn and not re.search(r"\[user", turn, re.I):
                turns.append(turn)
        if len(turns) > 3:
            yield {"turns": turns}


def clean_storybooks():
    for _, raw in sorted(texts_in(data_dir() / "storybooks-cc-by/storybooks-en.tar.xz")):
        title = re.match(r"#\s*(.*)", raw)
        body = re.sub(r"(?m)^\* (License|Text|Illustration|Translation|Translated By|Language|Adaptation)\b.*$", "", raw)
        pages = [" ".join(page.split()) for page in re.split(r"(?m)^#.*$", body)]
        pages = [plain(page) for page in pages if len(page) > 1]
        if len(" ".join(pages)) > 100:
            yield {"text": "\n\n".join(pages), "title": plain(title.group(1)).strip() if title else ""}


def clean_fables():
    for line in lines_of(data_dir() / "tinyfabulist/fables-permissive-models.jsonl.xz"):
        row = json.loads(line)
        paragraphs = [" ".join(plain(p).split()) for p in row["fable"].strip().split("\n\n")]
        paragraphs = [p.replace("**", "") for p in paragraphs if p and not p.startswith("#")]
        hero = re.search(r"Main Character: (.*)", row["prompt"])
        moral = re.search(r"Teaching: (.*)", row["prompt"])
        yield {"text": "\n\n".join(paragraphs), "hero": hero.group(1).strip() if hero else "",
               "moral": moral.group(1).strip() if moral else ""}


def clean_fairytales(parts):
    stories, questions = {}, {}
    for name, raw in sorted(texts_in(data_dir() / "fairytaleqa/fairytaleqa.tar.xz")):
        part, _, base = name.rpartition("/")
        if not part.endswith(parts):
            continue
        rows = list(csv.DictReader(io.StringIO(raw)))
        if base.endswith("-story.csv"):
            stories[base[:-10]] = {row["section"]: " ".join(plain(row["text"]).split()) for row in rows}
        elif base.endswith("-questions.csv"):
            questions[base[:-14]] = rows
    for story, sections in stories.items():
        by_section = {}
        for row in questions.get(story, []):
            answer = " ".join(plain(row["answer1"] or "").split()).strip(" .")
            if answer and "," not in row["cor_section"]:
                by_section.setdefault(row["cor_section"].strip(), []).append((plain(row["question"]).strip(), answer))
        for section, text in sections.items():
            if not SENSITIVE.search(text):
                yield {"text": text, "pairs": by_section.get(section, []), "story": story}


def clean_gsm8k():
    for line in lines_of(data_dir() / "gsm8k/train.jsonl.xz"):
        row = json.loads(line)
        answer = re.sub(r"<<[^>]*>>", "", plain(row["answer"]).replace(" - ", " - "))
        answer = re.sub(r"\s*####\s*(.*)", r"\nThe answer is \1.", answer)
        yield {"turns": [plain(row["question"]).strip(), answer.strip()]}


def clean_small_talk():
    for name, raw in sorted(texts_in(data_dir() / "personality-chat/personality-chat.tar.xz")):
        if "Queries" in name and "Humorous" not in name:
            for line in raw.splitlines()[1:]:
                cells = line.split("\t")
                if len(cells) >= 2 and "Abusive" not in line and "Sexual" not in line:
                    yield {"turns": [tidy_turn(cells[0]), tidy_turn(cells[1])]}
    wanted = ("greetings", "conversations", "emotion", "food", "psychology")
    for name, raw in sorted(texts_in(data_dir() / "chatterbot-corpus/english.tar.xz")):
        if name.rsplit("/", 1)[-1][:-4] not in wanted:
            continue
        turns = []
        for line in raw.splitlines() + ["- - "]:
            mark = re.match(r"(- - |  - )(.*)", line)
            if not mark:
                continue
            if mark.group(1) == "- - ":
                if 1 < len(turns) and all(turns):
                    yield {"turns": turns}
                turns = []
            turns.append(tidy_turn(mark.group(2).strip().strip("'\"")))


def write(folder, name, rows):
    path = work_dir() / folder
    path.mkdir(exist_ok=True)
    size = 0
    with open(path / f"{name}.jsonl", "w", encoding="utf-8") as out:
        for row in rows:
            text = json.dumps(row, ensure_ascii=False)
            size += len(text)
            out.write(text + "\n")
    print(f"{folder}/{name}: {len(rows)} documents, {size / 1e6:.1f} MB", flush=True)


def main():
    for name, folder in (("children", "gutenberg-children"), ("easy-fiction", "gutenberg-easy-fiction")):
        train, held = clean_books(folder)
        write("clean", name, train)
        write("held", name, held)
    dialogues = list(clean_self_dialogue())
    random.Random(SEED).shuffle(dialogues)
    write("clean", "self-dialogue", dialogues[240:])
    write("held", "self-dialogue", dialogues[:240])
    write("clean", "persona-chat", list(clean_persona("valid")))
    write("held", "persona-chat", list(clean_persona("test")))
    write("clean", "stories", list(clean_storybooks()))
    write("clean", "fables", list(clean_fables()))
    write("clean", "fairytaleqa", list(clean_fairytales(("train", "val"))))
    write("held", "fairytaleqa", list(clean_fairytales(("test",))))
    write("clean", "gsm8k", list(clean_gsm8k()))
    write("clean", "small-talk", list(clean_small_talk()))


if __name__ == "__main__":
    main()
