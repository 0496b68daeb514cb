"""Judges of whole episodes: agreement by hand, the reward that asks them, and one that learns."""

from types import SimpleNamespace

import pytest
import torch

from burnish.components import load, save
from burnish.errors import InputError
from burnish.rewards import (
    Films,
    JudgeAgreement,
    JudgedReward,
    ScriptedConfig,
    ScriptedJudge,
    Verdicts,
    VideoJudge,
    VideoJudgeConfig,
    as_reward,
)
from burnish.rewards.judge import sentence_of

SHAPE, TASKS = (2, 3, 32, 32), ("drawer-open-v3", "push it")


def brightest(films, sentences):
    """Success where the last picture is bright; nobody can tell of a grey one."""
    mean = films[:, -1].float().mean((1, 2, 3))
    return [None if each == 100 else bool(each > 100) for each in mean.tolist()]


def wrong(films, sentences):
    return ["yes"] * len(films)


def films(*levels):
    """The last picture of each has this level."""
    found = torch.zeros(len(levels), *SHAPE, dtype=torch.uint8)
    found[:, -1] = torch.tensor(levels, dtype=torch.uint8).view(-1, 1, 1, 1)
    return found


def scripted(function="brightest"):
    return ScriptedJudge(SHAPE, TASKS, 4, ScriptedConfig(f"{__name__}:{function}"))


def test_kappa_by_hand():
    """20 yes-yes, 5 missed, 10 false, 15 no-no: p_o 0.7, p_e 0.5·0.6 + 0.5·0.4 = 0.5, κ 0.4."""
    found = JudgeAgreement(20, 5, 10, 15)
    assert found.kappa == pytest.approx(0.4) and found.answered == 50
    assert JudgeAgreement(10, 0, 0, 0).kappa == 0, "all of one kind shows nothing"
    assert JudgeAgreement(0, 0, 0, 0, unanswered=3).kappa == 0


def test_who_does_not_answer_is_in_no_cell():
    verdicts = Verdicts(torch.tensor([True, True, False, False, False]), torch.tensor([True, True, True, True, False]))
    label = torch.tensor([True, False, True, False, True])
    assert JudgeAgreement.of(verdicts, label) == JudgeAgreement(1, 1, 1, 1, unanswered=1)


def test_the_reward_asks_only_where_an_episode_is_over():
    judge = scripted()
    reward = as_reward(SimpleNamespace(), judge)  # type: ignore[arg-type]
    assert isinstance(reward, JudgedReward)
    following = SimpleNamespace(
        film=films(200, 200, 0, 100), age=torch.tensor([3, 4, 4, 5]), instruction=torch.tensor([0, 0, 1, 1])
    )
    outcome = reward(None, torch.zeros(4, 1), following)
    assert outcome.reward.tolist() == [0, 1, 0, 0] and outcome.terminated.tolist() == [False, True, True, True]
    assert outcome.success is not None and outcome.success.tolist() == [False, True, False, False]
    assert outcome.unknown is not None and outcome.unknown.tolist() == [False, False, False, True]
    assert (judge.use.asked, judge.use.unanswered) == (3, 1)
    ended = reward.at_end(None, torch.zeros(4, 1), following, torch.tensor([True, False, False, False]))
    assert ended.reward.tolist() == [1, 1, 0, 0] and ended.terminated.all()


def test_a_function_that_is_none_or_says_nonsense():
    with pytest.raises(InputError, match="expected True, False or None for each of 1 films"):
        scripted("wrong")(films(0), torch.tensor([0]))
    with pytest.raises(InputError, match=r"config\.judge\.function: found 'nowhere:at_all'"):
        ScriptedJudge(SHAPE, TASKS, 4, ScriptedConfig("nowhere:at_all")).check()


def test_names_of_tasks_as_words():
    assert [sentence_of(each) for each in TASKS] == ["drawer open", "push it"]


def test_a_video_judge_learns_what_each_sentence_asks_for(tmp_path):
    """Of the first task it is a bright end, of the second a dark one."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    levels = torch.randint(0, 256, (120,), generator=generator)
    film, told = films(*levels.tolist()), torch.arange(120) % 2
    label = (levels > 127) ^ (told == 1)
    config = VideoJudgeConfig((8, 8), 16, (16,), shift=1, other_share=0.0)
    judge, sampler = VideoJudge(SHAPE, TASKS, 4, config), Films(film, told, label)
    optimizer = torch.optim.AdamW(judge.parameters(), 3e-3)
    for _ in range(60):
        loss, _ = judge.loss(sampler.sample(32, generator))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    judge.eval()
    with torch.no_grad():
        found = JudgeAgreement.of(judge(film, told), label)
    assert found.kappa > 0.8 and judge.use.asked == 120
    save(tmp_path, judge)
    again = load(tmp_path, VideoJudge)
    with torch.no_grad():
        assert torch.equal(again.probability(film, told), judge.probability(film, told))


def test_batches_have_their_share_of_success():
    label = torch.tensor([True] + [False] * 9)
    film, told, success = Films(films(*range(10)), torch.zeros(10, dtype=torch.long), label).sample(
        8, torch.Generator().manual_seed(0)
    )
    assert int(success.sum()) == 4 and len(film) == len(told) == 8
    alone = Films(films(1, 2), torch.zeros(2, dtype=torch.long), torch.zeros(2, dtype=torch.bool))
    assert not alone.sample(8, torch.Generator().manual_seed(0))[2].any()
