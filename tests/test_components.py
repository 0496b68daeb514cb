"""What is learned is saved and loaded: every registered family, nesting, arguments, and damaged files."""

import copy
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import nn

from burnish import policies, rewards, world_models
from burnish.components import Component, build, families, frozen, load, notes, save
from burnish.components.component import FAMILIES, parts_of, tensors_of
from burnish.data import STATE, Camera, image_key
from burnish.errors import InputError
from burnish.imagination import LocalModel
from burnish.networks import (
    FrameDiTConfig,
    InstructedConfig,
    InteractiveDiTConfig,
    TokenDiTConfig,
    TrajectoryNetworkConfig,
    UNetConfig,
)
from burnish.networks.conditional_unet import ConditionalUNetConfig
from burnish.policies import Agent, load_agent
from burnish.storage import load_tensors, read_json, save_tensors, write_json

SIZE, DIM, ACTIONS, POOL = 32, 4, 2, 2
PIXELS = world_models.PixelHistoryConfig(("front",), image_size=SIZE, frames=2)
STATES = {STATE: torch.linspace(-1, 1, 3 * DIM).view(3, DIM)}
PICTURES = {image_key("front"): torch.arange(3 * SIZE * SIZE * 3).view(3, SIZE, SIZE, 3).remainder(251).byte()}


# --- the contract of every family -------------------------------------------------------------------------------------


def space(**settings):
    config = world_models.HistoryConfig(frames=3, **settings)
    return world_models.TransitionSpace(DIM, ACTIONS, (0, 1), config, ((0, 1),))


def history(**settings):
    return world_models.ObservationHistory(DIM, ACTIONS, world_models.HistoryConfig(**settings))


def rssm(dim=DIM):
    config = world_models.RSSMConfig(deterministic=8, groups=2, classes=3, hidden=8, ignored=("goal",))
    names = ("hand_x", *(f"part_{i}" for i in range(dim - 2)), "goal_x")
    return world_models.RSSM(dim, ACTIONS, config, ((0, 1),), names)


def autoencoder():
    config = world_models.AutoencoderConfig(cameras=("front",), image_size=SIZE, latent_dim=3, width=4, hidden=8)
    return world_models.Autoencoder(ACTIONS, config)


def scene_autoencoder():
    scene = world_models.SceneConfig(("front",), SIZE, points=9)
    made = world_models.SceneAutoencoder(
        ACTIONS,
        world_models.SceneAutoencoderConfig(
            scene=scene, gaussians=3, tokens=2, token_dim=2, width=8, heads=2, drawn_size=SIZE
        ),
    )
    made.scenes.place((Camera((1.0, 1.0), (0.5, 0.5), (1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 0, 0)),))
    made.scenes.low.fill_(-100)
    made.scenes.high.fill_(100)
    return made


def token_diffusion():
    config = world_models.HistoryConfig(frames=3)
    return world_models.TokenDiffusion(
        world_models.TransitionSpace(DIM, ACTIONS, tuple(range(DIM)), config),
        world_models.TokenDiffusionConfig(transformer=TokenDiTConfig(tokens=2, width=8, depth=1, heads=2)),
    )


def gaussian(features=DIM):
    return policies.GaussianPolicy(features, ACTIONS, policies.GaussianPolicyConfig(hidden=(8,), max_std=0.8))


def pixel_diffusion(**settings):
    config = world_models.PixelDiffusionConfig(
        preset="custom", unet=UNetConfig((8, 8), (1, 1), (False, False), 16), **settings
    )
    return world_models.PixelDiffusion(world_models.PixelHistory(ACTIONS, PIXELS), config)


HEAD = rewards.RewardHeadConfig(members=2, hidden=(8,))


def reward_head():
    return rewards.RewardHead(2 * 5 + ACTIONS, HEAD)


def local_dynamics(features):
    return world_models.LocalDynamics(features, ACTIONS, world_models.LocalDynamicsConfig(hidden=(8,), memory=3))


