"""One click, then a correction, on a bundled image."""

import napari_promptable as npp
from napari_promptable.samples.data import load_fluorescence_nuclei

[(image, _, _)] = load_fluorescence_nuclei()
model = npp.load_model("tiny")
embedding = npp.encode_image(model, image)

click = npp.PromptSet(points_yx=[[180, 190]])
first = npp.predict_masks(model, embedding, click)
print("three candidates, predicted IoU:", first.predicted_iou.round(2))

correction = npp.PromptSet(
    points_yx=[[180, 190], [150, 150]],
    point_labels=[1, 0],
    mask_logits=first.low_res_logits[first.best],
)
second = npp.predict_masks(model, embedding, correction, multimask_output=False)
print("pixels before and after:", first.masks[first.best].sum(), second.masks[0].sum())
