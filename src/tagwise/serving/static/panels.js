// The panels beside the pictures: sliders, instances, and the answer to "why".
import { changed, colour, state, words } from "./state.js";

const make = (name, values = {}, ...children) => {
  const element = Object.assign(document.createElement(name), values);
  element.append(...children);
  return element;
};

const sliders = document.getElementById("sliders");
const found = document.getElementById("found");
const answer = document.getElementById("why");

const show = (slider, value) => (slider.whole ? String(value) : Number(value).toFixed(2));

export const settingOf = (slider) => state.settings[slider.name] ?? slider.value;

// One slider per setting of the model; onInput(name, value) is called while one moves.
export function buildSliders(onInput) {
  sliders.replaceChildren(...state.image.sliders.map((slider) => knob(slider, onInput)));
}

function knob(slider, onInput) {
  const id = `knob-${slider.name}`;
  const value = settingOf(slider);
  const output = make("output", { htmlFor: id, textContent: show(slider, value) });
  const input = make("input", {
    id, type: "range", min: slider.least, max: slider.most, step: slider.step, value,
  });
  input.setAttribute("aria-describedby", `${id}-help`);
  const row = make("div", { className: "knob" },
    make("label", { htmlFor: id, textContent: slider.label }), output, input,
    make("p", { id: `${id}-help`, className: "caption", textContent: slider.help }));
  const moved = () => {
    const number = Number(input.value);
    output.textContent = show(slider, number);
    row.classList.toggle("changed", number !== slider.value);
    onInput(slider, number);
  };
  row.classList.toggle("changed", value !== slider.value);
  input.addEventListener("input", moved);
  input.addEventListener("dblclick", () => { input.value = slider.value; moved(); });
  return row;
}

// ---------------------------------------------------------------- instances

const dot = (n) => {
  const element = make("span", { className: "dot" });
  if (n >= 0) element.style.background = colour(n);
  return element;
};

export function buildFound() {
  const { result, compared } = state.group;
  const counts = compared
    ? `${compared.found} of ${compared.found + compared.missed} labelled instances found (${compared.measure} ≥ 0.5), ${compared.extra} extra.`
    : "";
  if (!result.instances.length) {
    const text = "Nothing was found. That can be right; otherwise lower the thresholds or choose another model.";
    found.replaceChildren(make("p", { className: "caption", textContent: `${text} ${counts}` }));
    return;
  }
  const titles = ["instance", "score", detail().title, ...(compared ? [compared.measure] : [])];
  const head = make("tr", {}, ...titles.map((text) => make("th", { textContent: text, scope: "col" })));
  const rows = result.instances.map((instance, n) => row(instance, n, compared));
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows));
  const scroll = make("div", { className: "scroll", tabIndex: 0 }, table);
  scroll.setAttribute("aria-label", "Table of instances");
  found.replaceChildren(scroll, make("p", { className: "caption", textContent: counts }));
}

function detail() {
  if (state.image.task === "pose") return { title: "keypoints", of: (i) => `${i.keypoints.filter((k) => k[2] > 0).length} of ${i.keypoints.length}` };
  if (state.image.task === "corners") return { title: "class", of: (i) => i.class };
  if (state.image.task === "pixels") return { title: "area", of: (i) => `${Math.round(i.area)} px` };
  return { title: "box", of: (i) => i.box.map(Math.round).join(", ") };
}

function row(instance, n, compared) {
  const cells = [make("td", {}, dot(n), String(n + 1)), make("td", { textContent: instance.score.toFixed(2) }),
    make("td", { textContent: detail().of(instance) })];
  if (compared) {
    const value = compared.similarity[n];
    cells.push(make("td", { textContent: value ? value.toFixed(2) : "extra" }));
  }
  const element = make("tr", {}, ...cells);
  element.addEventListener("pointerenter", () => { state.instance = n; changed(); });
  element.addEventListener("pointerleave", () => { state.instance = -1; changed(); });
  return element;
}

// ---------------------------------------------------------------- why

const ASK = "Choose two detections, in the photo or in the plot.";

export function buildWhy(reply) {
  const { chosen, group } = state;
  if (!chosen.length || !group.detections) {
    const text = group && !group.detections ? "This task has no detections to ask about." : ASK;
    answer.replaceChildren(make("p", { className: "caption", textContent: text }));
    return;
  }
  const pair = make("div", { className: "pair" }, ...chosen.map((p, i) => {
    const { names, types, instance } = group.detections;
    const owner = instance[p] < 0 ? "in no instance" : `instance ${instance[p] + 1}`;
    return make("span", {}, dot(instance[p]), make("b", { textContent: `${"AB"[i]} ` }), `${words(names[types[p]])}, ${owner}`);
  }));
  const parts = [pair];
  if (chosen.length === 1) parts.push(make("p", { className: "caption", textContent: "Now choose the other one." }));
  if (reply) parts.push(...verdict(reply));
  answer.replaceChildren(...parts);
}

function verdict(reply) {
  const parts = [make("p", { className: `verdict ${reply.together ? "yes" : "no"}`, textContent: reply.headline })];
  if (reply.distance !== null && reply.threshold !== null) parts.push(...gauge(reply));
  if (reply.reasons.length) parts.push(make("ul", {}, ...reply.reasons.map((text) => make("li", { textContent: text }))));
  return parts;
}

function gauge({ distance, threshold, margin }) {
  const most = 2 * threshold;
  const bar = make("div", { className: `gauge ${distance > threshold ? "far" : ""}` });
  const [fill, mark] = [make("i"), make("b")];
  fill.style.width = `${Math.min(100, (100 * distance) / most)}%`;
  mark.style.left = `${(100 * threshold) / most}%`;
  bar.append(fill, mark);
  bar.setAttribute("aria-hidden", "true");
  const second = margin === null ? "" : ` · margin to the next instance ${margin.toFixed(2)}`;
  const text = `tag distance ${distance.toFixed(2)} · threshold ${threshold.toFixed(2)}${second}`;
  return [bar, make("p", { className: "caption", textContent: text })];
}
