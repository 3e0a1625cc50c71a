"""An HTML page as a test can ask it: its elements, sections with their tables as text, whether tags are balanced."""

from __future__ import annotations

from html.parser import HTMLParser

VOID = {"meta", "br", "wbr", "path", "use", "rect", "circle"}


class Page(HTMLParser):
    """What of a page can be asked: its elements, sections with their tables as text, and whether tags are balanced."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.section = ""
        self.heading = ""
        self.text: dict[str, str] = {}
        self.tables: dict[tuple[str, str], list[list[str]]] = {}
        self.captions: list[str] = []
        self._headings: dict[str, str] = {}
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag == "section":
            self.section, self.heading = found.get("id", ""), ""
        if tag in ("h2", "h3"):
            self.heading = ""
        if tag == "table":
            self.tables[self.section, self.heading] = []
        if tag == "tr":
            self.tables[self.section, self.heading].append([])
        if tag in ("td", "th"):
            self.tables[self.section, self.heading][-1].append("")
        if tag == "caption":
            self.captions.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text[self.section] = self.text.get(self.section, "") + data
        if {"h2", "h3"} & set(self.open[-2:]):
            self.heading += data
        if "caption" in self.open:
            self.captions[-1] += data
        if {"td", "th"} & set(self.open):
            self.tables[self.section, self.heading][-1][-1] += data

    def table(self, section: str, heading: str) -> list[dict[str, str]]:
        """Rows by the titles of their columns; none when there is no such table."""
        header, *rows = self.tables.get((section, heading), [[]])
        return [dict(zip(header, row, strict=True)) for row in rows]
