"""`python -m docs.generator` writes every page that is not as it should be."""

from docs.generator.pages import outdated

for path, text in outdated().items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"written {path}")
