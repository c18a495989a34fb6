"""Losses of the published code, summed term by term; torch is used only for the gradients."""

import torch


def _square(vector):
    return (vector * vector).sum()


def pose_tags(tags, joints, *, push, mean_over_dims=True, eps=0.0):
    """Pull and push of one image, of HigherHRNet (push "exp" or "max") and pose-ae (eps 1e-6).

    tags: (cells, D), one row for each cell of all maps. joints: for every person, the cells of the
    visible keypoints; people without visible keypoints do not count.
    """
    means, pull = [], tags.sum() * 0
    for person in joints:
        if not len(person):
            continue
        person_tags = [tags[cell] for cell in person]
        mean = sum(person_tags) / len(person_tags)
        means.append(mean)
        share = sum(_square(tag - mean) for tag in person_tags) / len(person_tags)
        pull = pull + (share / tags.shape[1] if mean_over_dims else share)
    count = len(means)
    pull = pull / (count + eps) if count else pull
    push_sum = tags.sum() * 0
    for a in range(count):
        for b in range(count):
            if a != b:
                near = _square(means[a] - means[b])
                if push == "exp":
                    push_sum = push_sum + torch.exp(-near)
                elif near == 0:  # equal means have no direction
                    push_sum = push_sum + 1
                elif near < 1:
                    push_sum = push_sum + 1 - near.sqrt()
    if count > 1:
        push_sum = push_sum / (count * (count - 1) + eps)
    return pull, 0.5 * push_sum


def corner_tags(tl, br, counts):
    """Pull and push of a batch as in CornerNet; of tl, br (B, N), the first counts[b] are used.

    Each ordered pair of objects, including an object with itself, adds its hinge minus 1 / n.
    A single object therefore gives a constant near 1, up to rounding, and no gradient.
    """
    pull = push = (tl.sum() + br.sum()) * 0
    for image, count in enumerate(counts):
        mean = (tl[image] + br[image]) / 2
        for n in range(count):
            spread = (tl[image, n] - mean[n]) ** 2 + (br[image, n] - mean[n]) ** 2
            pull = pull + spread / (count + 1e-4)
        for a in range(count):
            for b in range(count):
                hinge = (1 - (mean[a] - mean[b]).abs()).clamp(min=0)
                push = push + (hinge - 1 / (count + 1e-4)) / (count * (count - 1) + 1e-4)
    return pull, push


def focal(logits, target):
    """CornerNet's focal loss over all cells of a batch, which may have no cells of value 1."""
    total, positives = logits.sum() * 0, 0
    for logit, wanted in zip(logits.flatten(), target.flatten().tolist()):
        probability = torch.sigmoid(logit).clamp(1e-4, 1 - 1e-4)
        if wanted == 1:
            positives += 1
            total = total - torch.log(probability) * (1 - probability) ** 2
        else:
            total = total - torch.log(1 - probability) * probability**2 * (1 - wanted) ** 4
    return total / max(positives, 1)


def offsets(pred, target, used):
    """Smooth L1 loss of the offsets (N, 2) of the present objects, divided by their number."""
    total = pred.sum() * 0
    for n, present in enumerate(used):
        for axis in range(2):
            error = (pred[n, axis] - target[n, axis]).abs()
            if present:
                total = total + (error**2 / 2 if error < 1 else error - 0.5)
    return total / (sum(map(bool, used)) + 1e-4)


def heatmaps(pred, target, mask):
    """Mean square error of one image's maps (K, H, W), masked by (H, W), over cells and types."""
    total = pred.sum() * 0
    types, height, width = pred.shape
    for k in range(types):
        for y in range(height):
            for x in range(width):
                total = total + (pred[k, y, x] - target[k, y, x]) ** 2 * mask[y, x]
    return total / (types * height * width)
