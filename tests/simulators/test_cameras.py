"""Camera observations of Meta-World: what they show, that they are reproducible, and what is refused."""

import sys

import numpy as np
import pytest

from burnish.data import STATE, Dataset, DatasetInfo, image_key
from burnish.errors import InputError, RunError
from burnish.recipes.recording import Recorder
from burnish.simulators import off_screen, painting
from burnish.simulators.collect import CollectJob, collect
from burnish.simulators.counter import simulator_use
from burnish.simulators.experts import ExpertActor, RandomActor
from burnish.simulators.light_meshes import with_light_meshes
from burnish.simulators.metaworld import CAMERAS, MetaWorldEnv
from burnish.simulators.parallel import WorkerPool
from burnish.simulators.real_env import RealEnv
from burnish.simulators.rendering import SUPERSAMPLING, MetaWorldPainter, MetaWorldRenderer
from burnish.simulators.settings import SimulatorConfig
from burnish.simulators.vector import SimulatorVectorEnv
from burnish.world_models import HistoryConfig, ObservationHistory

TASK = "drawer-open-v3"
FRONT, HAND = image_key("corner2"), image_key("gripperPOV")
SIZE = 32
BOTH = dict(cameras=("corner2", "gripperPOV"), image_size=SIZE)
FORWARD = np.array([0.3, 0.6, -0.6, 1.0])


@pytest.fixture(scope="module")
def painter():
    painter = MetaWorldPainter(MetaWorldEnv(TASK), SIZE)
    yield painter
    painter.close()


def shown(env, painter, seed, actions):
    """The pictures of an episode, drawn one by one."""
    env.reset(seed)
    pictures = [painter.draw(env, "corner2")]
    for action in actions:
        env.step(action)
        pictures.append(painter.draw(env, "corner2"))
    return np.stack(pictures)


def full_picture(env, size, camera):
    with MetaWorldRenderer(env, SUPERSAMPLING * size, camera) as renderer:
        return averaged(renderer.render())


def averaged(fine):
    """The mean of every square of `SUPERSAMPLING` pixels, as the painter takes it."""
    size = len(fine) // SUPERSAMPLING
    return fine.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, 3).mean((1, 3)).round().astype(np.uint8)


@pytest.mark.parametrize("task", [TASK, "coffee-pull-v3", "hammer-v3"])
def test_light_meshes_move_nothing_and_change_few_pixels(task):
    env = MetaWorldEnv(task)
    painter = MetaWorldPainter(env, 64)
    env.reset(3)
    for _ in range(6):
        env.step(FORWARD)
    with MetaWorldRenderer(env, SUPERSAMPLING * 64, "corner2") as renderer:
        full, scene = averaged(renderer.render()), renderer._renderer.scene
        light, light_scene = painter.draw(env, "corner2"), painter._renderer.scene
        assert scene.ngeom == light_scene.ngeom > 30
        for one, other in zip(scene.geoms[: scene.ngeom], light_scene.geoms[: scene.ngeom], strict=True):
            assert np.array_equal(one.pos, other.pos)
            assert np.array_equal(one.mat, other.mat)
    painter.close()
    assert 0 < np.abs(full.astype(float) - light).mean() / 255 < 0.01
    model = env.simulator.model
    assert model.mesh_facenum.sum() > 60_000, "the physics keeps its meshes"
    assert with_light_meshes(model).mesh_facenum.sum() < 10_000


def test_one_painter_draws_goals_of_every_episode_where_they_are():
    painter, env = MetaWorldPainter(MetaWorldEnv("push-v3"), 128), MetaWorldEnv("push-v3")
    places = []
    for seed in (1, 2, 3):
        env.reset(seed)
        # The goal is a green dot.
        goals = [centre(green(p)) for p in (painter.draw(env, "topview"), full_picture(env, 128, "topview"))]
        assert np.abs(goals[0] - goals[1]).max() < 0.5
        places.append(goals[0])
    painter.close()
    assert np.abs(np.diff(places, axis=0)).max(1).min() > 2, "the goals differ"


