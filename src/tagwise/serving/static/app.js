// The tag explorer: opens photos, and groups their detections again when a slider moves.
import * as api from "./api.js";
import { connect, drawCanvases, picture } from "./canvases.js";
import { fromCamera, fromVideo } from "./frames.js";
import { copy, download, readLink, recipe, writeLink } from "./keep.js";
import { buildFound, buildSliders, buildWhy } from "./panels.js";
import { canShowTypes } from "./plot.js";
import { changed, onChange, redraw, state } from "./state.js";

const at = (id) => document.getElementById(id);
const EXAMPLE = "/static/pedestrians.jpg";

// ---------------------------------------------------------------- messages

function say(error) {
  at("notice").hidden = !error;
  at("notice").textContent = error ? error.message ?? String(error) : "";
}

function busy(text) {
  at("busy").hidden = !text;
  at("busy-text").textContent = text || "";
}

// Run what a button does; its failure becomes a notice.
const safely = (work) => async (...values) => {
  try {
    await work(...values);
  } catch (error) {
    busy("");
    if (error.name !== "AbortError") say(error);
  }
};

// ---------------------------------------------------------------- photos

let opening = 0;
let linked = { settings: {}, layer: "" }; // of the address, for the first photo

async function openPhoto(source) {
  const turn = ++opening;
  const { settings, layer } = linked;
  say(null);
  busy("running the network");
  const weights = at("model").value;
  const blob = source.labelled === undefined ? source.blob : await api.labelledPicture(source.labelled);
  const [image, bitmap] = await Promise.all([
    source.labelled === undefined ? api.openUpload(blob, source.name, weights) : api.openLabelled(source.labelled, weights),
    decoded(blob),
  ]);
  if (turn !== opening) return; // a later photo was opened meanwhile
  const { group, ...rest } = image;
  Object.assign(state, { source, image: rest, group, bitmap, settings: {}, layer: null, hover: -1, instance: -1, chosen: [] });
  const known = new Set(rest.sliders.map((slider) => slider.name));
  state.settings = Object.fromEntries(Object.entries(settings).filter(([name]) => known.has(name)));
  linked = { settings: {}, layer: "" };
  busy("");
  showImage();
  if (Object.keys(state.settings).length) await regroup();
  if (layer) await showLayer(...layer.split(":"));
  writeLink();
}

async function decoded(blob) {
  try {
    return await createImageBitmap(blob, { imageOrientation: "from-image" });
  } catch { // a format that this browser does not show
    return createImageBitmap(await api.asJpeg(blob));
  }
}

function showImage() {
  at("stage").classList.remove("blank");
  at("empty").hidden = true;
  for (const id of ["reset", "link", "recipe", "png", "json"]) at(id).disabled = false;
  at("snippet").hidden = true;
  at("truth-label").hidden = !state.image.truth;
  at("latency").textContent = "";
  buildSliders(moved);
  buildLayers();
  showGroup();
}

function showGroup(reply = null) {
  at("axes").hidden = !canShowTypes() || (state.group.detections?.tags[0]?.length ?? 0) < 2;
  buildFound();
  buildWhy(reply);
  redraw();
}

const openFile = safely(async (file) => {
  if (!file) return;
  if (file.type.startsWith("video/")) {
    const frame = await fromVideo(file);
    if (frame) await openPhoto(frame);
    return;
  }
  if (file.size > state.info.upload_mb * 1048576) throw new Error(`${file.name} is larger than ${state.info.upload_mb} MB`);
  await openPhoto({ blob: file, name: file.name });
});

const openExample = safely(async () => {
  await openPhoto({ blob: await api.file(EXAMPLE), name: "pedestrians.jpg", example: true });
});

// ---------------------------------------------------------------- grouping again

let asking = false;
let again = false;
let since = 0;

function moved(slider, value) {
  if (value === slider.value) delete state.settings[slider.name];
  else state.settings[slider.name] = value;
  since = performance.now();
  safely(regroup)();
}

