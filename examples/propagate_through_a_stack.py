"""Boxes on one slice of a bundled stack → nuclei in 3D, compared with labels by experts."""

import numpy as np

import napari_promptable as npp
from napari_promptable.masks import mask_iou, mask_to_box_yxyx
from napari_promptable.sample_data import load_nuclei_stack, sample_labels

MIDDLE = 50

[(stack, _, _)] = load_nuclei_stack()
truth = sample_labels("nuclei_stack")
on_slice = np.bincount(truth[MIDDLE].ravel())[1:]
largest = on_slice.argsort()[-3:] + 1
prompts = {
    int(i): {MIDDLE: npp.PromptSet(box_yxyx=mask_to_box_yxyx(truth[MIDDLE] == i))}
    for i in largest
}

settings = npp.PropagationSettings(first=MIDDLE - 12, last=MIDDLE + 12)
result = npp.propagate(npp.load_model("tiny"), stack, prompts, settings)
for object_id, confidence in result.confidence.items():
    iou = mask_iou(result.labels == object_id, truth == object_id)
    doubtful = np.nanargmin(confidence)
    print(f"nucleus {object_id}: IoU {iou:.2f}, most doubtful on slice {doubtful}")