def test_one_painter_draws_objects_of_every_episode_where_they_are():
    """Between two starts of the drawer, the light picture changes where the full one does."""
    painter, env = MetaWorldPainter(MetaWorldEnv(TASK), 128), MetaWorldEnv(TASK)
    pictures = []
    for seed in (1, 2):
        env.reset(seed)
        pictures.append([painter.draw(env, "corner2"), full_picture(env, 128, "corner2")])
    painter.close()
    light, full = (np.abs(one.astype(int) - other).max(-1) > 25 for one, other in zip(*pictures, strict=True))
    assert full.sum() > 20
    assert (light & full).sum() > 0.9 * (light | full).sum()


def green(picture):
    red, greens, blue = picture.astype(int).transpose(2, 0, 1)
    return (greens > red + 60) & (greens > blue + 60)


def centre(mask):
    assert mask.any()
    return np.argwhere(mask).mean(0)


@pytest.mark.parametrize("camera", ["corner", "corner2", "corner3", "corner4"])
def test_pictures_are_right_side_up(camera):
    """The hand rises: pixels that change are, on average, higher up in the picture afterwards."""
    env = MetaWorldEnv("reach-v3")
    painter = painting.painter_of(env, 64)
    env.reset(0)
    pictures, heights = [], []
    for up, steps in ((-1.0, 10), (1.0, 12)):
        for _ in range(steps):
            env.step(np.array([0, 0, up, 0]))
        pictures.append(painter.draw(env, camera).astype(int))
        heights.append(env.observation[STATE][2])
    assert heights[1] > heights[0] + 0.05
    # The arm is red and stands out from the grey and brown behind it.
    red = [picture[..., 0] - picture[..., 1] > 60 for picture in pictures]
    left, arrived = red[0] & ~red[1], red[1] & ~red[0]
    assert centre(arrived)[0] < centre(left)[0] - 0.5


def test_every_observation_carries_the_pictures_of_its_state(painter):
    env = SimulatorVectorEnv(TASK, 2, SimulatorConfig(2, 3, **BOTH))
    observation, _ = env.reset(seed=[3, 4])
    assert env.observation_space.contains(observation)
    assert set(observation) == {STATE, FRONT, HAND}
    assert observation[FRONT].shape == (2, SIZE, SIZE, 3)
    assert observation[FRONT].dtype == np.uint8
    seen = [observation]
    action = np.stack([FORWARD, -FORWARD]).astype(np.float32)
    for _ in range(3):
        seen.append(env.step(action)[0])
        assert env.observation_space.contains(seen[-1])
    for k, seed in enumerate((3, 4)):
        expected = shown(MetaWorldEnv(TASK, 2), painter, seed, [action[k]] * 3)
        assert np.array_equal(np.stack([o[FRONT][k] for o in seen]), expected)
    kept = seen[-1][HAND].copy()
    frozen, *_ = env.step(-action)
    assert np.array_equal(frozen[HAND], kept), "finished environments repeat their last picture"
    frozen[HAND][:] = 7
    assert np.array_equal(seen[-1][HAND], kept), "the arrays are the caller's own"
    masked, _ = env.reset(seed=[None, 9], options={"reset_mask": np.array([False, True])})
    assert np.array_equal(masked[HAND][0], kept[0])
    assert not np.array_equal(masked[HAND][1], kept[1])


def test_episodes_and_their_pictures_do_not_depend_on_the_number_of_workers():
    jobs = [
        CollectJob("expert", ExpertActor, range(11), {"task": TASK}),
        CollectJob("random", RandomActor, [40, 41]),
    ]
    settings = SimulatorConfig(2, 4, **BOTH)
    here = collect(TASK, jobs, settings, workers=0)
    there = collect(TASK, jobs, settings, workers=2)
    plain = collect(TASK, jobs, SimulatorConfig(2, 4), workers=0)
    assert len(here) == 13
    for one, other, bare in zip(here, there, plain, strict=True):
        assert set(one.observation) == {STATE, FRONT, HAND}
        assert one.observation[FRONT].shape == (len(one), SIZE, SIZE, 3)
        assert all(np.array_equal(one.observation[key], other.observation[key]) for key in one.observation)
        assert set(bare.observation) == {STATE}
        assert np.array_equal(one.observation[STATE], bare.observation[STATE]), "drawing changes nothing"
        assert np.array_equal(one.action, bare.action)
        assert len({picture.tobytes() for picture in one.observation[FRONT]}) > 1, "something moves"


