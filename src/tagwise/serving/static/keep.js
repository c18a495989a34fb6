// What a person takes along: a link with the settings, a recipe, a picture, JSON.
import { state } from "./state.js";

// Settings, model and layer in the address, so that a link shows the same.
export function readLink() {
  const values = new URLSearchParams(location.hash.slice(1));
  const settings = {};
  for (const [name, text] of values) {
    if (["weights", "layer", "axes", "photo"].includes(name)) continue;
    if (text !== "" && Number.isFinite(Number(text))) settings[name] = Number(text);
  }
  return { weights: values.get("weights"), layer: values.get("layer"), axes: values.get("axes"), photo: values.get("photo"), settings };
}

export function writeLink() {
  const { image, source, layer, settings, axes } = state;
  const values = new URLSearchParams({ weights: image.model });
  if (source?.labelled !== undefined) values.set("photo", String(source.labelled));
  if (source?.example) values.set("photo", "example");
  for (const [name, value] of Object.entries(settings)) values.set(name, String(Number(value.toFixed(4))));
  if (layer) values.set("layer", layer.channel === null ? layer.head : `${layer.head}:${layer.channel}`);
  if (axes !== "tags") values.set("axes", axes);
  history.replaceState(null, "", `#${values}`);
}

// The changed settings in the form of a recipe.
export function recipe() {
  const { image, settings } = state;
  const grouping = Object.entries(settings).filter(([name]) => name !== "threshold");
  const lines = [`# settings of the tag explorer for the model ${image.model}`, `task: ${image.task}`];
  if (grouping.length && image.settings_name) {
    lines.push("task_options:", `  ${image.settings_name}:`);
    for (const [name, value] of grouping) lines.push(`    ${name}: ${Number(value.toFixed(4))}`);
  }
  if ("threshold" in settings) lines.push("decoder:", `  threshold: ${Number(settings.threshold.toFixed(4))}`);
  if (!Object.keys(settings).length) lines.push("# all settings are the model's own");
  return `${lines.join("\n")}\n`;
}

export function download(blob, suffix) {
  const stem = (state.image.name ?? "photo").replace(/\.[^.]*$/, "");
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: `${stem}${suffix}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed to copy";
  }
  setTimeout(() => { button.textContent = before; }, 1600);
}