def on_pixels():
    config = world_models.HistoryConfig(frames=PIXELS.frames, inertia=False)
    coarse = world_models.TransitionSpace(3 * POOL**2, ACTIONS, tuple(range(3 * POOL**2)), config, ())
    return world_models.DisagreementEnsemble(coarse, world_models.EnsembleConfig(members=2, hidden=(8,)))


def self_supervised():
    return world_models.SelfSupervised(
        world_models.SelfSupervisedConfig(("front",), image_size=SIZE, latent_dim=2, width=4, hidden=8, expanded=8)
    )


def latent_diffusion():
    config = world_models.LatentDiffusionConfig(
        frames=2, sampling_steps=2, network=InteractiveDiTConfig(width=8, depth=2, heads=2)
    )
    return world_models.LatentDiffusion(history(frames=2, feature_frames=2, inertia=False), ((1, 1), (1, 3)), config)


NOWHERE = rewards.EndpointConfig(url="http://127.0.0.1:9/v1", tries=1, timeout=2.0)
"""Nobody is there: a judge that asks has no verdict."""


def bright(films, sentences):
    return (films.float().mean((1, 2, 3, 4)) > 100).tolist()


def film_history():
    config = world_models.FilmConfig(("front",), image_size=SIZE, frames=2, film=2)
    return world_models.FilmHistory(ACTIONS, config, ("close it", "open it"), "open it")


def patch_latents():
    return world_models.PatchLatents(3, SIZE, world_models.PatchLatentsConfig(latent_dim=12))


