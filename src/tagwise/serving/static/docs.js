// The page of the JSON API: its theme, and the form that tries it.

let theme = "auto";
try { theme = localStorage.getItem("tagwise-theme") ?? "auto"; } catch { /* private window */ }
const dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
document.documentElement.toggleAttribute("data-dark", dark);

const answer = document.getElementById("answer");

document.getElementById("image").addEventListener("change", async (event) => {
  const file = event.target.files[0];
  if (!file) return;
  answer.textContent = "running the network";
  try {
    const response = await fetch(`/predict?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });
    answer.textContent = `${response.status}\n${JSON.stringify(await response.json(), null, 1).slice(0, 6000)}`;
  } catch {
    answer.textContent = "the server does not answer";
  }
});
