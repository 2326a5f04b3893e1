"""Text made by rule: modern little stories, template chat, and retrieval tasks written as text.

Each maker takes a random.Random and returns a document: {"text": ...} or {"turns": [...]}.
"""
from words import (ANIMALS, BOYS, COLOURS, FEELINGS, FOODS, GIRLS, JOBS, PLACES, SIMPLE, SURNAMES, THINGS, TOWNS,
                   WEATHER)


def person(rng):
    return (rng.choice(GIRLS), "she", "her") if rng.random() < 0.5 else (rng.choice(BOYS), "he", "his")


def a(word):
    return ("an " if word[0] in "aeiou" else "a ") + word


def up(text):
    return text[0].upper() + text[1:]


# ---- stories ----------------------------------------------------------------------------------------------

def lost_thing(rng):
    name, he, his = person(rng)
    friend = person(rng)[0]
    colour, thing, place, found = rng.choice(COLOURS), rng.choice(THINGS), rng.choice(PLACES), rng.choice(PLACES)
    finder = rng.choice(ANIMALS)
    return [
        rng.choice([f"{name} had {a(colour)} {thing}.", f"Once there was a child named {name} who loved {his} {colour} {thing}."])
        + " " + rng.choice([f"It was a present from {his} grandmother.", f"{up(he)} took it everywhere.",
                            f"Every morning {he} looked at it and smiled."]),
        f"One {rng.choice(WEATHER)} day, {name} went to the {place}. When {he} came home, the {thing} was gone. "
        + rng.choice([f'"Where is my {thing}?" {he} cried.', f'"Oh no!" said {name}. "I have lost my {thing}!"']),
        f"{friend} came to help. They looked in the {place}, and they looked under the bed, but the {thing} was not there. "
        + f'"Let us look in the {found}," said {friend}.',
        f"In the {found} they saw a little {finder}. The {finder} was sitting next to something {colour}. "
        + f"It was the {thing}!",
        rng.choice([f"{name} was so happy that {he} hugged {friend}. \"Thank you for helping me,\" {he} said.",
                    f'"Thank you, little {finder}," said {name}. From that day on, {name} took good care of the {thing}.'])]


def new_friend(rng):
    name, he, his = person(rng)
    other = person(rng)[0]
    animal, food, place = rng.choice(ANIMALS), rng.choice(FOODS), rng.choice(PLACES)
    feeling = rng.choice(["lonely", "sad", "worried", "shy"])
    return [
        f"{name} was new in town. {up(he)} felt {feeling}, because {he} did not know anyone.",
        f"After school {he} walked to the {place} with {his} {animal}. {other} was there, eating {food}.",
        rng.choice([f'"Is that your {animal}?" asked {other}.', f'"Hello," said {other}. "What a nice {animal}!"'])
        + f' "Yes," said {name}. "Would you like to play with us?"',
        f"They played until the sun went down. {other} shared the {food} with {name}, and the {animal} got some too.",
        rng.choice([f"That night {name} told {his} mother, \"I have a friend now.\"",
                    f"When {name} went to bed, {he} did not feel {feeling} any more."])]


def cooking(rng):
    name, he, his = person(rng)
    elder = rng.choice(["mother", "father", "grandmother", "grandfather", "uncle", "aunt"])
    food, missing, place = rng.choice(FOODS), rng.choice(["salt", "flour", "milk", "butter", "sugar"]), rng.choice(PLACES)
    return [
        f"It was a {rng.choice(WEATHER)} morning. {name} and {his} {elder} wanted to make {food}.",
        f'"We need {missing}," said {his} {elder}, "but there is no {missing} in the house." So {name} took {a(rng.choice(COLOURS))} '
        f"basket and walked to the shop near the {place}.",
        f"The shop was closed. {name} felt {rng.choice(['sad', 'worried', 'angry'])}. Then a {rng.choice(JOBS)} came by and asked, "
        f'"What is the matter?" {name} told the whole story.',
        f'"I have {missing} at home," said the kind neighbour. "You can have some."',
        f"Soon the {food} stood on the table, and it smelled good. {name} brought the first plate to the neighbour, "
        f"to say thank you."]


def brave(rng):
    name, he, his = person(rng)
    animal, place = rng.choice(ANIMALS), rng.choice(["river", "lake", "forest", "bridge", "barn"])
    return [
        f"{name} was afraid of the {place}. {up(his)} friends went there every day, but {name} always stayed at home.",
        f"One evening {he} heard a small sound. It was a {animal}, and it could not get out of the {place}. Nobody else was there.",
        f'"I am afraid," thought {name}, "but the {animal} is more afraid than I am." {up(he)} took a rope and went, one step at a time.',
        f"{up(he)} pulled and pulled, and at last the {animal} was safe.",
        f"{up(his)} friends asked, \"Were you not afraid?\" {name} laughed. \"Yes, I was,\" {he} said. \"But I did it anyway.\""]