EXAMPLES = {
    "Agent": lambda: Agent(
        world_models.ObservationHistory(DIM, ACTIONS, world_models.HistoryConfig()), gaussian(), "t"
    ),
    "Autoencoder": autoencoder,
    "ContrastiveClassifier": lambda: rewards.ContrastiveClassifier(5, rewards.ContrastiveConfig(8, 4)),
    "DenoisedFeatures": lambda: world_models.DenoisedFeatures(token_diffusion(), token_diffusion()),
    "DataSupport": lambda: world_models.DataSupport(space(), world_models.SupportConfig(references=7)),
    "DiffusionPolicy": lambda: policies.DiffusionPolicy(
        5, ACTIONS, policies.DiffusionPolicyConfig(denoising_steps=4, fine_tuned_steps=2, width=8, process="flow")
    ),
    "DiffusionWorldModel": lambda: world_models.DiffusionWorldModel(
        space(action_encoding="vq", codes=8), world_models.DiffusionConfig(width=8, depth=1)
    ),
    "DisagreementEnsemble": lambda: world_models.DisagreementEnsemble(
        space(), world_models.EnsembleConfig(members=2, hidden=(8,))
    ),
    "Encoded": lambda: world_models.Encoded(autoencoder(), rssm(3)),
    "FrameClassifier": lambda: rewards.FrameClassifier(
        3 * SIZE**2, rewards.FrameClassifierConfig(image_size=SIZE, members=2)
    ),
    "GaussianPolicy": gaussian,
    "GRUEnsemble": lambda: world_models.GRUEnsemble(
        DIM,
        ACTIONS,
        world_models.GRUEnsembleConfig(members=2, hidden=8, layers=2, head=(8,), privileged="observation.contacts"),
        3,
    ),
    "InverseDynamics": lambda: world_models.InverseDynamics(DIM, ACTIONS, world_models.InverseDynamicsConfig((8,))),
    "LatentActions": lambda: world_models.LatentActions(
        world_models.LatentActionConfig(("front",), image_size=SIZE, latent_dim=3, width=4, hidden=8, condition=8)
    ),
    "LatentEnsemble": lambda: world_models.LatentEnsemble(rssm(), world_models.LatentEnsembleConfig(2, (8,))),
    "MaskMoments": lambda: world_models.MaskMoments(world_models.MaskMomentsConfig("front", SIZE)),
    "LocalDynamics": lambda: local_dynamics(DIM),
    "LocalModel": lambda: LocalModel(local_dynamics(5), rewards.RewardHead(2 * 5 + ACTIONS, HEAD)),
    "ObservationHistory": lambda: history(frames=3, feature_frames=2),
    "OnFrames": lambda: world_models.OnFrames(on_pixels(), POOL),
    "PicturePolicy": lambda: policies.PicturePolicy(
        3 * SIZE**2,
        ACTIONS,
        policies.PicturePolicyConfig(image_size=SIZE, widths=(8, 8), embedding=8, hidden=(8,), min_std=0.05),
    ),
    "PixelDiffusion": pixel_diffusion,
    "PixelHistory": lambda: world_models.PixelHistory(ACTIONS, PIXELS),
    "DiffusionForcing": lambda: world_models.DiffusionForcing(
        film_history(),
        patch_latents(),
        world_models.DiffusionForcingConfig(FrameDiTConfig(width=8, depth=1, heads=2), steps=2),
    ),
    "FeatureStreams": lambda: world_models.FeatureStreams({"geometry": autoencoder(), "semantics": self_supervised()}),
    "FilmHistory": lambda: film_history(),
    "ImaginingPolicy": lambda: policies.ImaginingPolicy(
        latent_diffusion(),
        policies.ImaginingPolicyConfig(
            policies.DiffusionPolicyConfig(chunk=2, denoising_steps=4, fine_tuned_steps=2, width=8), rounds=1
        ),
    ),
    "LatentDiffusion": latent_diffusion,
    "PatchLatents": lambda: patch_latents(),
    "ScriptedJudge": lambda: rewards.ScriptedJudge(
        (2, 3, SIZE, SIZE), ("open it",), 4, rewards.ScriptedConfig(f"{__name__}:bright")
    ),
    "TokenPolicy": lambda: policies.TokenPolicy(
        3 * SIZE**2 + 2,
        ACTIONS,
        policies.TokenPolicyConfig(bins=5, image_size=SIZE, network=InstructedConfig(width=8, depth=1, heads=2)),
    ),
    "TruthJudge": lambda: rewards.TruthJudge((2, 3, SIZE, SIZE), ("open it",), 4, rewards.TruthConfig(NOWHERE)),
    "VideoJudge": lambda: rewards.VideoJudge(
        (2, 3, SIZE, SIZE), ("open it",), 4, rewards.VideoJudgeConfig(widths=(8, 8), embedding=8, hidden=(8,))
    ),
    "VotesJudge": lambda: rewards.VotesJudge((2, 3, SIZE, SIZE), ("open it",), 4, rewards.VotesConfig(NOWHERE)),
    "RSSM": rssm,
    "ReturnDiffusion": lambda: world_models.ReturnDiffusion(
        DIM,
        ACTIONS,
        world_models.ReturnDiffusionConfig(
            horizon=4, network=TrajectoryNetworkConfig(kind="unet", unet=ConditionalUNetConfig((8, 8), 3))
        ),
    ),
    "RewardAndSuccess": lambda: rewards.RewardAndSuccess(reward_head(), EXAMPLES["SuccessClassifier"]()),
    "RewardHead": reward_head,
    "SceneAutoencoder": scene_autoencoder,
    "SelfSupervised": self_supervised,
    "SeveralWorlds": lambda: world_models.SeveralWorlds(
        tuple(world_models.DiffusionWorldModel(space(), world_models.DiffusionConfig(8, 1)) for _ in range(2))
    ),
    "TokenDiffusion": token_diffusion,
    "TrajectoryDenoiser": lambda: world_models.TrajectoryDenoiser(
        4, 2, world_models.TrajectoryConfig(horizon=3, width=8, depth=2)
    ),
    "WorldReward": rewards.WorldReward,
    "WrittenReward": lambda: rewards.WrittenReward(rewards.RewardConfig("terms", terms=("-2 effort",)), ("x", "y")),
    "SuccessClassifier": lambda: rewards.SuccessClassifier(5, rewards.ClassifierConfig(members=2, hidden=(8,))),
    "GuidedDiffusion": lambda: world_models.GuidedDiffusion(
        space(), world_models.GuidedDiffusionConfig(width=8, depth=1, noises=2)
    ),
    "SquashedPolicy": lambda: policies.SquashedPolicy(5, ACTIONS, policies.SquashedPolicyConfig(hidden=(8,), chunk=2)),
    "TanhPolicy": lambda: policies.TanhPolicy(5, ACTIONS, policies.TanhPolicyConfig(hidden=(8,), chunk=2)),
    "TransformersFeatures": lambda: world_models.TransformersFeatures(
        world_models.TransformersFeaturesConfig(model="nowhere", resolution=28, width=4)
    ),
    "TransitionSpace": space,
    "TwoStreamPolicy": lambda: policies.TwoStreamPolicy(
        6 * SIZE**2,
        ACTIONS,
        policies.TwoStreamPolicyConfig(image_size=SIZE, widths=(8, 8), embedding=8, hidden=(8,), min_std=0.05),
    ),
}


