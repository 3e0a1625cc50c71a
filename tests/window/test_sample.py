"""Samples: drawn again with nothing but sha256sum, uniform, the same however ids arrive, honest about limits."""

from __future__ import annotations

import hashlib
import random
import subprocess
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.window import sample

IDS = [
    sample.item_id("aws-iam-user-mfa", "aws/123456789012", f"2026-01-{day:02}T06:00:00.000000Z", f"arn:{who}")
    for day in range(1, 29)
    for who in ("ann", "bob", "čeněk|pipe", "dora")
]


def slow(ids: list[str], seed: str, n: int) -> list[str]:
    """What the module's docstring says, in one line."""
    return sorted(ids, key=lambda one: hashlib.sha256((seed + one).encode()).digest())[:n]


@given(st.lists(st.text(min_size=1), unique=True), st.text(min_size=1, max_size=20), st.integers(1, 30))
def test_the_sample_is_the_first_n_by_the_hash_of_seed_and_id(ids: list[str], seed: str, n: int) -> None:
    ids = [id for id in ids if id.isprintable()]
    if not seed.isprintable():
        seed = "seed"
    assert [one.id for one in sample.draw(ids, seed, n)] == slow(ids, seed, n)


def test_the_order_of_arrival_and_the_size_of_blocks_change_nothing() -> None:
    whole = sample.Draw("2026-q1", 9)
    whole.add(IDS)
    shuffled = IDS.copy()
    random.Random(1).shuffle(shuffled)
    pieces = sample.Draw("2026-q1", 9)
    for start in range(0, len(shuffled), 5):
        pieces.add(shuffled[start : start + 5])
    assert pieces.chosen() == whole.chosen()
    assert [one.place for one in whole.chosen()] == list(range(1, 10))
    assert pieces.population.count == whole.population.count == len(IDS)
    assert pieces.population.digest != whole.population.digest, "the digest is over the ids in their order"


def test_anybody_can_check_one_rank_with_a_shell() -> None:
    one = sample.draw(IDS, "seed of the auditor", 1)[0]
    command = 'printf \'%s%s\' "$0" "$1" | sha256sum'
    told = subprocess.run(["sh", "-c", command, "seed of the auditor", one.id], capture_output=True, check=True)
    assert told.stdout.decode().split()[0] == one.rank


def test_the_digest_of_a_population_is_over_its_ids_one_a_line() -> None:
    counted = sample.Counted()
    assert counted.population == sample.Population(0, hashlib.sha256(b"").hexdigest())
    counted.add([])
    counted.add(IDS[:3])
    counted.add(IDS[3:])
    lines = "".join(f"{id}\n" for id in IDS).encode()
    assert counted.population == sample.Population(len(IDS), hashlib.sha256(lines).hexdigest())


def test_another_seed_draws_others_and_each_item_is_drawn_as_often() -> None:
    times = dict.fromkeys(IDS, 0)
    for seed in range(2000):
        for one in sample.draw(IDS, str(seed), 7):
            times[one.id] += 1
    expected = 2000 * 7 / len(IDS)
    assert all(0.5 * expected < count < 1.6 * expected for count in times.values())


def test_a_sample_larger_than_the_population_is_all_of_it() -> None:
    assert {one.id for one in sample.draw(IDS, "s", 10_000)} == set(IDS)


@pytest.mark.parametrize(("seed", "n"), [("", 5), ("s" * 201, 5), ("s", 0), ("s", 100_001)])
def test_what_cannot_be_drawn_is_refused(seed: str, n: int) -> None:
    with pytest.raises(ValueError, match="from 1 to"):
        sample.Draw(seed, n)


# --- what it says ---


@pytest.mark.parametrize(("n", "said"), [(25, "8.8 %"), (45, "5.0 %"), (60, "3.8 %"), (180, "1.3 %"), (365, "0.6 %")])
def test_a_clean_sample_does_not_rule_out(n: int, said: str) -> None:
    assert sample.percent(sample.upper_bound(n)) == said
    assert n in sample.SHOWN


@pytest.mark.parametrize(("n", "found"), [(25, 1), (25, 3), (60, 2), (365, 10), (10, 9)])
def test_the_bound_is_where_so_few_are_seen_in_a_tenth_of_samples(n: int, found: int) -> None:
    bound = sample.upper_bound(n, found)
    seen = sum(comb(n, k) * bound**k * (1 - bound) ** (n - k) for k in range(found + 1))
    assert seen == pytest.approx(0.1, abs=1e-6)
    assert found / n < bound < 1


def test_the_bound_grows_with_what_is_found_and_shrinks_with_the_sample() -> None:
    assert sample.upper_bound(25, 25) == 1.0
    bounds = [sample.upper_bound(25, found) for found in range(26)]
    assert bounds == sorted(bounds)
    assert sample.upper_bound(100_000, 40) < sample.upper_bound(10_000, 40) < 0.01


@pytest.mark.parametrize(("n", "found"), [(0, 0), (5, 6), (5, -1)])
def test_counts_that_cannot_be_are_refused(n: int, found: int) -> None:
    with pytest.raises(ValueError, match="deviations among"):
        sample.upper_bound(n, found)


def test_the_statement_says_what_it_says_and_what_not() -> None:
    clean = sample.says(18_250, 25, 0)
    assert clean[0].startswith("25 of 18,250 items were drawn. None deviates. With 90 % confidence at most 8.8 %")
    assert any("does not say that nothing else deviates" in line for line in clean)
    assert "1 of them deviates." in sample.says(18_250, 25, 1)[0]
    assert "2 of them deviate." in sample.says(18_250, 25, 2)[0]
    unread = sample.says(18_250, 25, 1, 2)[0]
    assert "2 could not be read, which counts as if they deviated" in unread
    assert sample.percent(sample.upper_bound(25, 3)) in unread
    assert "nothing to infer" in sample.says(20, 25, 1)[0]
