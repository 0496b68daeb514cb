"""Commands that are drawn anew and pushes: when, of what, how far, and that they go on after an interruption."""

from dataclasses import replace

import pytest
import torch

from burnish.data import STATE
from burnish.errors import InputError
from burnish.imagination import DisturbanceConfig, ImaginationConfig, ImaginedEnv, Models, StartConfig, StartStates
from burnish.rewards import Outcome
from tests.imagination.counter_world import make_models, start_states
from tests.world_models.test_gru_ensemble import make_told, told

ENVS = 16
OFTEN = DisturbanceConfig(command_steps=(3, 5))
PUSHED = DisturbanceConfig(command_steps=(100, 120), pushed=("v_",), push=0.25, push_steps=(2, 2))


def nothing(state, action, following):
    return Outcome(torch.zeros(len(action)), torch.zeros(len(action), dtype=torch.bool))


def make(disturbances, data=None, horizon=1000, seed=0, **more):
    data = data or told()
    world = make_told(data)
    starts = StartStates(data, world.recorded(data), torch.arange(data.num_frames), StartConfig())
    config = ImaginationConfig(ENVS, horizon, disturbances=disturbances, **more)
    return ImaginedEnv(Models(world, nothing), starts, 2, config, seed)


def states_of(env, steps, actions=None):
    """The decoded states after each step, (T, N, 3)."""
    found = []
    for _ in range(steps):
        env.step(torch.zeros(ENVS, 2) if actions is None else actions)
        found.append(env.models.world_model.decode(env._state)[STATE])
    return torch.stack(found)


def test_commands_are_those_of_recorded_frames_and_last_as_long_as_they_should():
    env = make(OFTEN)
    env.reset(seed=0)
    commands = states_of(env, 60)[..., 2].round(decimals=3)
    assert set(commands.unique().tolist()) == {1.0, 2.0, 3.0, 4.0}
    changed = commands[1:] != commands[:-1]
    for each in changed.unbind(1):
        between = torch.nonzero(each).flatten().diff()
        # Drawn again, a command may be the same one: two spans in a row.
        assert between.min() >= 3 and len(between) > 5


def test_a_new_episode_has_a_command_of_its_own_and_given_states_keep_theirs():
    env = make(DisturbanceConfig(), horizon=1)
    data = told()
    world = env.models.world_model
    env.reset(options={"states": world.recorded(data).rows(torch.zeros(ENVS, dtype=torch.long))})
    first = data.observations[STATE][0, 2]
    assert torch.allclose(world.decode(env._state)[STATE][:, 2], first)
    again = states_of(env, 20)[..., 2].round(decimals=3)
    assert len(again.unique()) == 4


def test_pushes_move_what_is_named_by_no_more_than_they_may():
    pushed, calm = make(PUSHED), make(DisturbanceConfig())
    world = pushed.models.world_model
    start = world.recorded(told()).rows(torch.arange(ENVS))
    for env in (pushed, calm):
        env.reset(options={"states": start})
    # Drawn at the start: two actions from then on.
    for at in range(2):
        difference = (states_of(pushed, 1) - states_of(calm, 1))[0]
        assert bool(difference.any()) == (at == 1)
    assert difference[:, :2].abs().max() <= 0.25 + 1e-5 and not difference[:, 2].any()
    assert (difference[:, :2].abs() > 1e-3).float().mean() > 0.9


def test_nothing_is_drawn_where_nothing_befalls():
    world = make_models()
    envs = [
        ImaginedEnv(world, start_states(), 1, ImaginationConfig(4, disturbances=each)) for each in (OFTEN, PUSHED_NOT)
    ]
    for env in envs:
        env.reset(seed=3)
        env.step(torch.zeros(4, 1))
    assert torch.equal(envs[0].generator.get_state(), envs[1].generator.get_state())
    assert "disturbances" not in envs[0].state_dict()


PUSHED_NOT = replace(PUSHED, pushed=())


def test_an_interrupted_environment_goes_on_to_the_same_bits():
    both = replace(OFTEN, pushed=("v_",), push_steps=(2, 4))
    whole, parts = make(both, horizon=7), make(both, horizon=7, seed=9)
    whole.reset(seed=0)
    states_of(whole, 10)
    parts.reset(seed=5)
    parts.load_state_dict(whole.state_dict())
    assert torch.equal(states_of(whole, 20), states_of(parts, 20))


@pytest.mark.parametrize(
    "make_it, told_so",
    [
        (lambda: DisturbanceConfig(push_steps=(9, 3)), "push_steps: found 9 to 3, expected the lesser first"),
        (lambda: make(replace(PUSHED, pushed=("speed",))), "pushed: no state dimension begins with 'speed'; found v_x"),
        (
            lambda: ImaginedEnv(make_models(), start_states(), 1, ImaginationConfig(4, disturbances=PUSHED)),
            "pushed: found v_, but a state of CounterWorld is no observation that could be pushed",
        ),
    ],
)
def test_bad_disturbances(make_it, told_so):
    with pytest.raises(InputError, match=told_so):
        make_it()