def learned(name):
    """An example whose numbers are none that its constructor gives."""
    torch.manual_seed(3)
    component = EXAMPLES[name]()
    for tensor in tensors_of(component).values():
        if tensor.is_floating_point():
            tensor.add_(0.1 * torch.rand_like(tensor))
    return component.eval()


def observation(component):
    of_pictures = (world_models.PixelDiffusion, world_models.PixelHistory, world_models.Encoded)
    of_films = (world_models.DiffusionForcing, world_models.FilmHistory)
    pictures = isinstance(component, (*of_pictures, *of_films))
    return PICTURES if pictures or isinstance(component, world_models.Autoencoder) else STATES


@torch.no_grad()
def behaviour(component):
    """Something that depends on everything it knows."""
    generator = torch.Generator().manual_seed(0)
    if isinstance(component, policies.Policy):
        return component.act(torch.linspace(-1, 1, component.feature_dim).repeat(2, 1), False, generator).action_chunk
    if isinstance(component, rewards.Judge):
        film = PICTURES[image_key("front")].movedim(-1, 1).unsqueeze(1).expand(-1, 2, -1, -1, -1)
        told = torch.zeros(len(film), dtype=torch.long)
        found = component(film, told)
        scores = [component.probability(film, told)] if isinstance(component, rewards.VideoJudge) else []
        return torch.cat([found.success.float(), found.answered.float(), *scores])
    if isinstance(component, world_models.PatchLatents):
        return component.encode(PICTURES[image_key("front")].movedim(-1, 1))
    if isinstance(component, rewards.RewardAndSuccess):
        return torch.cat([behaviour(component.dense), behaviour(component.classifier)])
    if isinstance(component, rewards.WrittenReward):
        return component.function({}, torch.ones(3, ACTIONS), {}).reward
    if isinstance(component, rewards.WorldReward):
        reached = world_models.TrajectoryState(torch.zeros(3, DIM), torch.arange(3.0), torch.zeros(3))
        world = EXAMPLES["TrajectoryDenoiser"]()
        return rewards.as_reward(world, component)(reached, torch.ones(3, ACTIONS), reached).reward
    if isinstance(component, rewards.RewardHead):
        features = torch.linspace(-1, 1, 10).view(2, 5)
        return torch.cat([*component(features, torch.ones(2, ACTIONS), 2 * features), component.threshold[None]])
    if isinstance(component, rewards.CalibratedClassifier):
        features = torch.linspace(-1, 1, component.feature_dim).repeat(2, 1)
        return torch.cat([component.probability(features), component.threshold[None]])
    if isinstance(component, Agent):
        component.begin(3)
        return torch.stack([component.act(STATES), component.act(STATES)])
    if isinstance(component, world_models.TransformersFeatures):  # it knows a name; the library loads the rest
        return torch.tensor([component.latent_dim, component.tokens])
    encoders = world_models.Autoencoder | world_models.FeatureStreams | world_models.MaskMoments
    if isinstance(component, encoders | world_models.SelfSupervised):
        return component.encode(PICTURES)
    if isinstance(component, world_models.SceneAutoencoder):
        latents = component.encode({**PICTURES, image_key("front_depth"): PICTURES[image_key("front")]})
        return torch.cat([latents.flatten(), component.moving(latents).numbers.flatten()])
    if isinstance(component, world_models.LatentActions):
        latent = component.between(PICTURES, {key: each.flip(1) for key, each in PICTURES.items()})
        drawn = [each.float().flatten() for each in component.draw(PICTURES, latent).values()]
        return torch.cat([latent.flatten(), *drawn])
    if isinstance(component, world_models.InverseDynamics):
        return component(STATES[STATE], 2 * STATES[STATE])
    if isinstance(component, LocalModel):
        features = torch.linspace(-1, 1, 10).view(2, 5)
        followed, _ = component.follow(component.begin(features), torch.ones(2, ACTIONS), 2 * features)
        imagined = component.dynamics.imagine(component.begin(features), torch.ones(2, ACTIONS)).features
        earned = component.reward(features, torch.ones(2, ACTIONS), followed)[0]
        return torch.cat([followed.flatten(), imagined.flatten(), earned])
    observer = component
    if isinstance(component, world_models.OnFrames):
        observer = EXAMPLES["PixelHistory"]()
    elif not hasattr(component, "observe"):
        observer = component.world_model if hasattr(component, "world_model") else component.space
    state, action = observer.initial(3), torch.linspace(-1, 1, 3 * ACTIONS).view(3, ACTIONS)
    for _ in range(2):
        state = observer.observe(state, action, observation(observer))
    if hasattr(component, "imagine"):
        state = component.imagine(state, action, generator)
    if observer is not component:
        return torch.cat([component(state, action), component.threshold[None]])
    if isinstance(component, world_models.TransitionSpace):
        return component.context(state, action)
    return component.features(state)