def test_a_process_has_one_painter_for_a_task_and_size():
    painting.close_painters()
    envs = [MetaWorldEnv(TASK) for _ in range(3)]
    assert len({id(painting.painter_of(env, SIZE)) for env in envs}) == 1
    other = painting.painter_of(envs[0], 16)
    for env in envs:
        env.reset(1)
        assert other.draw(env, "corner2").shape == (16, 16, 3)
    oldest = painting.painter_of(envs[0], SIZE)
    for size in (17, 18, 19):
        painting.painter_of(envs[0], size)
    assert painting.painter_of(envs[0], SIZE) is oldest
    assert painting.painter_of(envs[0], 16) is not other, "only the latest four are kept"
    painting.close_painters()


def test_pictures_reach_the_recorder_and_the_online_environment():
    class Bar:
        progress = __enter__ = lambda self, *_: self
        set = __exit__ = record = lambda self, *_: None
        spread = None

    simulator = SimulatorConfig(action_repeat=2, max_steps=3, cameras=("corner2",), image_size=16)
    recorder = Recorder(TASK, 0, simulator, WorkerPool(0))
    episodes = recorder.record(recorder.random_motion(2), 0, Bar())
    assert [e.observation[FRONT].shape for e in episodes] == [(4, 16, 16, 3)] * 2
    states = [type(e)({STATE: e.observation[STATE]}, e.action, e.success, e.source, e.seed, e.task) for e in episodes]
    data = Dataset.from_episodes(states, DatasetInfo(fps=40))
    observer = ObservationHistory(data.observation_dim, 4, HistoryConfig(frames=1)).fit(data)
    env = RealEnv(TASK, observer, 1, simulator, chunk=1)
    env.reset()
    assert env.env.cameras == ("corner2",)
    assert env.env._observations()[FRONT].shape == (1, 16, 16, 3)


def test_unknown_cameras_and_sizes_are_refused_before_anything_is_played():
    before = simulator_use()
    jobs = [CollectJob("random", RandomActor, [1])]
    listed = f"no camera 'corner9'; the cameras are: {', '.join(CAMERAS)}"
    with pytest.raises(InputError, match=listed):
        collect(TASK, jobs, SimulatorConfig(cameras=("corner2", "corner9")))
    with pytest.raises(InputError, match=listed):
        SimulatorVectorEnv(TASK, 1, SimulatorConfig(cameras=("corner9",)))
    with pytest.raises(InputError, match=listed):
        Recorder(TASK, 0, SimulatorConfig(cameras=("corner9",)), WorkerPool(0))
    with pytest.raises(InputError, match="image_size is 0"):
        collect(TASK, jobs, SimulatorConfig(cameras=("corner2",), image_size=0))
    with pytest.raises(InputError, match="named twice"):
        SimulatorVectorEnv(TASK, 1, SimulatorConfig(cameras=("corner2", "corner2")))
    with pytest.raises(InputError, match="image_size is 0"):
        MetaWorldPainter(MetaWorldEnv(TASK), 0)
    assert simulator_use() == before


def test_what_is_missing_is_named(monkeypatch):
    jobs, settings = [CollectJob("random", RandomActor, [1])], SimulatorConfig(1, 2, ("corner2",))
    painting.close_painters()
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "fast_simplification", None)
        with pytest.raises(InputError, match=r"pip install -e '\.\[metaworld\]'"):
            collect(TASK, jobs, settings, workers=0)
    with monkeypatch.context() as missing:
        missing.delenv("MUJOCO_GL", raising=False)
        missing.setattr(off_screen, "_loads", lambda library: False)
        with pytest.raises(RunError, match=r"libegl1 libgl1-mesa-dri.*libosmesa6"):
            collect(TASK, jobs, settings, workers=0)
    assert collect(TASK, jobs, settings, workers=0)[0].observation[FRONT].any()
