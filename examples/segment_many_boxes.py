"""Many boxes at once → one label image, compared with labels by experts."""

import numpy as np

import napari_promptable as npp
from napari_promptable.masks import mask_iou, mask_to_box_yxyx
from napari_promptable.samples.data import load_fluorescence_nuclei, sample_labels

[(image, _, _)] = load_fluorescence_nuclei()
truth = sample_labels("fluorescence_nuclei")
boxes = [mask_to_box_yxyx(truth == i) for i in range(1, truth.max() + 1)]

labels = npp.segment_boxes(npp.load_model("tiny"), image, boxes)
ious = [mask_iou(labels == i, truth == i) for i in range(1, truth.max() + 1)]
print(f"{len(boxes)} boxes, mean IoU {np.mean(ious):.2f}")
