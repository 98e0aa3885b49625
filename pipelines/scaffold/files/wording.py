"""What the files of a model say of it in words. Nothing of the data enters a text but as one short, plain line."""

from pipelines.scaffold.data.moments import in_sql
from pipelines.scaffold.design import Column, Design

LONGEST = 80


def plain(text: str) -> str:
    """A text of unknown origin as one short line that neither Markdown, HTML nor SQL reads as more than text."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())
    for sign in "<>`[]*|#\\{}":
        line = line.replace(sign, " ")
    line = " ".join(line.replace("--", "-").split())
    return line[:LONGEST].rstrip() + ("..." if len(line) > LONGEST else "")


def column(each: Column) -> str:
    """What a column is, for the dataset and for whoever asks."""
    said = {"answer": "what is to be told", "time": "when it happened", "key": "whose history it is"}.get(
        each.role, ""
    )
    span = (
        f"from {each.facts.least:g} to {each.facts.most:g}"
        if each.kind == "float" and each.facts.least is not None
        else ""
    )
    values = (
        f"such as {', '.join(map(plain, each.facts.examples[:3]))}"
        if each.kind == "string" and each.role != "key"
        else ""
    )
    return "; ".join(part for part in (said, span or values) if part) or each.name.replace("_", " ")


def question(design: Design) -> str:
    """The comment above label.sql and the title of its view."""
    if design.clock is None:
        return "Each row with an answer: what is asked, when it came, and the answer."
    return (
        "One row per event with an answer: what is asked, when it is asked, the answer and when it was known."
    )


def description(design: Design) -> str:
    """One sentence: what the model tells."""
    what = _told(design)
    if design.clock is None:
        return f"{what}, from what else the row says."
    whose = f" of a {' and '.join(design.keys)}" if not design.series else ""
    return f"{what}{whose}, as known {in_sql(design.horizon)} before {design.time}."


def _told(design: Design) -> str:
    if design.answer.classes:
        return f"Which {design.label.name} of {len(design.answer.classes)} it is, and how likely each of them"
    if design.answer.positive is not None:
        return f"The probability that {design.label.name} is {plain(design.answer.positive)}"
    return f"The value of {design.label.name}"


def history_title(design: Design) -> str:
    whose = f"each {' and '.join(design.keys)}" if not design.series else "the series"
    return f"What was last known of {whose}, and its means over stretches of time."


def baseline(design: Design) -> str:
    return "the last value known" if design.forecast else "a rule of two questions"


def purpose(design: Design) -> str:
    yes = design.answer.positive is not None
    what = "Ranking rows by how likely it is" if yes else "Planning with what is to be expected"
    what = "Sorting rows by what they most likely are" if design.answer.classes else what
    return f"{what}. It was not made for decisions about people, and not tried for them."


def data(design: Design) -> str:
    sizes, count = design.sizes, f"{design.rows:,}"
    when = f", from {design.span[0]:%Y-%m-%d} to {design.span[1]:%Y-%m-%d}" if design.clock else ""
    out = design.of("unused")
    left = f" {len(out)} columns are not used: {', '.join(c.name for c in out)}." if out else ""
    return f"{count} rows of {plain(design.origin)}{when}; {sizes.learned:,} to learn from at first.{left}"


def judged(design: Design) -> str:
    if design.clock is None:
        how = "On a random sample of the rows, never trained on"
    else:
        how = "On the newest labels, never trained on"
    return f"{how}: better than {baseline(design)} and than the champion, floors, and made again from its record."


def limits(design: Design) -> str:
    if design.clock is None:
        return (
            "The data does not say when a row happened. Times were made, in a random order, so the rows held out are an"
            " honest random sample of the same time; how the model holds as time passes shows only when rows land that"
            " say when they came."
        )
    return (
        f"An outcome counts as known at {design.time} itself. Where it comes later, name the column that says when as"
        " available_at. What the row itself says is taken as known when the question is asked."
    )
