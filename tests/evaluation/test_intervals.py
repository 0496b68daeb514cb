import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.errors import InputError
from burnish.evaluation.intervals import mcnemar_exact, paired_difference, student_quantile, wilson_interval


def outcomes(both, improved, worsened, neither):
    before = [True] * both + [False] * improved + [True] * worsened + [False] * neither
    after = [True] * both + [True] * improved + [False] * worsened + [False] * neither
    return before, after


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    [
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # The numbers of the design's contract.
        (48, 100, 0.3846, 0.5768),
        (95, 100, 0.8882, 0.9785),
    ],
)
def test_wilson_interval_matches_published_numbers(successes, episodes, low, high):
    assert wilson_interval(successes, episodes) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_by_hand_at_z_equal_one():
    # z = 1 at 68.27 %: n = 1, x = 0 gives centre 1/4 and half-width 1/4.
    confidence = math.erf(1 / math.sqrt(2))
    assert wilson_interval(0, 1, confidence) == pytest.approx((0.0, 0.5))


def test_wilson_interval_of_a_tie_by_hand():
    """z = 1, n = 1, x = 1/2: centre 1/2, half-width sqrt(1/4 + 1/4) / 2."""
    confidence = math.erf(1 / math.sqrt(2))
    half = math.sqrt(0.5) / 2
    assert wilson_interval(0.5, 1, confidence) == pytest.approx((0.5 - half, 0.5 + half))


@given(st.integers(1, 400), st.data(), st.floats(0.5, 0.999))
def test_wilson_interval_holds_the_rate_and_mirrors(episodes, data, confidence):
    successes = data.draw(st.integers(0, episodes))
    low, high = wilson_interval(successes, episodes, confidence)
    assert 0 <= low <= successes / episodes <= high <= 1
    mirrored = wilson_interval(episodes - successes, episodes, confidence)
    assert mirrored == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(
    ("successes", "episodes", "confidence"), [(0, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1)]
)
def test_wilson_interval_refuses_impossible_counts(successes, episodes, confidence):
    with pytest.raises(InputError):
        wilson_interval(successes, episodes, confidence)


@pytest.mark.parametrize(
    ("both", "improved", "worsened", "neither", "low", "high"),
    [
        # Newcombe 1998 (paired data), method 10, the examples of his comparison table.
        (36, 12, 2, 0, 0.0569, 0.3404),
        (18, 12, 2, 18, 0.0562, 0.3290),
        (53, 0, 0, 1, -0.0729, 0.0729),
        (0, 30, 0, 0, 0.8395, 1.0),
        # Bentur et al. 2009 (airway hyper-responsiveness) in Fagerland et al. 2014: −0.507 to −0.026.
        (1, 1, 7, 12, -0.5069, -0.0256),
    ],
)
def test_paired_difference_matches_published_intervals(both, improved, worsened, neither, low, high):
    result = paired_difference(*outcomes(both, improved, worsened, neither))
    assert (result.low, result.high) == pytest.approx((low, high), abs=1e-4)
    assert (result.both, result.improved, result.worsened, result.neither) == (both, improved, worsened, neither)
    assert result.difference == pytest.approx((improved - worsened) / result.episodes)


def test_mcnemar_exact_by_hand():
    # 8 discordant pairs, 1 for the worse: 2 (1 + 8) / 256; published as 0.0703 for Bentur et al.
    assert mcnemar_exact(7, 1) == mcnemar_exact(1, 7) == pytest.approx(18 / 256)
    assert mcnemar_exact(16, 6) == pytest.approx(0.0525, abs=5e-5)  # Cavo et al. 2012
    assert mcnemar_exact(0, 0) == mcnemar_exact(4, 4) == 1.0
    assert mcnemar_exact(5, 0) == 2 / 32
    assert 0 <= mcnemar_exact(4000, 10) < 1e-300


def test_pairing_narrows_the_interval():
    """The same margins (50 and 60 of 100): agreeing episodes leave less doubt than independent ones."""
    agreeing = paired_difference(*outcomes(50, 10, 0, 40))
    unrelated = paired_difference(*outcomes(30, 30, 20, 20))
    assert agreeing.low > 0 > unrelated.low
    assert agreeing.high - agreeing.low < unrelated.high - unrelated.low


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=120))
def test_paired_difference_is_bounded_and_antisymmetric(pairs):
    before, after = [p[0] for p in pairs], [p[1] for p in pairs]
    forward, backward = paired_difference(before, after), paired_difference(after, before)
    assert -1 <= forward.low <= forward.difference <= forward.high <= 1
    assert (forward.low, forward.high) == pytest.approx((-backward.high, -backward.low))
    assert forward.p_value == backward.p_value and 0 < forward.p_value <= 1


@pytest.mark.parametrize(("before", "after"), [([], []), ([True], [True, False])])
def test_paired_difference_refuses_unpaired_episodes(before, after):
    with pytest.raises(InputError):
        paired_difference(before, after)


@pytest.mark.parametrize(
    ("probability", "freedom", "quantile"),
    [
        # Student's table, as every book prints it.
        (0.95, 1, 6.3138),
        (0.95, 2, 2.9200),
        (0.95, 3, 2.3534),
        (0.975, 5, 2.5706),
        (0.99, 10, 2.7638),
        (0.9, 30, 1.3104),
        (0.975, 120, 1.9799),
        (0.995, 1, 63.6567),
        # The normal distribution's, in the limit.
        (0.95, 1e5, 1.6449),
    ],
)
def test_student_quantile_matches_the_table(probability, freedom, quantile):
    assert student_quantile(probability, freedom) == pytest.approx(quantile, abs=1e-4)


def test_student_quantile_by_hand():
    """ν = 1 is Cauchy's: tan π(p - 1/2); ν = 2 has (2p - 1) sqrt(2 / (1 - (2p - 1)²))."""
    for probability in (0.6, 0.75, 0.9, 0.999):
        assert student_quantile(probability, 1) == pytest.approx(math.tan(math.pi * (probability - 0.5)), rel=1e-8)
        twice = 2 * probability - 1
        assert student_quantile(probability, 2) == pytest.approx(twice * math.sqrt(2 / (1 - twice**2)), rel=1e-8)


def test_student_quantile_between_whole_degrees_of_freedom():
    quantiles = [student_quantile(0.95, freedom) for freedom in (1, 1.5, 2, 2.7, 3, 50)]
    assert quantiles == sorted(quantiles, reverse=True) and len(set(quantiles)) == 6


@pytest.mark.parametrize(("probability", "freedom"), [(0.5, 3), (0.6, 1), (0.95, 4), (0.999, 2.5)])
def test_student_quantile_is_symmetric(probability, freedom):
    above, below = student_quantile(probability, freedom), student_quantile(1 - probability, freedom)
    assert above == pytest.approx(-below, abs=1e-9) and (above > 0.1 or probability == 0.5)


@pytest.mark.parametrize(
    ("probability", "freedom"), [(0, 3), (1, 3), (-0.1, 3), (math.nan, 3), (0.95, 0.9), (0.95, 0), (0.95, math.nan)]
)
def test_student_quantile_refuses_what_is_no_distribution(probability, freedom):
    with pytest.raises(InputError, match="expected 0 < probability < 1 and freedom >= 1"):
        student_quantile(probability, freedom)
