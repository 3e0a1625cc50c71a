"""HTML by halves: texts are escaped unless they say that they are HTML already. Knows nothing of what it prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources

CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


class Html(str):
    """A text that is HTML and safe. Everything else is a text and gets escaped."""

    __slots__ = ()


def safe(value: object) -> Html:
    """``value`` as HTML: itself when it is, escaped when it is not."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def fill(template: str, **values: object) -> Html:
    """``template``, written here by us, with values that are escaped on their way in."""
    return Html(template.format(**{name: safe(value) for name, value in values.items()}))


def join(parts: Iterable[object], between: str = "") -> Html:
    return Html(between.join(safe(part) for part in parts))


@dataclass(frozen=True)
class Head:
    """A column: its title, and how its cells are set ("n" for figures, "w" for words that need room)."""

    title: str
    css: str = ""


def table(caption: object, heads: Sequence[Head], rows: Iterable[Sequence[object]], css: str = "") -> Html:
    """A table with a caption; the first cell of each row is its heading. Scrolls by itself on a narrow page."""
    top = join(fill('<th scope="col" class="{css}">{title}</th>', css=head.css, title=head.title) for head in heads)
    body = []
    for row in rows:
        cells = []
        for place, (head, value) in enumerate(zip(heads, row, strict=True)):
            kind = 'th scope="row"' if place == 0 else "td"
            cells.append(
                Html(f'<{kind} class="{head.css}">{safe(value)}</{kind.split()[0]}>')
                if head.css
                else Html(f"<{kind}>{safe(value)}</{kind.split()[0]}>")
            )
        body.append(fill("<tr>{cells}</tr>\n", cells=join(cells)))
    return fill(
        '<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="{css}">'
        "<caption><span>{caption}</span></caption><thead><tr>{top}</tr></thead><tbody>\n{body}</tbody></table></div>\n",
        label="Table, scrolls sideways",
        css=css,
        caption=caption,
        top=top,
        body=join(body),
    )


def terms(pairs: Iterable[tuple[object, object]], css: str = "") -> Html:
    """A list of terms with what is said of each."""
    body = join(fill("<div><dt>{term}</dt><dd>{said}</dd></div>\n", term=term, said=said) for term, said in pairs)
    return fill('<dl class="{css}">\n{body}</dl>\n', css=css, body=body)


def page(title: str, body: Html) -> str:
    """One self-contained file: it loads nothing, and its policy forbids a browser to let it."""
    style = resources.files("collector.export").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