def test_every_family_has_an_example():
    """Given policies, which wrap what was made elsewhere, are saved and loaded in tests/policies/given."""
    ours = {name: cls.__module__ for name, cls in families().items() if cls.__module__.startswith("burnish.")}
    assert set(EXAMPLES) == {name for name, place in ours.items() if not place.startswith("burnish.policies.given")}


@pytest.mark.parametrize("name", EXAMPLES)
def test_loaded_is_saved(name, tmp_path):
    component = learned(name)
    save(str(tmp_path / "saved"), component, {"steps": 3})
    torch.manual_seed(8)
    random = torch.get_rng_state()
    again = load(str(tmp_path / "saved"))
    assert torch.equal(torch.get_rng_state(), random), "to load something is nobody's random stream"
    assert type(again) is type(component) and not again.training
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {"model.safetensors", "config.json"}
    found, expected = tensors_of(again), tensors_of(component)
    assert set(found) == set(expected) and all(torch.equal(found[key], expected[key]) for key in expected)
    assert torch.equal(behaviour(again), behaviour(component))
    grads = [parameter.requires_grad for parameter in component.parameters()]
    assert [parameter.requires_grad for parameter in again.parameters()] == grads
    assert not any(weight.requires_grad for part in parts_of(frozen(again)).values() for weight in part.parameters())
    save(tmp_path / "twice", again, notes(tmp_path / "saved"))
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "twice" / file).read_bytes() == (tmp_path / "saved" / file).read_bytes()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_copy_is_one(name):
    """It does the same, shares no number, and its arguments are its own submodules, not the original's."""
    component = learned(name)
    again, before = copy.deepcopy(component), behaviour(component)
    assert torch.equal(behaviour(again), before)
    assert not {id(part) for part in again.modules()} & {id(part) for part in component.modules()}
    assert list(parts_of(again)) == list(parts_of(component))
    for tensor in tensors_of(component).values():
        tensor.zero_()
    assert torch.equal(behaviour(again), before)


