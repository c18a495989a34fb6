// A frame of a video file or of the camera, as a photo.

const dialog = document.getElementById("frames");
const title = document.getElementById("frames-title");
const player = document.getElementById("player");
const seek = document.getElementById("seek");
const seekLabel = document.getElementById("seek-label");
const seekValue = document.getElementById("seek-value");
const take = document.getElementById("take");

const CAMERA = {
  NotAllowedError: "the browser does not allow the camera; allow it for this address",
  NotFoundError: "there is no camera",
  NotReadableError: "the camera is in use by another program; close it and try again",
};

// Both return a promise of {blob, name}, of null if the person cancels.

export async function fromCamera() {
  if (!navigator.mediaDevices) throw new Error("this browser gives no camera to pages without https; choose a photo instead");
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
  } catch (error) {
    throw new Error(CAMERA[error.name] ?? `the camera does not start (${error.name})`);
  }
  player.srcObject = stream;
  await player.play();
  const frame = await choose("Take a picture", "Take picture", false, "camera.jpg");
  stream.getTracks().forEach((track) => track.stop());
  player.srcObject = null;
  return frame;
}

export async function fromVideo(file) {
  const address = URL.createObjectURL(file);
  try {
    await loaded(address, file.name);
    seek.max = player.duration || 0;
    seek.value = 0;
    seekValue.textContent = "0.0 s";
    return await choose("Choose a frame", "Use this frame", true, () => `${file.name.replace(/\.[^.]*$/, "")}-${player.currentTime.toFixed(2)}s.jpg`);
  } finally {
    player.removeAttribute("src");
    player.load();
    URL.revokeObjectURL(address);
  }
}

function loaded(address, name) {
  return new Promise((resolve, reject) => {
    const fail = () => reject(new Error(`${name} has no frame that this browser can show; try MP4 (H.264) or WebM`));
    player.onloadeddata = () => (player.videoWidth ? resolve() : fail());
    player.onerror = fail;
    player.src = address;
  });
}

function choose(heading, button, seekable, name) {
  title.textContent = heading;
  take.textContent = button;
  seekLabel.hidden = !seekable;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    seek.oninput = () => {
      player.currentTime = Number(seek.value);
      seekValue.textContent = `${Number(seek.value).toFixed(1)} s`;
    };
    document.getElementById("cancel").onclick = () => dialog.close("");
    take.onclick = () => dialog.close("take");
    dialog.onclose = async () => {
      if (dialog.returnValue !== "take") return resolve(null);
      resolve({ blob: await grabbed(), name: typeof name === "string" ? name : name() });
    };
  });
}

async function grabbed() {
  if (player.seeking) await new Promise((resolve) => player.addEventListener("seeked", resolve, { once: true }));
  const canvas = document.createElement("canvas");
  canvas.width = player.videoWidth;
  canvas.height = player.videoHeight;
  canvas.getContext("2d").drawImage(player, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
}
