"""Labels and predictions as tasks of Label Studio."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from tagwise.files import whole_file
from tagwise.labels.choose import polygons_of, with_files
from tagwise.labels.frames import Size, image_names, known_sizes, write_images
from tagwise.labels.label_set import Instance, LabelledImage, LabelSet
from tagwise.labels.write_coco import box_of_instance

_FROM = {"rectanglelabels": "box", "keypointlabels": "keypoint", "polygonlabels": "polygon"}


def write_labelstudio(
    found: LabelSet, folder: Path, copy: bool = True, progress: bool = False
) -> Path:
    """Write tasks.json to import, config.xml for the labelling interface, and the images.

    Predictions become predictions of their task, which Label Studio shows for correction; labels of
    people become annotations. Keypoints are linked to the box of their instance. The address of an
    image is that of local storage, with the folder as its root. Tracks and visibility are lost.
    copy: write the images too. Returns the folder.
    """
    usable = with_files(found)
    names = image_names(usable)
    if copy:
        sizes = write_images(usable, names, folder / "images", found.problems, progress)
    else:
        sizes = known_sizes(usable, found.problems)
    tasks = [
        _task(image, names[id(image)], sizes[id(image)], found)
        for image in usable
        if id(image) in sizes
    ]
    with whole_file(folder / "tasks.json") as file:
        file.write(json.dumps(tasks, ensure_ascii=False, indent=1).encode())
    with whole_file(folder / "config.xml") as file:
        file.write(_config(found).encode())
    return folder


def _task(image: LabelledImage, name: str, size: Size, found: LabelSet) -> dict[str, Any]:
    task: dict[str, Any] = {"data": {"image": f"/data/local-files/?d={quote(f'images/{name}')}"}}
    labelled = [each for each in image.instances if not each.predicted]
    if labelled or not image.instances:
        task["annotations"] = [{"result": _results(labelled, size, found)}]
    predicted = [each for each in image.instances if each.predicted]
    if predicted:
        score = min(each.score for each in predicted)
        results = _results(predicted, size, found)
        task["predictions"] = [{"model_version": "tagwise", "score": score, "result": results}]
    return task


def _results(instances: list[Instance], size: Size, found: LabelSet) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for number, each in enumerate(instances):
        key = f"instance{number}"
        outlines = polygons_of(each)
        if each.keypoints is not None or not outlines:
            x, y, width, height = box_of_instance(each, size)
            (x, y), (width, height) = _percent([x, y], size), _percent([width, height], size)
            value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
            results.append(_result(key, "rectanglelabels", each.category, value, size, each.score))
        for n, outline in enumerate(outlines):
            pairs = zip(outline[::2], outline[1::2], strict=True)
            value = {"points": [_percent(pair, size) for pair in pairs]}
            kind = "polygonlabels"
            results.append(_result(f"{key}-{n}", kind, each.category, value, size, each.score))
        if each.keypoints is None:
            continue
        types = found.category(each.category).keypoints
        for k, (x, y, visible) in enumerate(each.keypoints.tolist()):
            if visible > 0:
                x, y = _percent([x, y], size)
                value = {"x": x, "y": y, "width": 0.5}
                score = None if each.keypoint_scores is None else float(each.keypoint_scores[k])
                point = f"{key}-point{k}"
                entry = _result(point, "keypointlabels", types[k], value, size, score)
                relation = {"from_id": point, "to_id": key, "type": "relation"}
                results += [entry | {"parentID": key}, relation | {"direction": "right"}]
    return results


def _result(
    key: str, kind: str, label: str, value: dict[str, Any], size: Size, score: float | None
) -> dict[str, Any]:
    entry = {
        "id": key,
        "type": kind,
        "from_name": _FROM[kind],
        "to_name": "image",
        "original_width": size[0],
        "original_height": size[1],
        "image_rotation": 0,
        "value": {**value, kind: [label]},
    }
    return entry | ({} if score is None else {"score": score})


def _percent(values: Any, size: Size) -> list[float]:
    return [100 * value / side for value, side in zip(values, size, strict=True)]


def _config(found: LabelSet) -> str:
    """The labelling interface with the categories and keypoint types of the labels."""
    categories = [each.name for each in found.categories]
    types = list(dict.fromkeys(name for each in found.categories for name in each.keypoints))
    blocks = [_labels("RectangleLabels", "box", categories)]
    blocks += [_labels("KeyPointLabels", "keypoint", types)] if types else []
    if any(each.mask for image in found.images for each in image.instances):
        blocks.append(_labels("PolygonLabels", "polygon", categories))
    image = '  <Image name="image" value="$image"/>'
    return "\n".join(["<View>", image, *blocks, "</View>", ""])


def _labels(tag: str, name: str, values: list[str]) -> str:
    labels = "\n".join(f"    <Label value={quoteattr(value)}/>" for value in values)
    return f'  <{tag} name="{name}" toName="image">\n{labels}\n  </{tag}>'