// Only one request at a time; the last position of a slider always gets one.
async function regroup() {
  if (asking) { again = true; return; }
  asking = true;
  try {
    do {
      again = false;
      const begun = since || performance.now();
      const { id } = state.image;
      const group = await fresh(() => api.group(state.image.id, state.settings));
      if (id !== state.image.id && again) continue;
      state.group = group;
      state.hover = -1;
      state.chosen = [];
      showGroup();
      showLatency(performance.now() - begun, group.ms);
    } while (again);
  } finally {
    asking = false;
  }
  writeLink();
}

function showLatency(total, server) {
  at("latency").textContent = `grouped again in ${Math.round(total)} ms`;
  at("latency").title = `${server} ms of it in the server; the network did not run`;
  at("latency").dataset.ms = total.toFixed(1);
}

// Repeat a request after opening the photo again, if the server has dropped its maps.
async function fresh(work) {
  try {
    return await work();
  } catch (error) {
    if (error.status !== 410) throw error;
    const { source, image } = state;
    const opened = source.labelled === undefined
      ? await api.openUpload(source.blob, source.name, image.model)
      : await api.openLabelled(source.labelled, image.model);
    state.image.id = opened.id;
    return work();
  }
}

// ---------------------------------------------------------------- why

let questions = 0;

const choose = safely(async (p) => {
  const turn = ++questions;
  state.takers = [];
  if (p < 0) state.chosen = [];
  else if (state.chosen.length === 1 && state.chosen[0] !== p) state.chosen = [...state.chosen, p];
  else state.chosen = [p];
  buildWhy(null);
  changed();
  if (state.chosen.length < 2) return;
  const [a, b] = state.chosen;
  const reply = await fresh(() => api.why(state.image.id, state.settings, a, b));
  if (turn !== questions || state.chosen.length !== 2) return;
  state.takers = reply.takers;
  buildWhy(reply);
  changed();
});

// ---------------------------------------------------------------- layers

function buildLayers() {
  at("layer").replaceChildren(new Option("none", ""), ...state.image.layers.map((l) => new Option(l.label, l.head)));
  at("channel-label").hidden = true;
}

async function showLayer(head, channel) {
  const layer = state.image.layers.find((each) => each.head === head);
  at("layer").value = layer ? head : "";
  at("channel-label").hidden = !layer || layer.channels.length < 2;
  if (!layer) {
    state.layer = null;
  } else {
    const names = layer.channels.map((name, index) => new Option(name.replaceAll("_", " "), index));
    at("channel").replaceChildren(...(layer.kind === "heatmap" ? [new Option("all", "")] : []), ...names);
    at("channel").value = channel ?? at("channel").options[0].value;
    const chosen = at("channel").value === "" ? null : Number(at("channel").value);
    const blob = await fresh(() => api.layer(state.image.id, head, chosen));
    state.layer = { head, kind: layer.kind, channel: chosen, bitmap: await createImageBitmap(blob) };
  }
  changed();
  writeLink();
}

// ---------------------------------------------------------------- theme

const THEMES = ["auto", "light", "dark"];
const system = matchMedia("(prefers-color-scheme: dark)");

function remembered() {
  try { return localStorage.getItem("tagwise-theme") ?? "auto"; } catch { return "auto"; }
}

function setTheme(name) {
  const dark = name === "dark" || (name === "auto" && system.matches);
  document.documentElement.toggleAttribute("data-dark", dark);
  at("theme").textContent = { auto: "◐", light: "☀", dark: "☾" }[name];
  const words = name === "auto" ? "as the system" : name;
  at("theme").setAttribute("aria-label", `Colours: ${words}`);
  at("theme").title = `Colours: ${words}`;
  try { localStorage.setItem("tagwise-theme", name); } catch { /* private window */ }
  changed();
}

// ---------------------------------------------------------------- start

