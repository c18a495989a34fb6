// The tag plot: every detection at its tag, in the colour of its instance.
import { lit, paintRings } from "./photo.js";
import { colour, css, state, words } from "./state.js";

const MARGIN = { left: 46, right: 12, top: 10, bottom: 30 };

// Where each detection is, in CSS pixels; filled by `paintPlot`, read by pointers.
export let places = [];

export const canShowTypes = () =>
  Boolean(state.group?.detections && state.group.detections.names.length > 1);

const byType = () => {
  const found = state.group.detections;
  return canShowTypes() && (state.axes === "types" || (found.plot[0] ?? [0]).length === 1);
};

function range(values) {
  let low = Math.min(...values);
  let high = Math.max(...values);
  if (!(high > low)) { low -= 1; high += 1; }
  const pad = 0.06 * (high - low);
  return [low - pad, high + pad];
}

function ticks([low, high], count) {
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((s) => s * power).find((s) => s >= raw);
  const out = [];
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) out.push(Number(value.toPrecision(10)));
  return out;
}

export function paintPlot(context, width, height) {
  context.clearRect(0, 0, width, height);
  places = [];
  const found = state.group?.detections;
  context.font = "11px system-ui, sans-serif";
  if (!found || !found.types.length) return paintEmpty(context, width, height);
  const types = byType();
  const bottom = types ? typeMargin(context, found) : MARGIN.bottom;
  const area = [MARGIN.left, MARGIN.top, width - MARGIN.right, height - bottom];
  const second = found.plot[0].length > 1;
  const x = types ? found.types : found.plot.map((p) => p[0]);
  const y = types || !second ? found.plot.map((p) => p[0]) : found.plot.map((p) => p[1]);
  const round = !types && second && found.tags[0].length === 2 ? circles(found) : [];
  const reach = (d) => round.flatMap(({ mean, radius }) => [mean[d] - radius, mean[d] + radius]);
  let [horizontal, vertical] = [types ? [-0.6, found.names.length - 0.4] : range([...x, ...reach(0)]), range([...y, ...reach(1)])];
  if (!types && second) [horizontal, vertical] = equalScale(horizontal, vertical, area);
  const toX = (v) => area[0] + ((v - horizontal[0]) / (horizontal[1] - horizontal[0])) * (area[2] - area[0]);
  const toY = (v) => area[3] - ((v - vertical[0]) / (vertical[1] - vertical[0])) * (area[3] - area[1]);
  paintGrid(context, area, { types, found, horizontal, vertical, toX, toY });
  context.save();
  context.beginPath();
  context.rect(area[0] - 1, area[1] - 1, area[2] - area[0] + 2, area[3] - area[1] + 2);
  context.clip();
  if (types) paintMeans(context, found, y, area, toY);
  else paintReach(context, round, toX, toY);
  places = x.map((value, p) => [toX(value), toY(y[p])]);
  paintDots(context, found);
  context.restore();
  paintRings(context, (p) => places[p], 1);
}

function paintEmpty(context, width, height) {
  context.fillStyle = css("--soft");
  context.textAlign = "center";
  context.font = "14px system-ui, sans-serif";
  const text = state.group ? "no detection above the thresholds" : "the tags of a photo appear here";
  context.fillText(text, width / 2, height / 2);
}

// One unit of a tag is as long on both axes, so that distances are those of the tags.
function equalScale([x0, x1], [y0, y1], area) {
  const scale = Math.max((x1 - x0) / (area[2] - area[0]), (y1 - y0) / (area[3] - area[1]));
  const [w, h] = [(scale * (area[2] - area[0])) / 2, (scale * (area[3] - area[1])) / 2];
  const [cx, cy] = [(x0 + x1) / 2, (y0 + y1) / 2];
  return [[cx - w, cx + w], [cy - h, cy + h]];
}

const typeMargin = (context, found) =>
  Math.min(96, 14 + 0.72 * Math.max(...found.names.map((n) => context.measureText(words(n)).width)));

