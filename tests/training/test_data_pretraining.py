"""Pretraining samples: pure functions of (seed, index), in the right proportions, none lost and none twice."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.platform.errors import InputError, SettingsError
from components.platform.indexed import IndexedWriter
from components.training.data.blending import Blend
from components.training.data.permutation import Permutation
from components.training.data.pretraining import PretrainingData, ValidationData
from components.training.data.sample import Sample

SEQUENCE_LENGTH = 8
EOD = 2


def write_group(folder: Path, name: str, first_token: int, num_documents: int) -> Path:
    """Documents of 1 to 12 tokens, no token twice (but EOD), so that a window's tokens tell where it comes from."""
    lengths = np.random.default_rng(first_token).integers(1, 13, num_documents)
    with IndexedWriter(folder / name, np.int32) as writer:
        for length in lengths:
            writer.add([*range(first_token, first_token + length), EOD])
            first_token += int(length)
    return folder / name


def stream(prefix: Path) -> np.ndarray:
    return np.fromfile(f"{prefix}.bin", dtype=np.int32)


@pytest.fixture
def prefixes(tmp_path):
    groups = {"guidelines": (10_000, 20), "abstracts": (20_000, 90), "replay": (30_000, 5)}
    return {name: write_group(tmp_path, name, *group) for name, group in groups.items()}


WEIGHTS = {"guidelines": 0.3, "abstracts": 0.69, "replay": 0.01}


@given(st.integers(1, 3000), st.integers(), st.integers(0, 5))
def test_a_permutation_is_one(size, seed, epoch):
    permutation = Permutation(size, seed, "group", epoch)
    assert sorted(permutation[index] for index in range(size)) == list(range(size))


def test_permutations_differ_by_key_and_look_random():
    size, keys = 1000, range(20)
    orders = np.array([[Permutation(size, key)[index] for index in range(size)] for key in keys])
    # A fixed point is as likely as any other value; neighbours don't stay neighbours.
    assert (orders == np.arange(size)).sum(axis=1).mean() < 4
    assert (np.abs(np.diff(orders)) == 1).mean() < 0.01
    assert abs(np.corrcoef(orders).mean() - 1 / len(keys)) < 0.02
    # Each eighth of a shuffled range gets its share of each eighth of the values.
    table = np.histogram2d(np.tile(np.arange(size), len(keys)), orders.ravel(), bins=8)[0]
    assert np.abs(table / table.mean() - 1).max() < 0.2


def test_a_permutation_of_a_huge_range_needs_no_table():
    permutation = Permutation(10**15, 1)
    assert len({permutation[index] for index in range(1000)}) == 1000


def test_outside_a_permutation():
    for index in (-1, 5):
        with pytest.raises(IndexError, match=f"{index} is outside the permutation of 5"):
            Permutation(5, 0)[index]


weights = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(1e-6, 1e6), min_size=1, max_size=6)


@given(weights, st.integers(0, 10**12))
def test_every_prefix_has_the_right_proportions(weights, n):
    counts = Blend(weights).counts(n)
    total = sum(weights.values())
    assert sum(counts.values()) == n
    for group, weight in weights.items():
        assert abs(counts[group] - n * weight / total) <= len(weights) / 2 + 1e-9 * n


@given(weights, st.integers(0, 10**9))
def test_single_samples_agree_with_the_counts(weights, start):
    blend = Blend(weights)
    for index in range(start, start + 20):
        group, position = blend[index]
        before, after = blend.counts(index), blend.counts(index + 1)
        assert position == before[group]
        assert after == before | {group: before[group] + 1}


def test_groups_of_no_weight_are_left_out():
    assert Blend({"a": 1, "b": 0}).groups == ["a"]
    with pytest.raises(SettingsError, match="all groups weigh 0"):
        Blend({"a": 0})
    with pytest.raises(SettingsError, match=r"weights.b: -1 is not a weight"):
        Blend({"a": 1, "b": -1})


def test_samples_are_a_pure_function_of_seed_and_index(prefixes):
    data = PretrainingData(prefixes, WEIGHTS, SEQUENCE_LENGTH, seed=7)
    forwards = [data.sample(index) for index in range(200)]
    assert forwards[0].shape == (SEQUENCE_LENGTH + 1,)
    assert forwards[0].dtype == np.int64
    again = PretrainingData(dict(reversed(prefixes.items())), WEIGHTS, SEQUENCE_LENGTH, seed=7)
    backwards = [again.sample(index) for index in reversed(range(200))][::-1]
    np.testing.assert_array_equal(forwards, backwards)
    other = PretrainingData(prefixes, WEIGHTS, SEQUENCE_LENGTH, seed=8)
    assert any((other.sample(index) != forwards[index]).any() for index in range(5))


