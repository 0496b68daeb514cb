"""Before and after the policy: a batch dimension and a device; units are the policy's own business."""

from typing import Any

from lerobot.processor import (
    AddBatchDimensionProcessorStep,
    DeviceProcessorStep,
    PolicyProcessorPipeline,
    RenameObservationsProcessorStep,
)
from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action

from lerobot_policy_burnish.configuration_burnish import BurnishConfig


def make_burnish_pre_post_processors(config: BurnishConfig, dataset_stats: Any = None) -> tuple[Any, Any]:
    """What LeRobot's factory asks for where a checkpoint brings no processors."""
    before = [
        RenameObservationsProcessorStep(rename_map={}),
        AddBatchDimensionProcessorStep(),
        DeviceProcessorStep(device=config.device or "cpu"),
    ]
    return PolicyProcessorPipeline(steps=before, name="policy_preprocessor"), PolicyProcessorPipeline(
        steps=[DeviceProcessorStep(device="cpu")],
        name="policy_postprocessor",
        to_transition=policy_action_to_transition,
        to_output=transition_to_policy_action,
    )