STORIES = (lost_thing, new_friend, cooking, brave)


def made_story(rng):
    return {"text": "\n\n".join(rng.choice(STORIES)(rng))}


# ---- chat -------------------------------------------------------------------------------------------------

HELLO = (("Hello!", "Hello! How can I help you today?"), ("Hi there.", "Hi! It is nice to talk to you."),
         ("Good morning.", "Good morning! How are you today?"), ("Hey!", "Hey! What would you like to talk about?"),
         ("How are you?", "I am fine, thank you. And you?"))
GOODBYE = (("Thank you.", "You are welcome!"), ("Bye!", "Goodbye! Have a nice day."),
           ("Thanks, that helps.", "I am glad to hear that."), ("Good night.", "Good night! Sleep well."))
ABOUT = (("Who are you?", "I am a very small language model. I live on your computer."),
         ("What can you do?", "I can tell little stories and chat with you. I do not know many facts."),
         ("Are you a person?", "No, I am a small language model."),
         ("Do you know everything?", "No. I am very small, and I often make mistakes."),
         ("Can you help me with maths?", "I can try, but I am not good with numbers."))


def feeling_turns(rng):
    feeling = rng.choice(FEELINGS)
    good = feeling in ("happy", "proud", "excited", "calm", "curious")
    reply = f"That is nice! What makes you {feeling}?" if good else rng.choice(
        [f"I am sorry that you feel {feeling}. Do you want to talk about it?", f"Oh dear. Why do you feel {feeling}?"])
    thing = rng.choice(THINGS)
    reason = rng.choice([f"I got {a(rng.choice(COLOURS))} {thing}.", f"I am going to {rng.choice(TOWNS)}."]) if good else \
        rng.choice([f"I lost my {thing}.", f"My {rng.choice(ANIMALS)} is ill.", "I did not sleep well."])
    close = "That sounds wonderful." if good else "I understand. I hope that tomorrow is a better day."
    return [f"I feel {feeling} today.", reply, reason, close]


def memory_turns(rng):
    name = rng.choice(GIRLS + BOYS)
    facts = [("name", f"My name is {name}.", f"Nice to meet you, {name}!", "What is my name?", f"Your name is {name}.")]
    animal, colour, food = rng.choice(ANIMALS), rng.choice(COLOURS), rng.choice(FOODS)
    town, job = rng.choice(TOWNS), rng.choice(JOBS)
    facts += [("pet", f"I have {a(colour)} {animal}.", f"{up(a(animal))} is a lovely animal.", "Which animal do I have?",
               f"You have {a(colour)} {animal}."),
              ("food", f"I like {food} best.", f"{up(food)} taste good!" if food.endswith("s") else f"{up(food)} tastes good!",
               "What do I like to eat?", f"You like {food} best."),
              ("town", f"I live in {town}.", f"{town} must be an interesting place.", "Where do I live?", f"You live in {town}."),
              ("job", f"I work as {a(job)}.", "That sounds like good work.", "What is my job?", f"You are {a(job)}.")]
    rng.shuffle(facts)
    chosen = facts[: rng.randint(1, 4)]
    turns = [part for fact in chosen for part in fact[1:3]]
    rng.shuffle(chosen)
    return turns + [part for fact in chosen[:2] for part in fact[3:5]]


def story_turns(rng):
    maker = rng.choice(STORIES)
    paragraphs = maker(rng)
    ask = rng.choice(["Tell me a story.", "Can you tell me a short story?", "Please tell me a story.", "I would like to hear a story."])
    return [ask, "\n\n".join(paragraphs)]


def list_turns(rng):
    kind, words = rng.choice([("animals", ANIMALS), ("colours", COLOURS), ("things to eat", FOODS), ("places", PLACES),
                              ("jobs", JOBS), ("names", GIRLS + BOYS)])
    count = rng.choice([2, 3, 4])
    number = {2: "two", 3: "three", 4: "four"}[count]
    chosen = rng.sample(words, count)
    return [f"Name {number} {kind}.", up(", ".join(chosen[:-1]) + " and " + chosen[-1] + ".")]


def repeat_turns(rng):
    words = " ".join(rng.sample(SIMPLE, rng.randint(2, 6)))
    return [rng.choice([f"Repeat after me: {words}", f"Please say this: {words}"]), words]


CHAT = (feeling_turns, memory_turns, memory_turns, story_turns, list_turns, repeat_turns)


