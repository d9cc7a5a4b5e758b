"""Statistics of a dataset, against numpy on the same numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from smolvla_ros.bags.dataset.statistics import QUANTILES, ImageStatistics, combine, sampled_frames, vector_statistics

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 3))
ROWS = npst.arrays(np.float32, SHAPES, elements=st.floats(-1e3, 1e3, width=32))


@given(ROWS)
def test_a_vector_has_the_population_deviation_and_one_figure_per_column(rows):
    figures = vector_statistics(rows)
    np.testing.assert_allclose(figures["std"], np.std(rows.astype(np.float64), axis=0, ddof=0), atol=1e-9)
    np.testing.assert_allclose(figures["mean"], rows.astype(np.float64).mean(axis=0), atol=1e-9)
    assert {name: value.shape for name, value in figures.items()} == {
        name: (1,) if name == "count" else rows.shape[1:]
        for name in ("min", "max", "mean", "std", "count", *QUANTILES)
    }
    assert figures["count"] == [len(rows)]


@given(ROWS, st.sampled_from(sorted(QUANTILES)))
def test_a_quantile_is_the_smallest_value_that_this_share_of_the_data_does_not_exceed(rows, name):
    quantile = vector_statistics(rows)[name]
    for column, value in zip(rows.T, quantile, strict=True):
        assert value in column
        assert np.mean(column <= value) >= QUANTILES[name]
        assert np.mean(column < value) < QUANTILES[name]


def test_a_scalar_column_has_figures_of_length_one():
    figures = vector_statistics(np.arange(5))
    assert figures["max"].tolist() == [4]
    assert figures["std"] == pytest.approx([np.sqrt(2.0)])


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_mean_and_deviation_of_all_episodes_are_those_of_all_frames(lengths, seed):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(length, 2)) for length in lengths]
    together = vector_statistics(np.concatenate(parts))
    combined = combine([{"action": vector_statistics(part)} for part in parts])["action"]
    for name in ("min", "max", "mean", "std", "count"):
        np.testing.assert_allclose(combined[name], together[name], atol=1e-12)


def test_quantiles_of_all_episodes_are_the_outermost_ones():
    low, high = vector_statistics(np.arange(100.0)), vector_statistics(np.arange(100.0) + 50.0)
    combined = combine([{"action": low}, {"action": high}])["action"]
    assert combined["q10"] == low["q10"] and combined["q50"] == low["q50"] and combined["q90"] == high["q90"]


@settings(max_examples=20)
@given(st.integers(1, 12), st.integers(2, 20), st.integers(2, 20), st.integers(0, 2**32 - 1))
def test_image_statistics_are_those_of_all_pixels_by_colour_between_0_and_1(frames, height, width, seed):
    images = np.random.default_rng(seed).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    statistics = ImageStatistics(frames)
    for frame, image in enumerate(images):
        statistics.add(frame, image)
    figures = statistics.figures()
    pixels = images.reshape(-1, 3) / 255.0
    expected = {"min": pixels.min(axis=0), "max": pixels.max(axis=0), "mean": pixels.mean(axis=0),
                "std": pixels.std(axis=0)}  # fmt: skip
    expected |= {name: np.quantile(pixels, q, axis=0, method="inverted_cdf") for name, q in QUANTILES.items()}
    for name, value in expected.items():
        np.testing.assert_allclose(figures[name], value.reshape(3, 1, 1), atol=1e-12)
    assert figures["count"] == [frames]


def test_large_images_are_looked_at_in_strides_of_their_longer_side_over_150():
    image = np.zeros((480, 640, 3), np.uint8)
    image[::4, ::4] = 255
    statistics = ImageStatistics(1)
    statistics.add(0, image)
    assert statistics.figures()["mean"].ravel().tolist() == [1.0, 1.0, 1.0]


# Numbers of LeRobot's own heuristic.
@pytest.mark.parametrize(("frames", "sample"), [(1, 1), (99, 99), (400, 100), (1000, 177), (2000, 299), (20000, 1681)])
def test_so_many_frames_of_an_episode_are_sampled_first_and_last_among_them(frames, sample):
    chosen = sampled_frames(frames)
    assert len(chosen) == sample
    assert chosen[0] == 0 and chosen[-1] == frames - 1
    assert len(set(chosen)) == len(chosen)
