"""Where the models of a run are trained and imagine: on the CPU, or on a GPU."""

from dataclasses import dataclass

import torch

from burnish.data import Dataset, WindowBatch, Windows
from burnish.errors import InputError

CPU = torch.device("cpu")


def chosen_device(name: str) -> torch.device:
    """The device of this name (`cpu`, `cuda`), after a look whether the machine has it.

    Raises:
        InputError: no such device, or the machine has none.
    """
    if name not in ("cpu", "cuda"):
        raise InputError(f"unknown device '{name}', expected cpu or cuda")
    if name == "cuda":
        if not torch.cuda.is_available():
            raise InputError("device cuda: PyTorch finds no GPU on this machine; use --device cpu")
        # Batches have one shape for thousands of steps: worth trying which convolution is the fastest.
        torch.backends.cudnn.benchmark = True
    return torch.device(name)


def windows_for(dataset: Dataset, history: int, horizon: int, device: torch.device) -> "Windows | MovedWindows":
    """Windows on `device`: of the dataset there where it takes at most half of the free memory, else batch by batch."""
    if device.type == "cpu" or dataset.device == device:
        return Windows(dataset.to(device), history, horizon)
    tensors = [dataset.actions, dataset.success, *dataset.observations.values()]
    if 2 * sum(tensor.nbytes for tensor in tensors) <= torch.cuda.mem_get_info(device)[0]:
        return Windows(dataset.to(device), history, horizon)
    return MovedWindows(Windows(dataset, history, horizon), device)


@dataclass(frozen=True)
class MovedWindows:
    """Windows of a dataset elsewhere, each batch on `device`."""

    windows: Windows
    device: torch.device

    def sample(self, batch_size: int, generator: torch.Generator) -> WindowBatch:
        """As `Windows.sample`."""
        return self.windows.sample(batch_size, generator).to(self.device)
