"""How published tests map photos to network inputs, and results back to photos."""

import numpy as np

# ---------------------------------------------------------------------- maps and photos


def bilinear(image, x, y, outside=None):
    """The value of (h, w) between pixels; beyond the edge `outside`, or the value at the edge."""
    height, width = image.shape
    left, above = int(np.floor(x)), int(np.floor(y))
    total = 0.0
    for v, part_v in ((above, above + 1 - y), (above + 1, y - above)):
        for u, part_u in ((left, left + 1 - x), (left + 1, x - left)):
            if outside is None:
                value = image[min(max(v, 0), height - 1), min(max(u, 0), width - 1)]
            else:
                value = image[v, u] if 0 <= v < height and 0 <= u < width else outside
            total += part_v * part_u * value
    return total


def resized(image, size):
    """Resize (h, w) to another (height, width), with half-pixel centres."""
    down, across = image.shape[0] / size[0], image.shape[1] / size[1]
    out = np.zeros(size)
    for v, u in np.ndindex(*size):
        out[v, u] = bilinear(image, (u + 0.5) * across - 0.5, (v + 0.5) * down - 0.5)
    return out


def warped(image, matrix, size):
    """Warp (h, w) by a map (2, 3) to pixels of a (width, height), with black outside."""
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    out = np.zeros(size[::-1])
    for v, u in np.ndindex(*out.shape):
        x, y, _ = back @ [u, v, 1]
        out[v, u] = bilinear(image, x, y, outside=0)
    return out


# ---------------------------------------------------------------------- HigherHRNet


def _up_to_64(length):
    return int(length + 63) // 64 * 64


def higherhrnet_size(photo, side, scale, least):
    """(width, height) of the input for a (width, height) photo.

    At the smallest scale, the shorter side is a multiple of 64, and the longer side in proportion;
    larger scales are multiples of that size.
    """
    short = _up_to_64(least * side)
    long = _up_to_64(short / min(photo) * max(photo))
    sizes = int(short * scale / least), int(long * scale / least)
    return sizes if photo[0] < photo[1] else sizes[::-1]


def from_three_points(source, target):
    """The map (2, 3) from three points to three other points."""
    known = np.c_[source, np.ones(3)]
    return np.linalg.solve(known, np.asarray(target, float)).T


def _frame(centre, width):
    """The centre, the point half a width above it, and the one half a width to the left of that."""
    x, y = centre
    return [(x, y), (x, y - width / 2), (x - width / 2, y - width / 2)]


def higherhrnet_matrix(photo, size):
    """The map from pixels of a photo to an input, or to maps, of this (width, height).

    The rounded centre of the photo is mapped to the centre. The scale follows from the shorter side
    of the photo and the shape of the input.
    """
    centre = [int(side / 2 + 0.5) for side in photo]
    width = photo[0] if photo[0] < photo[1] else size[0] / size[1] * photo[1]
    target = _frame((size[0] / 2, size[1] / 2), size[0])
    return from_three_points(_frame(centre, width), target)


# ---------------------------------------------------------------------- mmpose 1.x


def mmpose1_size(photo, side, scale):
    """The size that a (width, height) photo covers, and the size of the input.

    Both sides are at least the requested side. The input is rounded up to multiples of 64.
    """
    least = int(np.ceil(int(side * scale) / 64)) * 64
    ratio = photo[0] / photo[1]
    covered = (max(least, least * ratio), max(least, least / ratio))
    return covered, tuple(int(np.ceil(length / 64)) * 64 for length in covered)


def mmpose1_matrix(photo, covered, size):
    """The map from pixels of a photo to an input (width, height), from centre to centre.

    The width of the photo with its black border becomes the width of the input.
    """
    width = photo[0] * size[0] / covered[0]
    target = _frame((size[0] / 2, size[1] / 2), size[0])
    return from_three_points(_frame((photo[0] / 2, photo[1] / 2), width), target)


def mmpose1_points(points, photo, covered, size):
    """Map points (..., 2) of an input to the photo, relative to the photo with its border."""
    photo, covered, size = (np.array(each, float) for each in (photo, covered, size))
    whole = photo * size / covered
    return points / size * whole + photo / 2 - whole / 2


# ---------------------------------------------------------------------- pose-ae


def poseae_matrix(photo, scale):
    """The map from a photo to a square of 512 · scale pixels, rounded up to 64, and its side."""
    side, longer = _up_to_64(512 * scale), max(photo)
    across, down = (side * (0.5 - middle / longer) for middle in (photo[0] / 2, photo[1] / 2))
    return np.array([[side / longer, 0, across], [0, side / longer, down]]), side


# ---------------------------------------------------------------------- CornerNet


def cornernet_canvas(photo, scale):
    """For each axis: the pixels of the photo, those of the canvas, and the start of the photo."""
    rows = []
    for side in photo:
        inner = int(side * scale)
        outer = inner | 127
        rows.append((inner, outer, outer // 2 - inner // 2))
    return rows


def cornernet_input(image, scale):
    """An (h, w) photo centred on black; a canvas with an odd side lacks its last line."""
    (height, outer_height, top), (width, outer_width, left) = cornernet_canvas(image.shape, scale)
    image = resized(image, (height, width))
    canvas = np.zeros((outer_height, outer_width))
    for y, x in np.ndindex(height, width):
        if y + top < outer_height // 2 * 2 and x + left < outer_width // 2 * 2:
            canvas[y + top, x + left] = image[y, x]
    return canvas


def cornernet_boxes(boxes, photo, scale, mirrored):
    """Convert boxes (N, 4) from cells of stride 4 to pixels of a (height, width) photo."""
    out = np.array(boxes, float).reshape(-1, 4)
    for axis, (inner, outer, border) in enumerate(reversed(cornernet_canvas(photo, scale))):
        cells = (outer + 1) // 4
        for row in out:
            low, high = row[axis], row[axis + 2]
            if mirrored and axis == 0:
                low, high = cells - high, cells - low
            row[axis], row[axis + 2] = (
                min(max(value * outer / cells - border, 0), inner) / scale for value in (low, high)
            )
    return out
