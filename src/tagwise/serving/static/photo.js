// The photo with its layer, labels, instances and detections.
import { colour, css, state } from "./state.js";

const RIM = "rgb(16 18 24 / .85)";

// Draw everything into a context whose unit is a pixel of the photo; unit: photo pixels per point.
export function paint(context, unit) {
  const { image, bitmap, group, show } = state;
  context.drawImage(bitmap, 0, 0, image.width, image.height);
  if (state.layer) paintLayer(context);
  if (show.truth && image.truth) paintTruth(context, image.truth, unit);
  if (show.instances) paintInstances(context, group, unit);
  if (show.points && group.detections) paintPoints(context, group.detections, unit);
  if (group.detections) paintChoice(context, group.detections, unit);
}

function paintLayer(context) {
  const { image, layer } = state;
  context.save();
  context.fillStyle = layer.kind === "tag" ? "rgb(8 10 16 / .72)" : "rgb(8 10 16 / .55)";
  context.fillRect(0, 0, image.width, image.height);
  // Cells and pixels are counted from their centres; canvases from edges.
  const [[a, c, e], [b, d, f]] = image.to_image;
  context.beginPath();
  context.rect(0, 0, image.width, image.height);
  context.clip();
  context.transform(a, b, c, d, e + 0.5 - 0.5 * (a + c), f + 0.5 - 0.5 * (b + d));
  context.imageSmoothingEnabled = layer.kind === "heatmap";
  context.drawImage(layer.bitmap, 0, 0);
  context.restore();
}

function stroke(context, path, shade, width, dash = []) {
  context.lineJoin = context.lineCap = "round";
  context.setLineDash(dash);
  context.strokeStyle = RIM;
  context.lineWidth = width * 1.9;
  context.stroke(path);
  context.strokeStyle = shade;
  context.lineWidth = width;
  context.stroke(path);
  context.setLineDash([]);
}

function lines(points, edges) {
  const path = new Path2D();
  for (const [i, j] of edges) {
    const [p, q] = [points[i], points[j]];
    if (!p || !q || p[0] === null || q[0] === null || !p[2] || !q[2]) continue;
    path.moveTo(p[0] + 0.5, p[1] + 0.5);
    path.lineTo(q[0] + 0.5, q[1] + 0.5);
  }
  return path;
}

function polygons(parts) {
  const path = new Path2D();
  for (const part of parts) {
    part.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  return path;
}

function box([x, y, width, height]) {
  const path = new Path2D();
  path.rect(x, y, width, height);
  return path;
}

function paintTruth(context, truth, unit) {
  const dash = [5 * unit, 4 * unit];
  for (const pose of truth.keypoints ?? [])
    stroke(context, lines(pose, state.image.skeleton), "#fff", 1.6 * unit, dash);
  for (const each of truth.boxes ?? []) stroke(context, box(each), "#fff", 1.4 * unit, dash);
  for (const each of truth.outlines ?? []) stroke(context, polygons(each), "#fff", 1.2 * unit, dash);
}

// How much thinner small instances are drawn, so that crowds stay readable.
function fineness(n, unit) {
  const found = state.group.result.instances[n];
  return found ? Math.min(1, Math.max(0.45, Math.max(found.box[2], found.box[3]) / unit / 190)) : 1;
}

function paintInstances(context, group, unit) {
  const found = group.result.instances;
  for (let n = found.length - 1; n >= 0; n--) {
    const on = lit(n);
    context.globalAlpha = on ? 1 : 0.3;
    if (found[n].keypoints) {
      const sure = found[n].keypoints.map((p) => (p[2] > 0.2 ? p : [null, null, 0]));
      stroke(context, lines(sure, state.image.skeleton), colour(n), 2.6 * unit * fineness(n, unit));
    } else if (group.outlines) {
      const path = polygons(group.outlines[n]);
      context.fillStyle = colour(n, on ? 0.42 : 0.2);
      context.fill(path, "evenodd");
      stroke(context, path, colour(n), 1.1 * unit);
    } else {
      stroke(context, box(found[n].box), colour(n), 2 * unit);
    }
  }
  context.globalAlpha = 1;
}

// Whether an instance is drawn fully: all are, unless one is pointed at.
export function lit(n) {
  const found = state.group.detections;
  const pointed = state.instance >= 0 ? state.instance : state.hover >= 0 && found ? found.instance[state.hover] : -1;
  return pointed < 0 || pointed === n;
}

function paintPoints(context, found, unit) {
  const many = found.types.length > 700;
  for (let p = 0; p < found.types.length; p++) {
    const owner = found.instance[p];
    const [x, y] = found.xy[p];
    context.globalAlpha = owner < 0 || lit(owner) ? 1 : 0.3;
    context.beginPath();
    const fine = fineness(owner, unit);
    context.arc(x + 0.5, y + 0.5, (many ? 1.5 : owner < 0 ? 2.8 : 3.8 * fine) * unit, 0, 7);
    if (owner < 0) {
      context.strokeStyle = "rgb(16 18 24 / .8)";
      context.lineWidth = 2.4 * unit;
      context.stroke();
      context.strokeStyle = "#d6dce6";
      context.lineWidth = 1.2 * unit;
      context.stroke();
    } else {
      context.fillStyle = colour(owner);
      context.fill();
      if (many) continue;
      context.strokeStyle = RIM;
      context.lineWidth = 1.2 * unit * fine;
      context.stroke();
    }
  }
  context.globalAlpha = 1;
}

function paintChoice(context, found, unit) {
  const centre = (p) => [found.xy[p][0] + 0.5, found.xy[p][1] + 0.5];
  if (state.chosen.length === 2) {
    const path = new Path2D();
    path.moveTo(...centre(state.chosen[0]));
    path.lineTo(...centre(state.chosen[1]));
    stroke(context, path, "#fff", 1.8 * unit, [2 * unit, 5 * unit]);
  }
  paintRings(context, centre, unit);
}

// Rings around the chosen detections, with their letters, and around the one pointed at.
export function paintRings(context, centre, unit) {
  const named = [...state.chosen, ...(state.chosen.length === 2 ? state.takers : [])];
  const rings = [...named.map((p, i) => [p, "ABCD"[i]]), ...(state.hover >= 0 ? [[state.hover, ""]] : [])];
  for (const [p, letter] of rings) {
    const path = new Path2D();
    const [x, y] = centre(p);
    path.arc(x, y, 8 * unit, 0, 7);
    stroke(context, path, letter ? "#fff" : css("--accent"), 2.2 * unit);
    if (!letter) continue;
    context.font = `700 ${12 * unit}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 3.4 * unit;
    context.strokeStyle = RIM;
    context.strokeText(letter, x + 14 * unit, y - 10 * unit);
    context.fillStyle = "#fff";
    context.fillText(letter, x + 14 * unit, y - 10 * unit);
  }
}
