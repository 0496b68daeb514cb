"""How long the rest of a run takes: by hand."""

from burnish.pipeline import stage
from burnish.pipeline.outlook import Outlook, Underway


def train(context, number):
    """A body."""


def judge(context, number):
    """Another one."""


def graph():
    return [*(stage(train, f"world_{n}", number=n) for n in range(3)), stage(judge, "judged", number=0)]


def test_nothing_is_known_before_anything_is_done():
    assert Outlook(graph()).left() == (0.0, ["world_0", "world_1", "world_2", "judged"])
    assert Outlook(graph()).words() == ""


def test_stages_of_one_body_take_as_long():
    outlook = Outlook(graph())
    outlook.done("world_0", 100.0)
    assert outlook.left() == (200.0, ["judged"])
    assert outlook.words() == "about 3:20 to go, besides judged"
    outlook.done("world_1", 200.0)
    assert outlook.left() == (150.0, ["judged"])


def test_a_stage_underway_tells_its_own_rest_and_that_of_its_like():
    outlook = Outlook(graph(), jobs=2)
    # 30 s for a quarter: 120 s in all, so 90 s are left of it, and 120 s of each of the others, two at a time.
    assert outlook.left({"world_0": Underway(30.0, 0.25)}) == ((90 + 120 + 120) / 2, ["judged"])
    # Too early to tell.
    assert outlook.left({"world_0": Underway(1.0, 0.01)})[0] == 0.0


def test_the_longest_stage_is_the_least_that_is_left():
    outlook = Outlook(graph(), jobs=8)
    outlook.done("world_0", 10.0)
    outlook.done("world_1", 10.0)
    assert outlook.left({"judged": Underway(50.0, 0.5)}) == (50.0, [])


def test_nothing_is_left_of_what_is_done():
    outlook = Outlook(graph())
    for each in graph():
        outlook.done(each.name, 5.0)
    assert outlook.left() == (0.0, []) and outlook.words() == ""