function listen() {
  at("open").onclick = at("choose").onclick = () => at("file").click();
  at("file").onchange = () => { openFile(at("file").files[0]); at("file").value = ""; };
  at("shot").onchange = () => { openFile(at("shot").files[0]); at("shot").value = ""; };
  at("clip").onchange = () => { openFile(at("clip").files[0]); at("clip").value = ""; };
  at("video").onclick = () => at("clip").click();
  at("camera").onclick = safely(async () => {
    if (matchMedia("(pointer: coarse)").matches) { at("shot").click(); return; } // the phone's own camera
    const frame = await fromCamera();
    if (frame) await openPhoto(frame);
  });
  at("example").onclick = () => openExample();
  at("model").onchange = safely(async () => { if (state.source) await openPhoto(state.source); });
  at("labelled").onchange = safely(async () => { if (at("labelled").value) await openPhoto({ labelled: Number(at("labelled").value) }); });
  at("layer").onchange = safely(() => showLayer(at("layer").value));
  at("channel").onchange = safely(() => showLayer(at("layer").value, at("channel").value));
  for (const what of ["instances", "points", "truth"])
    at(`show-${what}`).onchange = (event) => { state.show[what] = event.target.checked; changed(); };
  for (const name of ["tags", "types"]) at(`axes-${name}`).onclick = () => setAxes(name);
  at("theme").onclick = () => setTheme(THEMES[(THEMES.indexOf(remembered()) + 1) % 3]);
  system.addEventListener("change", () => setTheme(remembered()));
  at("reset").onclick = safely(async () => { state.settings = {}; since = performance.now(); buildSliders(moved); await regroup(); });
  listenKeep();
  listenDrop();
  connect(choose);
}

function setAxes(name) {
  state.axes = name;
  for (const each of ["tags", "types"]) at(`axes-${each}`).setAttribute("aria-pressed", String(each === name));
  if (state.image) writeLink();
  changed();
}

function listenKeep() {
  at("link").onclick = () => { writeLink(); copy(location.href, at("link")); };
  at("recipe").onclick = () => {
    at("snippet").hidden = !at("snippet").hidden;
    at("snippet-text").textContent = recipe();
  };
  at("copy").onclick = () => copy(at("snippet-text").textContent, at("copy"));
  at("png").onclick = safely(async () => download(await picture(), ".png"));
  at("json").onclick = () => download(new Blob([`${JSON.stringify(state.group.result)}\n`], { type: "application/json" }), ".predictions.json");
  onChange(() => { if (!at("snippet").hidden) at("snippet-text").textContent = recipe(); });
}

function listenDrop() {
  addEventListener("dragover", (event) => { event.preventDefault(); at("stage").classList.add("over"); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) at("stage").classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    at("stage").classList.remove("over");
    openFile(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => openFile([...event.clipboardData.files][0]));
}

const start = safely(async () => {
  setTheme(remembered());
  at("stage").classList.add("blank");
  onChange(drawCanvases);
  listen();
  state.info = await api.getInfo();
  at("model").replaceChildren(...state.info.models.map(({ name, finds }) => new Option(finds ? `${name} – ${finds}` : name, name)));
  const link = readLink();
  at("model").value = state.info.models.some((m) => m.name === link.weights) ? link.weights : state.info.default;
  at("model").disabled = false;
  at("labelled-label").hidden = !state.info.labelled.length;
  at("labelled").replaceChildren(new Option("choose one", ""), ...state.info.labelled.map((name, index) => new Option(name, index)));
  if (link.axes === "types") setAxes("types");
  redraw();
  await openLinked(link);
});

async function openLinked({ photo, settings, layer }) {
  linked = { settings, layer: layer ?? "" };
  if (photo === "example") await openExample();
  else if (photo !== null && Number(photo) < state.info.labelled.length) {
    at("labelled").value = photo;
    await openPhoto({ labelled: Number(photo) });
  }
}

start();
