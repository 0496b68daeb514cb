"""A table top seen from above: bring one of several things to a pad, or clear one off a pad, as a sentence says.

`--task benchmarks.tabletop_env:tabletop`, from the repository's root. The hand hovers over the table and holds what
lies under it while it grips. Physics are MuJoCo's: a held thing is tied to the hand, slides, and knocks others aside.
Pictures and their segmentation are drawn analytically, so no OpenGL is needed. The environment's `info` tells the
sentence (`instruction`), what each pixel shows (`segments`, `labels`) and `success`; `burnish.masks.MaskedObservation`
makes masks of that, or of the picture alone.
"""

import importlib
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces

from benchmarks.tabletop_scene import (
    COLOURS,
    HALF,
    HAND,
    HAND_RADIUS,
    SEEN,
    SEEN_PADS,
    SHAPES,
    UNSEEN,
    UNSEEN_PADS,
    Placed,
    draw,
)
from burnish.masks import MaskConfig, MaskedObservation, mask_camera, read_instruction

mujoco: Any = importlib.import_module("mujoco")  # it comes without types
TASK = "benchmarks.tabletop_env:tabletop"
REACH = 0.02
"""Metres that the hand moves in one decision at most."""
BOUNDS = np.array([REACH, REACH, 1], np.float32)
"""Of an action: the hand's move, and the grip."""
GRASP = 0.025
"""Metres between the centres of the hand and of what it can take hold of."""
ON_PAD, OFF_BY = 0.03, 0.06
"""Metres between centres where a thing is on its pad; and by how much it must have got farther off one."""
EDGE = HALF - 0.035
SUBSTEPS, TIMESTEP = 10, 0.005
Which = Literal["seen", "unseen"]
Skill = Literal["bring", "clear"]
SKILLS: dict[Skill, str] = {"bring": "to", "clear": "off"}
CAMERA = "table"
AXES = {"x": "1 0 0", "y": "0 1 0"}


