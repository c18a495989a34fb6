// What the page shows. Views read it and redraw when it changes.

export const state = {
  info: null,      // of the server: models, colours, labelled photos
  source: null,    // {blob, name} or {labelled: index}: to open again with another model
  bitmap: null,    // the photo
  image: null,     // the server's description of it
  group: null,     // result, detections, outlines, compared
  settings: {},    // values of the sliders that differ from the model's own
  layer: null,     // {head, channel, bitmap}
  hover: -1,       // a detection
  instance: -1,    // an instance that the table points at
  chosen: [],      // up to two detections
  takers: [],      // detections that have the place of one of them
  axes: "tags",
  show: { instances: true, points: true, truth: true },
};

const listeners = [];

export function onChange(listener) { listeners.push(listener); }

let waiting = false;

// Redraw all views before the next frame.
export function changed() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(redraw);
}

export function redraw() {
  waiting = false;
  for (const listener of listeners) listener();
}

export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function colour(instance, alpha = 1) {
  if (instance < 0) return css("--soft");
  const [r, g, b] = state.info.palette[instance % state.info.palette.length];
  return `rgb(${r} ${g} ${b} / ${alpha})`;
}

export const words = (name) => name.replaceAll("_", " ");

// One line about a detection, for the status line and for screen readers.
export function describe(p) {
  const found = state.group.detections;
  const owner = found.instance[p];
  const tag = found.tags[p].map((value) => value === null ? "–" : value.toFixed(2)).join(", ");
  const where = owner < 0 ? "in no instance" : `instance ${owner + 1}`;
  return `${words(found.names[found.types[p]])} · ${where} · score ${found.scores[p].toFixed(2)} · tag ${tag}`;
}
