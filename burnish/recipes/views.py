"""What the models of a run look at: the recorded state vectors, or a compact latent of the recorded pictures."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from burnish.data import Dataset, Windows, read_dataset
from burnish.errors import InputError
from burnish.evaluation.agent import Agent
from burnish.pipeline import StageContext
from burnish.recipes.steps import Step
from burnish.simulators.settings import SimulatorConfig
from burnish.storage import load_tensors, save_tensors
from burnish.training import TrainingConfig, fit
from burnish.world_models import LATENT, Autoencoder, AutoencoderConfig, Encoded, as_states, with_latents

ObservationName = Literal["state", "pixels"]


class StateView:
    """Models read the state vectors of the data set."""

    inputs: tuple[str, ...] = ()
    """Stages that whoever reads the data needs besides."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Whose pictures the models look at."""
        return ()

    def steps(self, source: str) -> list[Step]:
        """Stages that make the view, right after the data of stage `source`."""
        return []

    def latents(self) -> list[Step]:
        """Stages that follow the whole data set."""
        return []

    def dataset(self, stage: StageContext, source: str = "dataset") -> Dataset:
        """What `observe` and `recorded` take in."""
        return read_dataset(stage.inputs[source], cameras=())

    def vectors(self, dataset: Dataset) -> Dataset:
        """What models of vectors learn from."""
        return dataset

    def outside(self, stage: StageContext, inner: Any) -> Any:
        """An observer or a world model of vectors as one of what the simulator shows."""
        return inner

    def inside(self, agent: Agent) -> Agent:
        """An agent that sees what models of vectors imagine, instead of what the simulator shows."""
        return agent

    def pictures(self, stage: StageContext) -> Dataset | None:
        """The data set with its pictures, where the models look at any."""
        return None


@dataclass(frozen=True)
class LatentView(StateView):
    """Models read the latents of an autoencoder, and neither the policy nor the world model sees a state.

    The autoencoder learns from the data of one stage and is frozen; every later picture goes through it.
    """

    config: AutoencoderConfig
    training: TrainingConfig
    held_out: float
    seed: int

    inputs = ("autoencoder", "latents")

    @property
    def cameras(self) -> tuple[str, ...]:
        """The autoencoder's."""
        return self.config.cameras

    def steps(self, source: str) -> list[Step]:
        """The autoencoder's training."""
        settings = {"model": self.config, "training": self.training, "held_out": self.held_out, "seed": self.seed}
        return [Step("autoencoder", settings, (source,), lambda s: self._train(s, source))]

    def latents(self) -> list[Step]:
        """Every picture of the data set is encoded once."""
        return [Step("latents", {}, ("dataset", "autoencoder"), self._encode, alone=True)]

    def dataset(self, stage: StageContext, source: str = "dataset") -> Dataset:
        """The latents in the place of pictures and states."""
        if source == "dataset" and "latents" in stage.inputs:
            recorded = read_dataset(stage.inputs[source], cameras=())
            return with_latents(recorded, load_tensors(_file(stage.inputs["latents"]))[0][LATENT])
        pictures = read_dataset(stage.inputs[source], cameras=self.config.cameras)
        return with_latents(pictures, self._autoencoder(stage).encode_dataset(pictures))

    def vectors(self, dataset: Dataset) -> Dataset:
        """The latents as state vectors."""
        return as_states(dataset)

    def outside(self, stage: StageContext, inner: Any) -> Encoded:
        """`inner` behind the autoencoder."""
        return Encoded(self._autoencoder(stage), inner).eval()

    def inside(self, agent: Agent) -> Agent:
        """The agent without its autoencoder: imagined latents are its observations."""
        return Agent(agent.observer.inner, agent.policy).eval()

    def pictures(self, stage: StageContext) -> Dataset | None:
        """The whole data set with its pictures."""
        return read_dataset(stage.inputs["dataset"], cameras=self.config.cameras)

    def _autoencoder(self, stage: StageContext) -> Autoencoder:
        return Autoencoder.load(stage.inputs["autoencoder"])

    def _train(self, stage: StageContext, source: str) -> None:
        recorded = read_dataset(stage.inputs[source], cameras=self.config.cameras)
        training, held_out = recorded.split(self.held_out, seed=0)
        torch.manual_seed(self.seed)
        autoencoder = Autoencoder(training.action_dim, self.config).fit(training)
        autoencoder = autoencoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        windows = Windows(training, history=1, horizon=2)
        with stage.progress(self.training.steps, "steps") as bar:
            fit(autoencoder, windows, self.training, stage.folder, self.seed, on_step=bar.at)
        stage.record("held_out_psnr", autoencoder.eval().psnr(held_out))
        autoencoder.save(stage.folder)

    def _encode(self, stage: StageContext) -> None:
        pictures = read_dataset(stage.inputs["dataset"], cameras=self.config.cameras)
        latents = self._autoencoder(stage).encode_dataset(pictures)
        save_tensors(_file(stage.folder), {LATENT: latents})


def view_of(
    observation: ObservationName,
    autoencoder: AutoencoderConfig,
    training: TrainingConfig,
    simulator: SimulatorConfig | None,
    held_out: float,
    seed: int,
) -> StateView:
    """The view that a configuration names.

    Raises:
        InputError: the simulator does not record what the autoencoder looks at.
    """
    if observation == "state":
        return StateView()
    if simulator is not None:
        missing = [name for name in autoencoder.cameras if name not in simulator.cameras]
        if missing or simulator.image_size != autoencoder.image_size:
            raise InputError(
                f"the autoencoder looks at {', '.join(autoencoder.cameras)} in {autoencoder.image_size} pixels, "
                f"the simulator records {', '.join(simulator.cameras) or 'no camera'} in {simulator.image_size}; "
                "set config.simulator.cameras and config.simulator.image_size to the same"
            )
    return LatentView(autoencoder, training, held_out, seed)


def with_cameras(simulator: SimulatorConfig, autoencoder: AutoencoderConfig) -> SimulatorConfig:
    """The simulator's settings, recording what the autoencoder looks at."""
    return replace(simulator, cameras=autoencoder.cameras, image_size=autoencoder.image_size)


def _file(folder: Path) -> Path:
    return folder / "latents.safetensors"
