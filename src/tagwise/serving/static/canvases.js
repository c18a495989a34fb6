// Both canvases: their size on the screen, pointers and keys.
import { paint } from "./photo.js";
import { paintPlot, places } from "./plot.js";
import { changed, describe, state } from "./state.js";

const photo = document.getElementById("photo");
const plot = document.getElementById("plot");
const stage = document.getElementById("stage");
const readout = document.getElementById("readout");

let scale = 1; // CSS pixels per pixel of the photo

export function drawCanvases() {
  drawPhoto();
  drawPlot();
  const found = state.group?.detections;
  if (state.hover >= 0 && found) readout.textContent = describe(state.hover);
  else if (state.group) readout.textContent = summary();
}

function summary() {
  const count = state.group.result.instances.length;
  if (!count) return "No instance at these settings. Lower the thresholds, or try another photo or model.";
  const found = state.group.detections;
  const free = found ? found.instance.filter((n) => n < 0).length : 0;
  const extra = found ? ` from ${found.types.length} detections, ${free} of them in none` : "";
  return `${count} ${count === 1 ? "instance" : "instances"}${extra}. Point at a dot to find it in the other picture.`;
}

function sized(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

function drawPhoto() {
  if (!state.bitmap || !state.image || !state.group) return;
  const { width, height } = state.image;
  const most = Math.max(320, window.innerHeight * 0.78);
  scale = Math.min(stage.clientWidth / width, most / height);
  photo.style.width = `${width * scale}px`;
  photo.style.height = `${height * scale}px`;
  const context = sized(photo, width * scale, height * scale);
  context.scale(scale, scale);
  paint(context, Math.min(1, 0.45 + (width * scale) / 1400) / scale); // finer on small screens
  const count = state.group.result.instances.length;
  photo.setAttribute("aria-label", `Photo ${state.image.name ?? ""} with ${count} instances`);
}

function drawPlot() {
  const { clientWidth: width, clientHeight: height } = plot;
  paintPlot(sized(plot, width, height), width, height);
  if (!state.group) return;
  const found = state.group.detections;
  document.getElementById("plot-caption").textContent = caption(found);
  plot.setAttribute("aria-label", found
    ? `Tag plot: ${found.types.length} detections of ${state.group.result.instances.length} instances`
    : "This task has no detections to plot");
}

function caption(found) {
  if (!found) return "This task has no detections to plot.";
  const what = found.names.length > 1 ? "detection" : "cell of the foreground (a sample)";
  const reach = found.tags[0]?.length === 2 && state.axes === "tags" ? " The circles have the radius of the tag threshold." : "";
  return `Each dot is a ${what}, at its tag. Those with similar tags become one instance.${reach}`;
}

// The photo with all that is drawn on it, as a PNG of its own size.
export function picture() {
  const canvas = document.createElement("canvas");
  const { width, height } = state.image;
  const factor = Math.max(1, 1200 / Math.max(width, height));
  canvas.width = width * factor;
  canvas.height = height * factor;
  const context = canvas.getContext("2d");
  context.scale(factor, factor);
  paint(context, Math.max(width, height) / 900);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

// ---------------------------------------------------------------- pointers

function nearest(points, x, y, reach) {
  let [best, least] = [-1, reach * reach];
  points.forEach(([px, py], p) => {
    const square = (px - x) ** 2 + (py - y) ** 2;
    if (square < least) [best, least] = [p, square];
  });
  return best;
}

function underPointer(canvas, event) {
  const found = state.group?.detections;
  if (!found) return -1;
  const [x, y] = [event.offsetX, event.offsetY];
  if (canvas === plot) return nearest(places, x, y, 16);
  return nearest(found.xy.map(([px, py]) => [(px + 0.5) * scale, (py + 0.5) * scale]), x, y, 16);
}

function point(p) {
  if (p === state.hover) return;
  state.hover = p;
  changed();
}

export function connect(choose) {
  for (const canvas of [photo, plot]) {
    canvas.addEventListener("pointermove", (event) => point(underPointer(canvas, event)));
    canvas.addEventListener("pointerleave", () => point(-1));
    canvas.addEventListener("click", (event) => {
      const p = underPointer(canvas, event);
      if (p >= 0) choose(p);
    });
    canvas.addEventListener("keydown", (event) => keys(event, choose));
  }
  new ResizeObserver(changed).observe(stage);
  new ResizeObserver(changed).observe(plot);
}

// Detections in the order of their instances, then types.
function order() {
  const { instance, types } = state.group.detections;
  const last = (n) => (n < 0 ? 1e9 : n);
  return types.map((_, p) => p).sort((a, b) => last(instance[a]) - last(instance[b]) || types[a] - types[b]);
}

function keys(event, choose) {
  const found = state.group?.detections;
  if (!found || !found.types.length) return;
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  if (event.key in steps) {
    const all = order();
    const at = all.indexOf(state.hover);
    point(all[(at + steps[event.key] + all.length + (at < 0 && steps[event.key] < 0 ? 1 : 0)) % all.length]);
  } else if ((event.key === "Enter" || event.key === " ") && state.hover >= 0) {
    choose(state.hover);
  } else if (event.key === "Escape") {
    choose(-1);
  } else return;
  event.preventDefault();
}
