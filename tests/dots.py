"""A network of known results, which detects bright dots, and photos of pins of three dots."""

import json
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn.functional import avg_pool2d

from tagwise.grouping import GroupingSettings
from tagwise.skeletons import Skeleton
from tagwise.tasks.pose import PoseTask

TYPES = ("top", "middle", "bottom")
WIDTH, HEIGHT = 192, 128


class DotNet(nn.Module):
    """Detects keypoints of type k where channel k is bright; tags may separate columns."""

    stride, multiple = 4, 32

    def __init__(self, types=TYPES, tags_separate=True, blind=()):
        super().__init__()
        self.spec = SimpleNamespace(name="dots", input_size=(WIDTH, HEIGHT), decoder={})
        by_tag_alone = GroupingSettings.preset("higherhrnet", fill=False)
        self.task = PoseTask(Skeleton("pin", types), tag_dim=1, grouping=by_tag_alone)
        self.columns = [TYPES.index(name) for name in types]
        self.tags_separate, self.blind = tags_separate, blind

    def forward(self, images):
        heatmaps = avg_pool2d(images, self.stride)[:, self.columns]
        heatmaps[:, list(self.blind)] = 0
        tags = (torch.arange(heatmaps.shape[-1]) / 4.0).repeat(*heatmaps.shape[:3], 1)
        if not self.tags_separate:  # no two types have similar tags
            tags += 100 * torch.arange(heatmaps.shape[1])[:, None, None]
        return {"heatmaps": heatmaps, "tags": tags}


def make_set(folder, images=3, types=TYPES, category_id=4):
    """Photos of upright pins of three dots, and their labels; image ids are not 0, 1, 2."""
    rng = np.random.default_rng(0)
    content = {"images": [], "annotations": [], "categories": []}
    content["categories"] = [{"id": category_id, "name": "pin", "keypoints": list(types)}]
    for number in range(images):
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        file, image_id = f"{number}.png", 70 - number
        content["images"].append(
            {"id": image_id, "file_name": file, "width": WIDTH, "height": HEIGHT}
        )
        for column in rng.choice(5, rng.integers(2, 4), replace=False):
            x, y = 4 * (9 * column + 3), 4 * rng.integers(2, 6, 3) + np.array([0, 32, 64])
            for k in range(3):
                pixels[y[k] : y[k] + 4, x : x + 4, k] = 255
            points = {name: [x + 1.5, int(y[k]) + 1.5, 2] for k, name in enumerate(TYPES)}
            content["annotations"].append(
                {
                    "id": len(content["annotations"]),
                    "image_id": image_id,
                    "category_id": category_id,
                    "keypoints": [float(v) for name in types for v in points[name]],
                    "bbox": [int(x) - 15, int(y[0]), 33, int(y[2] - y[0])],
                    "area": 3000.0,
                }
            )
        Image.fromarray(pixels).save(folder / file)
    path = folder / "labels.json"
    path.write_text(json.dumps(content))
    return path, content
