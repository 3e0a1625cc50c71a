"""Recorded answers of AWS as cases for our checks. The recordings are boto3's parsed answers, one page a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache, partial
from typing import Any

from collector.clouds.aws import Account
from collector.clouds.aws_models import paging
from collector.clouds.redact import redact
from collector.clouds.transcript import Answer, Transcript
from collector.errors import Denied, Unreadable
from collector.model import Scope
from tests.support.recorded import FOLDER, Answers, Case, digest
from tests.support.recorded_aws_around import ACCOUNT, REGION, REPORT, SOURCES, Body, bucket_of, ours

TOKENS = ("NextToken", "nextToken", "Marker", "NextMarker", "ContinuationToken", "ResponseMetadata")


# --- recorded files as the answers that a check gets ---


def _plain(value: Any) -> Any:
    """An answer as it comes over the wire: times are texts."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("__class__") == "datetime":
        words = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        when = datetime(*(value[word] for word in words))  # noqa: DTZ001 - boto3 writes the zone apart, and always UTC
        return f"{when.isoformat()}Z"
    return {name: _plain(member) for name, member in value.items()}


@cache
def recorded(folder: str) -> tuple[tuple[str, Body], ...]:
    """Every recorded answer of an operation, by file. Each page counts as the last one of its listing."""
    found = []
    for file in sorted((FOLDER / "aws" / folder).glob("*.json")):
        page = json.loads(file.read_text())
        body = {name: member for name, member in _plain(page["data"]).items() if name not in TOKENS}
        if page["status_code"] >= 400:
            body = {"Error": body["Error"], "status": page["status_code"]}
        if (
            folder == "s3/ListBuckets"
        ):  # recorded before S3 named the region of each, which it does when asked for pages
            body["Buckets"] = [{"BucketRegion": REGION, **bucket} for bucket in body.get("Buckets", [])]
        if isinstance(body.get("Content"), str):
            body["Content"] = list(csv.DictReader(io.StringIO(body["Content"])))
        found.append((f"{folder}/{file.stem}", redact(body)))
    return tuple(found)


def _last(question: str, body: Body) -> Body:
    """The answer without what says that the listing goes on."""
    service, _, operation = question.partition(":")
    table = paging(service, operation) or {}
    outputs = table.get("output_token", [])
    for path in [*(outputs if isinstance(outputs, list) else [outputs]), table.get("more_results", "")]:
        first, _, rest = path.partition(".")
        if rest and isinstance(body.get(first), dict):
            inner = {name: member for name, member in body[first].items() if name != rest}
            body = {**body, first: {**inner, rest: False} if path == table.get("more_results") else inner}
        elif first in body:
            body = {**body, first: False} if path == table.get("more_results") else {**body}
            if path != table.get("more_results"):
                del body[first]
    return body


def _one(body: Body, path: str, index: int) -> Body:
    """The answer with one item of its list."""
    first, _, rest = path.partition(".")
    if rest:
        return {**body, first: _one(body[first], rest, index)}
    one = {**body, first: [body[first][index]]}
    return {**one, "Quantity": 1} if "Quantity" in one else one


def _items(body: Body, path: str) -> int:
    for part in path.split("."):
        body = body.get(part, {})
    return len(body)


def cases(check: str) -> Iterator[Case]:
    """Every recorded object that a check judges, each by itself and then each listing as it was recorded."""
    case = partial(Case, scope=Scope("aws", ACCOUNT, REGION), open=opened, ours=ours)
    seen: set[str] = set()
    for source in SOURCES[check]:
        folder = f"{source.folder or source.operation.partition('/')[0]}/{source.operation.partition('/')[2]}"
        for file, body in recorded(folder):
            page = _last(source.question, body)
            count = _items(page, source.path) if source.path and "Error" not in page else 0
            singles = [_one(page, source.path, index) for index in range(count)] if source.path else [page]
            for index, single in enumerate(singles):
                if (known := digest(single)) in seen:
                    continue
                seen.add(known)
                around = {} if "Error" in single else source.around(single)
                if "Error" in single and source.around is bucket_of:
                    around = bucket_of(single)
                yield case(f"{file}[{index}]", source.question, world={source.question: single, **around})
            if count > 1:
                every = {source.question: page, **source.around(page)}
                yield case(file, source.question, world=every, whole=True)


class _Recorded(Account):
    """An account that answers from a world. The credential report is a table, so a member gone is a column gone."""

    def __init__(self, answers: Answers, now: datetime) -> None:
        super().__init__(ACCOUNT, Transcript(), now, self._answer, REGION, sleep=lambda _: None)
        self._answers = answers

    def _answer(self, service: str, operation: str, region: str, params: Mapping[str, Any]) -> Answer:
        question = f"{service}:{operation}"
        try:
            body = self._answers.of(question, params)
        except Unreadable as error:
            return Answer(
                {"Error": {"Code": "NotRecorded", "Message": str(error)}}, self.now, 1, 0, "NotRecorded", error.code
            )
        if "status" in body and "Error" in body:
            family = Denied if body["status"] in (401, 403) else Unreadable
            return Answer(body, self.now, 1, body["status"], str(body["Error"].get("Code", "Unknown")), family.code)
        if question == REPORT:
            rows = [{str(name): value for name, value in row.items()} for row in body.get("Content", [])]
            names = [name for name in rows[0] if all(name in row for row in rows)] if rows else []
            lines = [",".join(names), *(",".join(row[name] for name in names) for row in rows)]
            return Answer({"Content": "\n".join(lines)}, self.now, 1)
        return Answer(body, self.now, 1)

    def credential_report(self) -> list[dict[str, str]]:
        parsed = super().credential_report()
        rows = self._answers.of(REPORT)["Content"]
        return [
            {name: value for name, value in row.items() if str(name) in text}
            for row, text in zip(rows, parsed, strict=True)
        ]


def opened(answers: Answers, now: datetime) -> _Recorded:
    return _Recorded(answers, now)