# --- arguments --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Small:
    width: int = 3


@dataclass(frozen=True)
class Large:
    width: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Larger(Large):
    depth: int = 1


class Toy(Component):
    def __init__(self, size: int, config: Small | Large = Small(), kind: Literal["a", "b"] = "a") -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size, config.width))


class Anything(Component):
    def __init__(self, value: Any = None, path: Path | None = None, rates: dict[str, float] | None = None) -> None:
        super().__init__()
        self.value, self.path, self.rates = value, path, rates


class Ensemble(Component):
    """Holds its members, and reads a base that is not its own."""

    def __init__(self, members: tuple[Toy, ...], base: Component, shift: float = 0.0) -> None:
        super().__init__()
        self.networks = nn.ModuleList(members)
        self.shift = shift


def round_trip(component, folder):
    save(folder, component)
    return load(folder)


@pytest.mark.parametrize("config", [Small(4), Large(2, ("x", "y")), Larger(2, depth=3)])
def test_a_union_of_configurations(config, tmp_path):
    assert round_trip(Toy(2, config), tmp_path).arguments == {"size": 2, "config": config, "kind": "a"}


@pytest.mark.parametrize("value", [None, 3, 0.5, "x", True, (1, (2, 3)), Small(7), ("a", Large(1)), {"a": (1, 2)}])
def test_any_value(value, tmp_path):
    arguments = {"value": value, "path": Path("here"), "rates": {"lift": 2.0}}
    assert round_trip(Anything(**arguments), tmp_path).arguments == arguments


def test_components_among_the_arguments(tmp_path):
    """In a tuple, and beside its submodules; the base is one object wherever it is used."""
    base = Anything(Toy(4))
    ensemble = Ensemble((Toy(2), Toy(3, kind="b")), base)
    assert len(list(ensemble.parameters())) == 2
    outer = round_trip(Anything((ensemble, base)), tmp_path)
    first, second = outer.arguments["value"]
    assert first.arguments["base"] is second and first.networks[1].arguments["kind"] == "b"
    expected = {"arguments.value.0.networks.0.weight", "arguments.value.0.networks.1.weight"}
    assert set(load_tensors(tmp_path / "model.safetensors")[0]) == {*expected, "arguments.value.0.base.value.weight"}
    copied = copy.deepcopy(outer).arguments["value"]
    assert copied[0].arguments["base"] is copied[1] is not second


def test_what_it_was_made_of_moves_with_it_but_is_not_trained_with_it():
    ensemble = learned("LatentEnsemble")
    own = {id(weight) for weight in ensemble.parameters()}
    assert not own & {id(weight) for weight in ensemble.world_model.parameters()}
    ensemble.world_model.eval()
    ensemble.double().train()
    assert all(weight.dtype == torch.float64 for weight in ensemble.world_model.parameters())
    assert not ensemble.world_model.training and any(weight.requires_grad for weight in ensemble.parameters())
    frozen(ensemble)
    assert not any(weight.requires_grad for weight in [*ensemble.parameters(), *ensemble.world_model.parameters()])


def test_an_agent_knows_its_task(tmp_path):
    save(tmp_path, learned("Agent"))
    assert load_agent(tmp_path).task == load_agent(tmp_path, "t").task == "t"
    with pytest.raises(InputError, match="trained for task 't', expected 'door-open-v3'"):
        load_agent(tmp_path, "door-open-v3")


def test_a_name_is_taken_once():
    def define(where):
        return type("Twice", (Component,), {"__module__": where})

    define("here")
    again = define("here")
    assert FAMILIES["Twice"] is again, "defined again, as a notebook does"
    with pytest.raises(TypeError, match=r"elsewhere\.Twice: there is a component of this name already, here\.Twice"):
        define("elsewhere")
    del FAMILIES["Twice"]


