"""Write ATTRIBUTION.md beside the models: every source of training text, its licence and its people."""
import re

from clean import texts_in
from settings import HERE, data_dir

SOURCES = """# Where the training text came from

The built-in models of this folder were trained on the texts below. None of the texts is included; thanks to
everyone who made them free to use. The texts were cleaned, cut and mixed by `assets/recipe`.

| source | people | licence |
|---|---|---|
| Project Gutenberg, children's books and easy fiction | the authors, long dead; the volunteers of Project Gutenberg | public domain |
| Self-dialogue corpus | University of Edinburgh: Fainberg, Krause, Dobre, Damonte, Kahembwe, Duma, Webber, Fancellu | BSD-3-Clause |
| Synthetic-Persona-Chat | Jandaghi, Sheng, Bai, Pujara, Sidahmed (Google) | CC BY 4.0 |
| FairytaleQA | Xu, Wang, Yu and others; UCI Digital Learning Lab | Apache-2.0 |
| GSM8K | Cobbe and others; copyright 2021 OpenAI | MIT |
| Personality chat | Microsoft | MIT |
| tinyfabulist | the TinyFabulist authors; fables of openly licensed models | MIT |
| ChatterBot corpus | Gunther Cox and contributors | BSD-3-Clause |
| African Storybook and Pratham Books StoryWeaver | per story, below | CC BY 3.0 or 4.0, one public domain |

## Stories

"""


def licences(file):
    """Story number -> licence, as the collection lists it."""
    found = {}
    for line in (data_dir() / "storybooks-cc-by" / file).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split(" | ")]
        if len(cells) == 3 and cells[0].isdigit():
            version = re.search(r"licenses/by/(\d\.\d)", cells[2])
            found[cells[0]] = f"CC BY {version.group(1)}" if version else re.sub(r"\[(.*?)\].*", r"\1", cells[2])
    return found


def main():
    lists = {"african-storybook": licences("per-story-licences-african-storybook.md"),
             "pratham-books": licences("per-story-licences-pratham.md")}
    titles = {"african-storybook": "African Storybook", "pratham-books": "Pratham Books"}
    lines = {key: [] for key in lists}
    for name, raw in sorted(texts_in(data_dir() / "storybooks-cc-by/storybooks-en.tar.xz")):
        collection, base = name.split("/")[-2:]
        title = re.match(r"#\s*(.*)", raw).group(1).strip()
        people = [f"{role.lower()} {who.strip()}" for role, who in
                  re.findall(r"(?m)^\* (Text|Translation|Translated By|Adaptation): *(.+)$", raw)]
        number = base.split("_")[0]
        lines[collection].append(f"- {title}: {'; '.join(people)} ({lists[collection].get(number, 'CC BY')})")
    text = SOURCES + "\n\n".join(f"### {titles[key]}\n\n" + "\n".join(value) for key, value in lines.items()) + "\n"
    (HERE.parent / "models" / "ATTRIBUTION.md").write_text(text, encoding="utf-8")
    print(f"{sum(map(len, lines.values()))} stories")


if __name__ == "__main__":
    main()
