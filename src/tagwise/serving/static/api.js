// Requests to the server. Every failure becomes an Error with the server's one line of text.

async function answer(response) {
  if (response.ok) return response;
  let text = `the server answered ${response.status}`;
  try { text = (await response.json()).error || text; } catch { /* no JSON */ }
  const error = new Error(text);
  error.status = response.status;
  throw error;
}

async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (cause) {
    if (cause.name === "AbortError") throw cause;
    throw new Error("the server does not answer; is `tagwise serve` still running?");
  }
  return answer(response);
}

const query = (values) => new URLSearchParams(
  Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== ""));

const post = (address, value) => ask(address, {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value),
}).then((r) => r.json());

export const getInfo = () => ask("/api/info").then((r) => r.json());

export const openUpload = (blob, name, weights) =>
  ask(`/api/images?${query({ weights, name })}`, { method: "POST", body: blob }).then((r) => r.json());

export const openLabelled = (index, weights) =>
  ask(`/api/labelled/${index}?${query({ weights })}`, { method: "POST" }).then((r) => r.json());

export const labelledPicture = (index) =>
  ask(`/api/labelled/${index}/picture`).then((r) => r.blob());

export const asJpeg = (blob) => ask("/api/picture", { method: "POST", body: blob }).then((r) => r.blob());

export const group = (id, settings) => post(`/api/images/${id}/group`, { settings });

export const why = (id, settings, a, b) => post(`/api/images/${id}/why`, { settings, a, b });

export const layer = (id, head, channel) =>
  ask(`/api/images/${id}/layers/${head}?${query({ channel })}`).then((r) => r.blob());

export const file = (address) => ask(address).then((r) => r.blob());