def test_a_subclass_changes_nothing_for_its_base():
    class Bolder(policies.GaussianPolicy):
        pass

    try:
        made = build(policies.GaussianPolicyConfig(hidden=(4,)), DIM, ACTIONS)
    finally:
        del FAMILIES[Bolder.__name__]
    assert type(made) is policies.GaussianPolicy


def test_what_cannot_be_saved_is_a_mistake_in_the_code(tmp_path):
    class Base(Component, register=False):
        pass

    class Loose(Component):
        def __init__(self, *sizes):
            super().__init__()

    for component, message in (
        (Base(), "Base is not registered"),
        (Loose(1, 2), "other arguments than named ones"),
        (Anything(torch.ones(2)), "Anything.value: a Tensor cannot be saved"),
        (Anything([Base()]), "Anything.value.0: Base is not registered"),
    ):
        with pytest.raises(TypeError, match=message):
            save(tmp_path / "x", component)
    assert not (tmp_path / "x").exists()
    del FAMILIES["Loose"]


# --- damaged files ----------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    save(tmp_path / "world_model", learned("DiffusionWorldModel"))
    return tmp_path / "world_model"


def refused(folder, message, kind=Component):
    with pytest.raises(InputError, match=message) as error:
        load(folder, kind)
    return str(error.value)


def test_another_kind_is_refused(saved):
    message = "config.json: found a DiffusionWorldModel, expected a Policy"
    assert refused(saved, message, policies.Policy).startswith(str(saved))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update({"class": "Popen"}), "json: found a Popen, expected one of: Agent, "),
        (lambda d: d.update({"class": ["RSSM"]}), "json: field 'class': expected str, found list"),
        (lambda d: d.update(arguments=[]), "json: field 'arguments': expected dict, found list"),
        (lambda d: d.pop("notes"), "json: field 'notes': expected dict, found NoneType"),
        (lambda d: d["arguments"].pop("space"), "json: field 'space' is missing"),
        (lambda d: d["arguments"].update(more=1), "json: unknown field 'more'; expected one of: space, config"),
        (lambda d: d["arguments"].update(space=3), r"json: field 'space': expected TransitionSpace, found 3 \(int"),
        (lambda d: d["arguments"].update(space=[[]]), "json: field 'space': expected TransitionSpace"),
        (lambda d: d["arguments"].update(space={"same": ""}), "json: space: expected a component, a configuration or"),
        (lambda d: d["arguments"].update(space={"class": None, "arguments": {}}), "json: space: found a None"),
        (
            lambda d: d["arguments"]["space"].update({"class": "PixelHistory"}),
            "json: space.config: found a History",
        ),
        (lambda d: d["arguments"]["space"].update(arguments=None), "json: space: field 'arguments': expected dict"),
        (lambda d: d["arguments"]["config"].update(config="RSSMConfig"), "found a RSSMConfig, expected DiffusionConf"),
        (lambda d: d["arguments"]["config"].update(config={}), "json: its arguments make no DiffusionWorldModel"),
        (lambda d: d["arguments"]["config"]["fields"].update(width="8"), "json: config: field 'width': expected int"),
        (
            lambda d: d["arguments"]["config"]["fields"].update(width=16),
            "safetensors: tensor '.*' has shape",
        ),
        (
            lambda d: d["arguments"]["space"]["arguments"].update(observation_dim=True),
            "space: field 'observation_dim'",
        ),
        (
            lambda d: d["arguments"]["space"]["arguments"].update(differences=[[0]]),
            "json: (its|space: field)",
        ),
        # Sizes that no file of this size can hold: refused before anything is allocated.
        (lambda d: d["arguments"]["space"]["arguments"].update(observation_dim=-3), "json: its arguments make no"),
        (lambda d: d["arguments"]["space"]["arguments"].update(observation_dim=10**10), "far more numbers than are in"),
        (lambda d: d["arguments"]["space"]["arguments"].update(observation_dim=10**30), "json: its arguments make no"),
        (lambda d: d["arguments"]["config"]["fields"].update(width=10**7, depth=10**7), "far more numbers than are in"),
        (lambda d: d["arguments"]["config"]["fields"].update(width=40_000), "far more numbers than are in"),
        (lambda d: d["arguments"]["config"]["fields"].update(depth=10**12), "far more numbers than are in"),
    ],
)
def test_a_damaged_description_is_named(saved, change, message):
    description = read_json(saved / "config.json")
    change(description)
    write_json(saved / "config.json", description)
    refused(saved, message)