function paintGrid(context, area, { types, found, horizontal, vertical, toX, toY }) {
  context.strokeStyle = css("--line");
  context.fillStyle = css("--soft");
  context.lineWidth = 1;
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of ticks(vertical, 6)) {
    line(context, area[0], toY(value), area[2], toY(value));
    context.fillText(String(value), area[0] - 6, toY(value));
  }
  context.save();
  context.translate(10, (area[1] + area[3]) / 2);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.fillText(found.axes[types ? 0 : 1] ?? found.axes[0], 0, 0);
  context.restore();
  if (types) return paintTypeNames(context, found, area, toX);
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const value of ticks(horizontal, 8)) {
    line(context, toX(value), area[1], toX(value), area[3]);
    context.fillText(String(value), toX(value), area[3] + 4);
  }
  context.fillText(found.axes[0], (area[0] + area[2]) / 2, area[3] + 17);
}

function paintTypeNames(context, found, area, toX) {
  found.names.forEach((name, k) => {
    line(context, toX(k), area[1], toX(k), area[3]);
    context.save();
    context.translate(toX(k) + 3, area[3] + 8);
    context.rotate(-Math.PI / 4);
    context.textAlign = "right";
    context.fillText(words(name), 0, 0);
    context.restore();
  });
}

function line(context, x0, y0, x1, y1) {
  context.beginPath();
  context.moveTo(Math.round(x0) + 0.5, Math.round(y0) + 0.5);
  context.lineTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
  context.stroke();
}

function meansOf(found, values) {
  const sums = new Map();
  found.instance.forEach((n, p) => {
    if (n < 0) return;
    const sum = sums.get(n) ?? [0, values[p].map(() => 0)];
    sum[0] += 1;
    values[p].forEach((v, d) => { sum[1][d] += v; });
    sums.set(n, sum);
  });
  return [...sums].map(([n, [count, sum]]) => [n, sum.map((v) => v / count)]);
}

// A line at the mean tag of each instance, as in the article.
function paintMeans(context, found, y, area, toY) {
  for (const [n, [mean]] of meansOf(found, y.map((v) => [v]))) {
    context.globalAlpha = lit(n) ? 0.9 : 0.2;
    context.strokeStyle = colour(n);
    context.lineWidth = 1.6;
    line(context, area[0], toY(mean), area[2], toY(mean));
  }
  context.globalAlpha = 1;
}

// A circle around the mean tag of each instance, as wide as the tag threshold.
function circles(found) {
  const slider = state.image.sliders.find((s) => s.name === "tag_threshold" || s.name === "bandwidth");
  const means = slider ? meansOf(found, found.plot) : [];
  if (!means.length || means.length > 60) return [];
  const radius = state.settings[slider.name] ?? slider.value;
  return means.map(([n, mean]) => ({ n, mean, radius }));
}

function paintReach(context, round, toX, toY) {
  for (const { n, mean, radius } of round) {
    context.globalAlpha = lit(n) ? 1 : 0.25;
    context.beginPath();
    context.arc(toX(mean[0]), toY(mean[1]), toX(radius) - toX(0), 0, 7);
    context.fillStyle = colour(n, 0.12);
    context.fill();
    context.strokeStyle = colour(n, 0.75);
    context.lineWidth = 1.2;
    context.stroke();
  }
  context.globalAlpha = 1;
}

function paintDots(context, found) {
  const many = found.types.length > 700;
  const order = found.instance.map((_, p) => p).sort((a, b) => (found.instance[a] < 0 ? 0 : 1) - (found.instance[b] < 0 ? 0 : 1));
  const rim = css("--ink");
  for (const p of order) {
    const owner = found.instance[p];
    const [x, y] = places[p];
    context.globalAlpha = owner < 0 ? 0.75 : lit(owner) ? 1 : 0.25;
    context.beginPath();
    if (owner < 0) {
      context.strokeStyle = css("--soft");
      context.lineWidth = 1.3;
      context.arc(x, y, 3, 0, 7);
      context.stroke();
      continue;
    }
    context.arc(x, y, many ? 2.2 : 4.6, 0, 7);
    context.fillStyle = colour(owner);
    context.fill();
    if (many) continue;
    context.strokeStyle = rim;
    context.lineWidth = 0.9;
    context.stroke();
  }
  context.globalAlpha = 1;
}
