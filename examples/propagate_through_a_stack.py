"""A box on one slice of each of three nuclei of a bundled stack → nuclei in 3D."""

import numpy as np

import napari_promptable as npp
from napari_promptable.masks import mask_iou, mask_to_box_yxyx
from napari_promptable.samples.data import load_nuclei_stack, sample_labels

[(stack, _, _)] = load_nuclei_stack()
truth = sample_labels("nuclei_stack")  # by experts; it stands for the user who draws boxes


def box_on_largest_slice(object_id: int) -> dict[int, npp.PromptSet]:
    middle = int((truth == object_id).sum(axis=(1, 2)).argmax())
    return {middle: npp.PromptSet(box_yxyx=mask_to_box_yxyx(truth[middle] == object_id))}


prompts = {object_id: box_on_largest_slice(object_id) for object_id in (9, 16, 20)}
result = npp.propagate(npp.load_model("tiny"), stack, prompts)
for object_id, confidence in result.confidence.items():
    iou = mask_iou(result.labels == object_id, truth == object_id)
    doubtful = np.nanargmin(confidence)
    print(f"nucleus {object_id}: IoU {iou:.2f}, most doubtful on slice {doubtful}")
