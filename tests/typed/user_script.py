"""A script that uses each public name once correctly and once incorrectly.

It is not run. `test_public.py` runs type checkers, which must report exactly the lines that end
in `# wrong`.
"""

from pathlib import Path

import numpy as np
import torch

import tagwise
from tagwise import (
    Boxes,
    Masks,
    Poses,
    Predictor,
    Result,
    Skeleton,
    Tracker,
    TrackSettings,
    UserError,
    calibrate,
    convert,
    create_model,
    diagnose,
    evaluate,
    export,
    grouping,
    init,
    label,
    list_models,
    load_model,
    losses,
    new,
    peaks,
    plot,
    predict,
    save_model,
    scale,
    serve,
    suggest,
    track,
    train,
    tune,
)
from tagwise.tasks import PoseTask

version: str = tagwise.__version__
image = np.zeros((48, 64, 3), np.uint8)

predictor = Predictor("people", device="cpu", size=(512, 384), flip=True, scales=(0.5, 1.0))
found: Result = predictor("photo.jpg")
Predictor(devise="cpu")  # wrong
Predictor("people", precision="fp8")  # wrong
predictor(3)  # wrong
for result in predictor.stream(["photo.jpg", Path("photo.jpg"), image]):
    names: list[str] = [type(each).__name__ for each in result.above(0.5)]
    result.plot().save("picture.png")
    result.plot("photo.jpg")  # wrong
    _ = result.keypoints  # wrong

pin = Skeleton("pin", ("top", "foot"), edges=((0, 1),))
Skeleton("pin", ("top", "foot"), 3)  # wrong
poses = Poses(np.zeros((1, 2, 3)), np.ones(1), None, pin)
row: dict[str, object] = poses.to_coco(7, category_id=1)[0]
if isinstance(found, Poses):
    points: np.ndarray = found.keypoints
Poses()  # wrong
poses.to_coco("photo.jpg")  # wrong
boxes = Boxes(np.zeros((1, 4)), np.ones(1), np.zeros(1, int), ("disc",))
classes: tuple[str, ...] = boxes.names
Boxes(np.zeros((1, 4)), np.ones(1))  # wrong
masks = Masks(np.zeros((48, 64), int), np.zeros(0))
outlines: list[list[np.ndarray]] = masks.polygons()
Masks(scores=np.zeros(0))  # wrong
masks.mask("first")  # wrong
Result.from_dict({})  # wrong

run = predict("photos", "people", out="out", pictures=False, threshold=0.5)
summary: str = run.finish()
exit_code: int = run.exit_code
predict(1.5j)  # wrong
predict("photos", tresh=0.5)  # wrong
for frame in track("clip.mp4", settings=TrackSettings(memory=10), fill=3):
    ids: np.ndarray = frame.ids
    _ = frame.track_ids  # wrong
track("clip.mp4", fill="all")  # wrong
tracker = Tracker(TrackSettings(confirm=1))
ids = tracker.update(boxes)
TrackSettings(memory="long")  # wrong
Tracker(memory=10)  # wrong
tracker.update(image)  # wrong

written: Path = init("labels.slp", val=0.2, yes=True).recipe
init("labels.slp", "photos")  # wrong
made: Path = new("ingredient", "my_task").folder
new("template", "my_task")  # wrong
folder: Path = train("recipe.yaml", out="run", overrides=["optim.steps=10"])
train()  # wrong
report = evaluate("robots", "val.json", "photos", limit=10)
figure: float = report["metrics"]["AP"]
evaluate("robots", "val.json")  # wrong
diagnosis = diagnose("robots", "val.json", "photos", limit=10)
diagnose("robots", limit="10")  # wrong
tuned = tune("robots", "val.json", "photos", metric="f1", precision=0.9)
tune("robots", metric="f2")  # wrong
model_path: str = calibrate("robots", "val.json", "photos", out="robots.safetensors")["model"]
calibrate("robots", limit=10)  # wrong
pseudo: Path = label("photos", "robots", confident=0.6).annotations
label("photos", "robots", sure=0.6)  # wrong
dataset: object = None
first: object = suggest("photos", "robots", count=5)[0]["file"]
suggest("photos", "robots", count="5")  # wrong
path: Path = convert("checkpoint.pth", skeleton="coco")
convert("checkpoint.pth", "model.safetensors")  # wrong
path = export("people", out="people.onnx")
export("people", format="onnx")  # wrong
serve("people", port=0, open=False)
serve("people", ports=0)  # wrong
for model in list_models():
    state: str = model.state
list_models(3)  # wrong

network = create_model("small", PoseTask(pin), input_size=(64, 64), width=8)
create_model("small")  # wrong
save_model(network, "model.safetensors", half=False)
save_model("model.safetensors", network)  # wrong
trained = load_model("model.safetensors", device="cpu")
maps: dict[str, torch.Tensor] = trained(torch.zeros(1, 3, 64, 64))
load_model(trained)  # wrong

tags, group = torch.zeros(4, 2), torch.tensor([0, 0, 1, 1])
pull, push = losses.pull_push(tags, group, torch.zeros_like(group), push="hinge")
total: torch.Tensor = pull + push
losses.pull_push("x")  # wrong
heatmaps = torch.zeros(1, 2, 16, 16)
people = grouping.decode_keypoints(heatmaps, heatmaps, grouping.GroupingSettings(max_instances=5))
scores: np.ndarray = people[0].scores
grouping.decode_keypoints(heatmaps)  # wrong
grouping.GroupingSettings(top_k="all")  # wrong
at: peaks.Peaks = peaks.find_peaks(heatmaps, heatmaps, grouping.GroupingSettings())
peaks.find_peaks(heatmaps, threshold=0.1)  # wrong
picture: np.ndarray = plot.draw_boxes(image, boxes)
plot.draw_boxes("photo.jpg", boxes)  # wrong
plot.plot_tags()  # wrong
with_columns: object = scale.predict_dataset(dataset, "people", column="url", conf=0.3)
scale.predict_dataset(dataset, workers="two")  # wrong

try:
    predict("nowhere.jpg")
except UserError as error:
    text: str = str(error)
UserError(hint="none")  # wrong
tagwise.predcit("photos")  # wrong
from tagwise import Predicter  # noqa: E402, F401  # wrong