def test_an_epoch_has_every_window_once_and_each_epoch_its_own_order(prefixes):
    data = PretrainingData({"abstracts": prefixes["abstracts"]}, {"abstracts": 1}, SEQUENCE_LENGTH, seed=3)
    tokens = stream(prefixes["abstracts"])
    count = (len(tokens) - 1) // SEQUENCE_LENGTH
    starts = range(0, count * SEQUENCE_LENGTH, SEQUENCE_LENGTH)
    expected = sorted(tuple(tokens[start : start + SEQUENCE_LENGTH + 1]) for start in starts)
    epochs = [[tuple(data.sample(epoch * count + i)) for i in range(count)] for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == expected
    assert epochs[0] != epochs[1] != epochs[2] != sorted(epochs[0])
    assert data.epochs(3 * count) == {"abstracts": 3.0}


def test_positions_begin_anew_with_each_document(prefixes):
    """Each document ends with EOD, so the tokens themselves tell where the next one begins."""
    data = PretrainingData(prefixes, WEIGHTS, SEQUENCE_LENGTH, seed=3)
    held_out = ValidationData(prefixes, SEQUENCE_LENGTH, seed=3)
    for source, count in ((data, 300), (held_out, held_out.num_samples)):
        for index in range(count):
            tokens, expected = source.sample(index), [0]
            for token in tokens[:-1]:
                expected.append(0 if token == EOD else expected[-1] + 1)
            np.testing.assert_array_equal(source.positions(index), expected)


def test_no_loss_on_what_another_document_would_have_to_tell():
    tokens, positions = np.arange(6), np.array([0, 1, 2, 0, 1, 0])
    sample = Sample.of_separate_documents(tokens, positions)
    assert sample.loss_mask.tolist() == [1, 1, 0, 1, 0]
    assert sample.positions.tolist() == [0, 1, 2, 0, 1]


def test_the_blend_of_real_samples(prefixes):
    data = PretrainingData(prefixes, WEIGHTS, SEQUENCE_LENGTH, seed=3)
    group_of = {1: "guidelines", 2: "abstracts", 3: "replay"}
    found = Counter(group_of[int(data.sample(index).max()) // 10_000] for index in range(1000))
    assert found == {"guidelines": 300, "abstracts": 690, "replay": 10}
    assert data.epochs(1000)["abstracts"] == 690 / ((len(stream(prefixes["abstracts"])) - 1) // SEQUENCE_LENGTH)


def test_weights_and_groups_must_match(prefixes):
    with pytest.raises(SettingsError, match=r"given for \['guidelines'\], but the corpus has \['abstracts', "):
        PretrainingData(prefixes, {"guidelines": 1.0}, SEQUENCE_LENGTH, seed=0)


def test_a_group_too_small_for_a_sample(tmp_path, prefixes):
    with IndexedWriter(tmp_path / "tiny", np.uint16) as writer:
        writer.add(range(SEQUENCE_LENGTH))
    prefixes["tiny"] = tmp_path / "tiny"
    with pytest.raises(InputError, match=r"tiny.bin: fewer than 9 tokens.*give group tiny more documents"):
        PretrainingData(prefixes, WEIGHTS | {"tiny": 1.0}, SEQUENCE_LENGTH, seed=0)
    PretrainingData(prefixes, WEIGHTS | {"tiny": 0.0}, SEQUENCE_LENGTH, seed=0).sample(0)
    with pytest.raises(InputError, match=r"tiny.bin: no group has 9 tokens, as one validation sample needs"):
        ValidationData({"tiny": tmp_path / "tiny"}, SEQUENCE_LENGTH, seed=0)


def test_a_token_file_longer_than_its_index(prefixes):
    with Path(f"{prefixes['replay']}.bin").open("ab") as file:
        file.write(b"\0\0\0\0")
    with pytest.raises(InputError, match=r"replay.bin: \d+ tokens, but its index lists \d+"):
        PretrainingData(prefixes, WEIGHTS, SEQUENCE_LENGTH, seed=0)


def test_validation_data_is_every_window_once(prefixes):
    data = ValidationData(prefixes, SEQUENCE_LENGTH, seed=0)
    windows = [tuple(data.sample(index)) for index in range(data.num_samples)]
    expected = []
    for prefix in prefixes.values():
        tokens = stream(prefix)
        starts = range(0, (len(tokens) - 1) // SEQUENCE_LENGTH * SEQUENCE_LENGTH, SEQUENCE_LENGTH)
        expected += [tuple(tokens[start : start + SEQUENCE_LENGTH + 1]) for start in starts]
    assert sorted(windows) == sorted(expected)
    with pytest.raises(IndexError):
        data.sample(data.num_samples)
