"""Where the models of a run are trained and imagine: on the CPU, or on a GPU."""

import torch

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