class Tabletop(gymnasium.Env[Any, Any]):
    """One sentence an episode: `bring the red cube to the white pad`, or `clear the red cube off the white pad`.

    Args:
        objects: which things the sentence is about: those of training, or others in other colours and shapes.
        distractors: things of the other set beside the three.
        skill: of all episodes; None for both, two of bringing to one of clearing.
        said: what the sentence gets wrong: another thing, or the other skill. What counts stays the same.
        judge: whether success is of what is meant, or of what is said.
        image_size: height and width of the picture.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(
        self,
        objects: Which = "seen",
        distractors: int = 0,
        skill: Skill | None = None,
        said: Literal["right", "other_thing", "other_skill"] = "right",
        judge: Literal["meant", "said"] = "meant",
        image_size: int = 32,
    ) -> None:
        if objects not in ("seen", "unseen") or skill not in (None, *SKILLS) or not 0 <= distractors <= 3:
            raise ValueError(f"found objects {objects}, skill {skill}, distractors {distractors}")
        self.objects, self.distractors, self.image_size = objects, distractors, image_size
        self.skill: Skill | None = skill
        self.said, self.judge = said, judge
        self.render_mode = "rgb_array"
        picture = spaces.Box(0, 255, (image_size, image_size, 3), np.uint8)
        hand = spaces.Box(-HALF, HALF, (2,), np.float32)
        self.observation_space = spaces.Dict({"hand": hand, CAMERA: picture})
        self.action_space = spaces.Box(-BOUNDS, BOUNDS, dtype=np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Lay the table."""
        super().reset(seed=seed)
        random = self.np_random
        own, others = (SEEN, UNSEEN) if self.objects == "seen" else (UNSEEN, SEEN)
        pads = SEEN_PADS if self.objects == "seen" else UNSEEN_PADS
        extra = [others[k] for k in random.permutation(len(others))[: self.distractors]]
        names = [own[k] for k in random.permutation(len(own))]
        drawn: Skill = "bring" if random.random() < 2 / 3 else "clear"
        self.kind: Skill = drawn if self.skill is None else self.skill
        self.pads = [pads[k] for k in random.permutation(len(pads))]
        self.things = [*names, *extra]
        other: Skill = "clear" if self.kind == "bring" else "bring"
        verb = other if self.said == "other_skill" else self.kind
        thing = 1 if self.said == "other_thing" else 0
        self.instruction = f"{verb} the {self.things[thing]} {SKILLS[verb]} the {self.pads[0]}"
        self.light = float(random.uniform(0.93, 1.05))
        self._lay(random)
        self._judged = (verb, thing) if self.judge == "said" else (self.kind, 0)
        self._began = self._distance(self._judged[1])
        return self._observed()

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Move the hand by (x, y) metres; it grips where the third number is positive."""
        self._grip(bool(action[2] > 0))
        self._data.ctrl[:] = np.clip(action[:2], -REACH, REACH) / (SUBSTEPS * TIMESTEP)
        mujoco.mj_step(self._model, self._data, SUBSTEPS)
        shown, info = self._observed()
        return shown, float(info["success"]), False, False, info

    def render(self) -> np.ndarray:  # type: ignore[override]
        """A larger picture for people."""
        return draw(self.scene, 160, self.light)[0]

    @property
    def hand(self) -> np.ndarray:
        """Where the hand is, (2,)."""
        return self._data.qpos[:2].copy()

    def place(self, number: int) -> np.ndarray:
        """Where a thing is, (2,)."""
        return self._data.qpos[2 + 3 * number : 4 + 3 * number].copy()

    def _distance(self, number: int) -> float:
        """From a thing to the named pad, between centres."""
        return float(np.linalg.norm(self.place(number) - self.pad_places[0]))

    @property
    def success(self) -> bool:
        """Whether the sentence is done."""
        kind, number = self._judged
        away = self._distance(number)
        return away < ON_PAD if kind == "bring" else away > self._began + OFF_BY

    @property
    def goal(self) -> np.ndarray:
        """Where the named thing is to go, (2,)."""
        if self.kind == "bring":
            return self.pad_places[0]
        away = self.place(0) - self.pad_places[0]
        return self.place(0) + 0.1 * away / np.linalg.norm(away)

    @property
    def scene(self) -> list[Placed]:
        """Pads, things, and the hand over them."""
        pads = [Placed(name, place) for name, place in zip(self.pads, self.pad_places, strict=True)]
        turns = [float(self._data.qpos[4 + 3 * k]) for k in range(len(self.things))]
        things = [Placed(name, self.place(k), turns[k]) for k, name in enumerate(self.things)]
        return [*pads, *things, Placed(HAND, self.hand)]

    def _observed(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        scene = self.scene
        picture, segments = draw(scene, self.image_size, self.light)
        labels = [thing.name for thing in scene]
        info = {"instruction": self.instruction, "segments": segments, "labels": labels, "success": self.success}
        return {"hand": self.hand.astype(np.float32), CAMERA: picture}, info

    def _grip(self, closed: bool) -> None:
        """Take hold of the nearest thing under the hand, or let go."""
        if not closed:
            self.held = None
            self._data.eq_active[:] = 0
        elif self.held is None:
            offsets = np.array([self.place(number) - self.hand for number in range(len(self.things))])
            nearest = int(np.argmin(np.linalg.norm(offsets, axis=1)))
            if float(np.linalg.norm(offsets[nearest])) < GRASP:
                self.held = nearest
                # Both are joints along the table's axes: q_thing = offset + q_hand.
                self._model.eq_data[2 * nearest : 2 * nearest + 2, 0] = offsets[nearest]
                self._data.eq_active[2 * nearest : 2 * nearest + 2] = 1

    def _lay(self, random: np.random.Generator) -> None:
        """Draw places until nothing lies in the way, and build the physics of them."""
        count = len(self.things)
        while True:
            places = random.uniform(-0.14, 0.14, (count + 3, 2))
            things, pads, hand = places[:count], places[count : count + 2], places[-1]
            away = pads[0] - things[0]
            far = float(np.linalg.norm(away))
            if not 0.09 < far < 0.17:
                continue
            toward = away / far if self.kind == "bring" else -away / far
            goal = pads[0] if self.kind == "bring" else things[0] + 0.09 * toward
            if np.abs(goal).max() > 0.15 or np.linalg.norm(pads[0] - pads[1]) < 0.1:
                continue
            others = things[1:]
            apart = np.linalg.norm(things[:, None] - things[None], axis=-1) + np.eye(count)
            lane = _from_segment(others, things[0], goal)
            over = np.linalg.norm(others[:, None] - pads[None], axis=-1)
            near = np.linalg.norm(things - hand, axis=-1)
            if apart.min() > 0.085 and lane.min() > 0.07 and over.min() > 0.06 and near.min() > 0.05:
                break
        self.held: int | None = None
        self.pad_places = [pads[0].copy(), pads[1].copy()]
        self._model = mujoco.MjModel.from_xml_string(_xml(self.things))
        self._data = mujoco.MjData(self._model)
        turns = random.uniform(-np.pi, np.pi, (count, 1))
        self._data.qpos[:] = np.concatenate([hand, np.concatenate([things, turns], axis=1).ravel()])
        mujoco.mj_forward(self._model, self._data)


def _from_segment(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    along = end - start
    share = ((points - start) @ along / (along @ along)).clip(0, 1)
    return np.linalg.norm(points - start - share[:, None] * along, axis=-1)


def _xml(things: list[str]) -> str:
    meshes, bodies, ties = [], [], []
    for name in sorted({thing.split()[1] for thing in things}):
        for part, corners in enumerate(SHAPES[name]):
            vertices = " ".join(f"{x:.5f} {y:.5f} {z}" for z in (-0.02, 0.02) for x, y in corners)
            meshes.append(f'<mesh name="{name}_{part}" vertex="{vertices}"/>')
    for number, thing in enumerate(things):
        shape = thing.split()[1]
        geoms = [f'<geom type="mesh" mesh="{shape}_{part}"/>' for part in range(len(SHAPES[shape]))]
        joints = [
            f'<joint name="{name}_{number}" type="slide" axis="{axis}" damping="4" limited="true" '
            f'range="{-EDGE} {EDGE}"/>'
            for name, axis in AXES.items()
        ]
        ties += [
            f'<joint joint1="{name}_{number}" joint2="hand_{name}" active="false" solref="0.01 1"/>' for name in AXES
        ]
        turn = '<joint type="hinge" axis="0 0 1" damping="0.003"/>'
        inertia = '<inertial pos="0 0 0" mass="0.1" diaginertia="5e-5 5e-5 5e-5"/>'
        bodies.append(f'<body name="thing_{number}">{inertia}{"".join(joints)}{turn}{"".join(geoms)}</body>')
    reach = HALF - HAND_RADIUS
    slides = "".join(
        f'<joint name="hand_{name}" type="slide" axis="{axis}" limited="true" range="{-reach} {reach}"/>'
        for name, axis in AXES.items()
    )
    motors = "".join(f'<velocity joint="hand_{name}" kv="100" forcerange="-8 8"/>' for name in AXES)
    return (
        f'<mujoco><option timestep="{TIMESTEP}" gravity="0 0 0" integrator="implicitfast"/>'
        f'<default><geom friction="0.3" solref="0.01 1"/></default><asset>{"".join(meshes)}</asset>'
        f'<worldbody><body name="hand">{slides}<geom type="sphere" size="{HAND_RADIUS}" mass="0.5" contype="0" '
        f'conaffinity="0"/></body>{"".join(bodies)}</worldbody><equality>{"".join(ties)}</equality>'
        f"<actuator>{motors}</actuator></mujoco>"
    )


# ---------------------------------------------------------------------------------------------------------------------
# What a policy sees beside the picture.


def tabletop(
    masks: str = "truth", dropout: float = 0.0, prompt: Literal["truth", "colour"] = "colour", **settings: Any
) -> gymnasium.Env[Any, Any]:
    """The table with masks of the things that the sentence names, or with something else in their place.

    Args:
        masks: a provider's name; `words`: the sentence as a picture; `none`: an empty picture.
        dropout: the probability with which, in each picture, a role's mask is missing.
        prompt: who shows a tracker its first masks.
        settings: of `Tabletop`.
    """
    table = Tabletop(**settings)
    if masks in ("words", "none"):
        return Sentences(table, blank=masks == "none")
    config = MaskConfig(provider=masks, prompt=prompt, skills=tuple(SKILLS), also=HAND)  # type: ignore[arg-type]
    masked = MaskedObservation(table, config, CAMERA)
    return DroppedMasks(masked, dropout) if dropout > 0 else masked


VOCABULARY = (*SKILLS, *COLOURS, *SHAPES)


class Sentences(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The sentence's words in the place of masks: a picture in which each word of a role lights up a field of its own.

    Channels are the thing's words, the pad's, and the skill. A policy without masks needs something that tells it what
    to do, and so it reads the same number of pixels through the same network. `blank`: not even that.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], blank: bool) -> None:
        super().__init__(env)
        assert isinstance(env.observation_space, spaces.Dict)
        self.blank, size = blank, env.observation_space[CAMERA].shape
        self.observation_space = spaces.Dict(
            {**env.observation_space, mask_camera(CAMERA): spaces.Box(0, 255, size, np.uint8)}
        )

    def reset(self, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode."""
        shown, info = self.env.reset(**arguments)
        self._told = words_picture(info["instruction"], len(shown[CAMERA])) * (not self.blank)
        return {**shown, mask_camera(CAMERA): self._told}, info

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take a step."""
        shown, reward, terminated, truncated, info = self.env.step(action)
        return {**shown, mask_camera(CAMERA): self._told}, float(reward), terminated, truncated, info


def words_picture(sentence: str, size: int) -> np.ndarray:
    """The words of a sentence as a picture, uint8 (size, size, 3)."""
    asked, grid = read_instruction(sentence, tuple(SKILLS)), np.zeros((5, 5, 3), np.uint8)
    for channel, words in enumerate((asked.things[0], asked.things[1], asked.skill)):
        for word in (words or "").split():
            grid[(*divmod(VOCABULARY.index(word), 5), channel)] = 255
    field = np.arange(size) * 5 // size
    return grid[field[:, None], field]


class DroppedMasks(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Takes each role's mask away from each picture with a probability, which the episode's seed draws."""

    def __init__(self, env: gymnasium.Env[Any, Any], dropout: float) -> None:
        super().__init__(env)
        self.dropout = dropout

    def reset(self, *, seed: int | None = None, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode."""
        self._random = np.random.default_rng([0 if seed is None else seed, 0xD0])
        shown, info = self.env.reset(seed=seed, **arguments)
        return self._dropped(shown), info

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Take a step."""
        shown, reward, terminated, truncated, info = self.env.step(action)
        return self._dropped(shown), float(reward), terminated, truncated, info

    def _dropped(self, shown: dict[str, Any]) -> dict[str, Any]:
        kept = self._random.random(3) >= self.dropout
        return {**shown, mask_camera(CAMERA): shown[mask_camera(CAMERA)] * kept.astype(np.uint8)}