def test_a_long_schedule_is_not_allocated_either(tmp_path):
    save(tmp_path, learned("DiffusionPolicy"))
    text = (tmp_path / "config.json").read_text().replace('"denoising_steps": 4', f'"denoising_steps": {10**11}')
    (tmp_path / "config.json").write_text(text)
    refused(tmp_path, "far more numbers")


def test_what_the_constructor_refuses_is_said_with_the_file(tmp_path):
    save(tmp_path, learned("PicturePolicy"))
    text = (tmp_path / "config.json").read_text().replace('"image_size": 32', '"image_size": 48')
    (tmp_path / "config.json").write_text(text)
    refused(tmp_path, r"config\.json: picture policy: found 3072 features")


@pytest.mark.parametrize("text", ["", "[]", "{", "3", '{"class": "RSSM"}', "[" * 100_000, "\xff"])
def test_a_description_that_is_none(saved, text):
    (saved / "config.json").write_text(text, encoding="latin-1")
    refused(saved, r"config\.json")
    with pytest.raises(InputError, match=r"config\.json"):
        notes(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("space.learned"), r"tensor 'space.learned' is missing \(\d+ found, \d+ expected\)"),
        (lambda t: t.update(extra=torch.ones(1)), "tensor 'extra' is unknown to DiffusionWorldModel"),
        (lambda t: t.update({"space.low": torch.ones(5)}), r"tensor 'space.low' has shape \(5,\), expected \(2,\)"),
        (
            lambda t: t.update({"space.low": torch.ones(2, dtype=torch.int32)}),
            "'space.low' has type torch.int32",
        ),
        (
            lambda t: t["network.head.bias"].fill_(torch.inf),
            "'network.head.bias' has values that are not",
        ),
        (lambda t: t["space.low"].fill_(torch.nan), "'space.low' has values that are not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_named(saved, change, message):
    tensors = load_tensors(saved / "model.safetensors")[0]
    change(tensors)
    save_tensors(saved / "model.safetensors", tensors)
    assert refused(saved, message).startswith("world_model/model.safetensors: tensor")


def test_tensors_of_what_it_was_made_of_are_checked_as_well(tmp_path):
    save(tmp_path / "ensemble", learned("LatentEnsemble"))
    path = tmp_path / "ensemble" / "model.safetensors"
    tensors = load_tensors(path)[0]
    tensors["arguments.world_model.cell.gru.bias_hh"].fill_(torch.inf)
    save_tensors(path, tensors)
    refused(tmp_path / "ensemble", "'arguments.world_model.cell.gru.bias_hh' has values that are not finite")


class Evil:
    def __reduce__(self):
        return (eval, ("open('pwned', 'w')",))


@pytest.mark.parametrize("content", ["pickle", "torch", "empty", "truncated", "missing"])
def test_weights_that_are_none_are_never_unpickled(saved, monkeypatch, content):
    monkeypatch.chdir(saved)
    path = saved / "model.safetensors"
    whole = path.read_bytes()
    if content == "missing":
        path.unlink()
    elif content == "torch":
        torch.save({"weights": Evil()}, path)
    else:
        path.write_bytes({"pickle": pickle.dumps(Evil()), "empty": b"", "truncated": whole[: len(whole) // 2]}[content])
    refused(saved, r"model\.safetensors")
    assert not (saved / "pwned").exists()


def test_no_folder(tmp_path):
    refused(tmp_path / "none", "no such file")
