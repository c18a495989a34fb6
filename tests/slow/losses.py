"""Losses of the published code, summed up term by term; torch only so that gradients follow."""

import torch


def _square(vector):
    return (vector * vector).sum()


def pose_tags(tags, joints, *, push, mean_over_dims=True, eps=0.0):
    """Pull and push of one image: HigherHRNet's (push "exp" or "max") and pose-ae's (eps 1e-6).

    tags: (cells, D), one row for each cell of all maps. joints: for every person the cells of its
    visible keypoints; people without any do not count.
    """
    means, pull = [], tags.sum() * 0
    for person in joints:
        if not len(person):
            continue
        own = [tags[cell] for cell in person]
        mean = sum(own) / len(own)
        means.append(mean)
        share = sum(_square(tag - mean) for tag in own) / len(own)
        pull = pull + (share / tags.shape[1] if mean_over_dims else share)
    count = len(means)
    pull = pull / (count + eps) if count else pull
    apart = tags.sum() * 0
    for a in range(count):
        for b in range(count):
            if a != b:
                near = _square(means[a] - means[b])
                if push == "exp":
                    apart = apart + torch.exp(-near)
                elif near == 0:  # equal means are pushed nowhere
                    apart = apart + 1
                elif near < 1:
                    apart = apart + 1 - near.sqrt()
    if count > 1:
        apart = apart / (count * (count - 1) + eps)
    return pull, 0.5 * apart


def corner_tags(tl, br, counts):
    """Pull and push of a batch as CornerNet sums them; tl, br (B, N), the first counts[b] there.

    Each ordered pair of objects, an object with itself among them, gives its hinge less 1 / n: so
    one object alone gives a constant near 1, how near is a matter of rounding, and no gradient.
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
    """CornerNet's focal loss over all cells of a batch; of cells that are 1 none may be there."""
    total, positives = logits.sum() * 0, 0
    for logit, wanted in zip(logits.flatten(), target.flatten().tolist()):
        said = torch.sigmoid(logit).clamp(1e-4, 1 - 1e-4)
        if wanted == 1:
            positives += 1
            total = total - torch.log(said) * (1 - said) ** 2
        else:
            total = total - torch.log(1 - said) * said**2 * (1 - wanted) ** 4
    return total / max(positives, 1)


def offsets(pred, target, there):
    """Smooth L1 of the offsets (N, 2) of the objects that are there, over their number."""
    total = pred.sum() * 0
    for n, present in enumerate(there):
        for axis in range(2):
            error = (pred[n, axis] - target[n, axis]).abs()
            if present:
                total = total + (error**2 / 2 if error < 1 else error - 0.5)
    return total / (sum(map(bool, there)) + 1e-4)


def heatmaps(pred, target, mask):
    """Square error of one image's maps (K, H, W), mask (H, W), over all cells of all types."""
    total = pred.sum() * 0
    kinds, height, width = pred.shape
    for k in range(kinds):
        for y in range(height):
            for x in range(width):
                total = total + (pred[k, y, x] - target[k, y, x]) ** 2 * mask[y, x]
    return total / (kinds * height * width)