def made_chat(rng):
    turns = list(rng.choice(HELLO)) if rng.random() < 0.4 else []
    if rng.random() < 0.15:
        turns += rng.choice(ABOUT)
    for _ in range(rng.randint(1, 2)):
        turns += rng.choice(CHAT)(rng)
    if rng.random() < 0.4:
        turns += rng.choice(GOODBYE)
    return {"turns": turns}


# ---- retrieval --------------------------------------------------------------------------------------------
# Every maker gives a context and (question, answer, fact) triples; the fact stands in the context. With `far` the
# first triple's fact stands beyond the local attention window, else well inside it. Everything is asked, in any
# order: an answer teaches to look back, the random context teaches nothing.

FILLER = ("The {a} sat near the {p}.", "It was a {w} day.", "{n} went to the {p} with {m}.", "The {j} had some {f}.",
          "{n} saw {an} {a} and laughed.", "There was a {c} {t} in the {p}.", "{m} wanted to eat {f}.",
          "The {t} was {c}.", "{n} told {m} about the {a}.", "In the evening it was quiet in the {p}.")


def filler(rng):
    animal = rng.choice(ANIMALS)
    return rng.choice(FILLER).format(a=animal, an="an" if animal[0] in "aeiou" else "a", p=rng.choice(PLACES),
                                     w=rng.choice(WEATHER), n=rng.choice(GIRLS), m=rng.choice(BOYS), j=rng.choice(JOBS),
                                     f=rng.choice(FOODS), c=rng.choice(COLOURS), t=rng.choice(THINGS))


def digits(rng, count=4):
    return "".join(rng.choice("0123456789") for _ in range(count))


def names(rng, count):
    found = set()
    while len(found) < count:
        found.add(f"{rng.choice(GIRLS + BOYS)} {rng.choice(SURNAMES)}")
    found = sorted(found)
    rng.shuffle(found)
    return found


def distance(rng, far):
    """Sentences that do not matter, enough to leave the local attention window behind if `far`."""
    text = " ".join(filler(rng) for _ in range(rng.randint(17, 22) if far else rng.randint(0, 3)))
    return text + "\n" if text else ""


def phone_book(rng, far):
    """Names and numbers, then questions for most of them."""
    people = names(rng, rng.randint(18, 24) if far else rng.randint(1, 7))
    book = {name: digits(rng) for name in people}
    lines = ["Phone book:"] + [f"{name}: {number}" for name, number in book.items()]
    first = rng.choice(people[: len(people) // 3] if far else people)
    asked = [first] + rng.sample([name for name in people if name != first], min(11, len(people) - 1))
    return "\n".join(lines) + "\n\n", [(f"{name}:", f" {book[name]}\n", f"{name}: {book[name]}\n") for name in asked]


def key_value(rng, far):
    keys = rng.sample(SIMPLE, rng.randint(1, 10))
    table = {key: rng.choice(COLOURS + FOODS) for key in keys}
    lines = [f"{key} = {value}" for key, value in table.items()]
    rng.shuffle(keys)
    return "\n".join(lines) + "\n\n" + distance(rng, far), [
        (f"{key} =", f" {table[key]}\n", f"{key} = {table[key]}\n") for key in keys]


def copying(rng, far):
    line = " ".join(rng.choice(SIMPLE) for _ in range(rng.randint(3, 10))) + "\n"
    again = ("Again:", " " + line, "Words: " + line)
    return "Words: " + line + distance(rng, far), [again] * (1 if far else rng.randint(1, 4))


def needle(rng, far):
    """One to three facts among sentences that do not matter, then a question for each."""
    secret, thing, place, number = rng.choice(SIMPLE), rng.choice(THINGS), rng.choice(PLACES), digits(rng)
    facts = rng.sample([
        ("Question: What is the secret word?\nAnswer:", f" {secret}\n", f"The secret word is {secret}."),
        (f"Question: Where is the {thing} hidden?\nAnswer:", f" {place}\n", f"The {thing} is hidden in the {place}."),
        ("Question: What is the magic number?\nAnswer:", f" {number}\n", f"The magic number is {number}.")],
        rng.randint(1, 3))
    sentences = [filler(rng) for _ in range(rng.randint(0, 6))] + [fact for _, _, fact in facts]
    rng.shuffle(sentences)
    sentences += [filler(rng) for _ in range(rng.randint(17, 24) if far else rng.randint(0, 6))]
    return " ".join(sentences) + "\n", facts


RETRIEVAL = {"phone book": phone_book, "key to value": key_value, "copying": copying, "needle": needle}


def retrieval(rng):
    context, pairs = RETRIEVAL[rng.choice(sorted(RETRIEVAL))](rng, far=rng.random() < 0.25)
    return {"text": context + "".join(ask + answer for ask, answer, _ in pairs).rstrip("\n")}
