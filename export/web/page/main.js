// The page: it connects model, skeleton and appearances, and paints what has changed.

import { Model } from "./model.js";
import { between, danced } from "./motion.js";
import { file } from "./network.js";
import { Photo } from "./photo.js";
import { read, show } from "./pixels.js";
import { Stage } from "./stage.js";
import { called, Wardrobe } from "./wardrobe.js";

const element = (id) => document.getElementById(id);
const MORPH = 350; // milliseconds from one pose to the next
const MAPS_A_SECOND = 8; // speed at which shape maps are played
const SHOWN = 30; // number of frames over which the time is averaged
const DOWNLOAD = 512; // pixels: about the side of a picture that is saved

/**
 * What is painted, {joints, z}, how often, and the milliseconds of the last pictures. `painting`: another picture will
 * follow; `busy`: a picture is being made now. Tests read this.
 */
export const state = { shown: null, frames: 0, painting: false, busy: false, times: [] };

function tell(text) {
  element("message").textContent = text;
  element("message").hidden = !text;
}

/** A function for events. Its errors are shown to the user. */
function told(work) {
  return async (...given) => {
    try {
      tell("");
      await work(...given);
    } catch (error) {
      tell(error.message);
    }
  };
}

async function start() {
  const about = await (await file("page.json")).json();
  element("name").textContent = about.name;
  const loaded = element("loaded");
  const model = await Model.load(about, (come, all) => {
    const megabytes = ((all || come) / 1e6).toFixed(1);
    loaded.textContent = all ? `${Math.floor((100 * come) / all)} % of ${megabytes} MB` : `${megabytes} MB`;
  });
  const joints = about.skeleton !== null;
  const stage = joints ? new Stage(element("stage"), about.skeleton, () => { stop(); repaint(); }) : null;
  let map = null; // the shape map that is shown, if there are no joints
  let play = null; // a function that changes the shape over time; it takes the seconds since it began

  const shape = () => (joints ? model.stickman(stage.joints) : map);
  const draw = async (canvas, z) => show(canvas, await model.generate(await shape(), z), model.size);

  // Painting: at most one picture is made at a time, and only if something has changed.
  let asked = false;
  let began = 0;
  function repaint() {
    asked = true;
    if (!state.painting) requestAnimationFrame(paint);
    state.painting = true;
  }
  async function paint(now) {
    asked = false;
    if (play) {
      began ||= now;
      asked = play((now - began) / 1000) !== false;
      if (!asked) stop();
    }
    const from = performance.now();
    state.busy = true;
    try {
      const shown = { joints: stage?.joints, z: wardrobe.z };
      await draw(element("picture"), shown.z);
      state.shown = shown;
      state.frames++;
      speed(performance.now() - from, now);
    } catch (error) {
      tell(error.message);
    }
    state.busy = false;
    if (asked) requestAnimationFrame(paint);
    else state.painting = false;
  }
  let last = 0;
  function speed(milliseconds, now) {
    state.times = [...state.times.slice(1 - SHOWN), milliseconds];
    const mean = state.times.reduce((sum, time) => sum + time) / state.times.length;
    const rate = play && last ? `, ${Math.round(1000 / (now - last))} frames/s` : "";
    last = play ? now : 0;
    element("speed").textContent = `${mean.toFixed(1)} ms a picture${rate}`;
  }

  function run(step) {
    stop();
    play = step;
    repaint();
  }
  function stop() {
    play = null;
    began = last = 0;
    element("dance").setAttribute("aria-pressed", "false");
  }

  // Shapes
  const maps = [];
  function pose(to) {
    const from = stage.joints;
    const length = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : MORPH / 1000;
    run((seconds) => {
      const weight = length ? Math.min(seconds / length, 1) : 1;
      stage.joints = between(from, to, weight * weight * (3 - 2 * weight));
      return weight < 1;
    });
  }
  function choose(i) {
    stop();
    map = maps[i];
    repaint();
  }
  function offer(picture, label, clicked) {
    const button = element("shapes").appendChild(document.createElement("button"));
    button.type = "button";
    button.append(picture);
    button.setAttribute("aria-label", `${joints ? "pose" : "shape"} ${label}`);
    button.addEventListener("click", clicked);
    return button;
  }
  const images = about.shapes.map((shape, i) => {
    const image = new Image();
    image.src = shape.picture;
    offer(image, called(shape.label, i), () => (joints ? pose(shape.joints) : choose(i)));
    return image;
  });
  if (joints) {
    stage.joints = about.shapes[0].joints;
  } else {
    await Promise.all(images.map((image) => image.decode()));
    maps.push(...images.map((image) => read(image, model.size, about.shape_channels)));
    map = maps[0];
    element("shape-title").textContent = "Shape";
    element("shapes").setAttribute("aria-label", "Shapes to choose from");
    element("hint").textContent = "Choose a shape, and an appearance.";
    element("bones").parentElement.hidden = true;
    element("dance").textContent = "Play";
  }
  element("dance").addEventListener("click", () => {
    const pressed = element("dance").getAttribute("aria-pressed") === "true";
    if (pressed) return stop();
    const from = stage?.joints;
    run((seconds) => {
      if (joints) stage.joints = danced(from, seconds, about.skeleton);
      else map = maps[Math.floor(seconds * MAPS_A_SECOND) % maps.length];
    });
    element("dance").setAttribute("aria-pressed", "true");
  });
  element("bones").addEventListener("change", (event) => element("stage").classList.toggle("bare", !event.target.checked));

  // Appearances
  const wardrobe = new Wardrobe(about, repaint, told(draw));
  let sampled = 0;
  element("surprise").hidden = !model.can_sample;
  element("surprise").addEventListener("click", told(async () => {
    const made = await model.sample(await shape());
    const canvas = document.createElement("canvas");
    show(canvas, made.image, model.size);
    wardrobe.add(canvas, `new appearance ${++sampled}`, made.z)();
  }));
  element("photo").hidden = !joints;
  if (joints) {
    const photo = new Photo(about);
    const take = told(async (given) => {
      const found = await photo.read(given, stage.joints);
      if (!found) return;
      if (found.use === "pose") {
        const canvas = document.createElement("canvas");
        show(canvas, await model.stickman(found.joints), model.size);
        offer(canvas, `of ${given.name}`, () => pose(found.joints)).scrollIntoView({ block: "nearest", inline: "nearest" });
        pose(found.joints);
        return;
      }
      const picture = read(found.canvas, model.size, 3);
      const z = await model.encode(picture, found.joints);
      const canvas = document.createElement("canvas");
      show(canvas, picture, model.size);
      wardrobe.add(canvas, `photograph ${given.name}`, z)();
    });
    const input = element("photo").querySelector("input");
    input.addEventListener("change", () => {
      if (input.files.length) take(input.files[0]);
      input.value = ""; // the same file can be chosen again
    });
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
    });
  }

  element("download").addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = model.size * Math.max(1, Math.round(DOWNLOAD / model.size));
    canvas.getContext("2d").drawImage(element("picture"), 0, 0, canvas.width, canvas.height);
    const link = document.createElement("a");
    link.href = canvas.toDataURL("image/png");
    link.download = "picture.png";
    link.click();
  });

  repaint();
  for (const control of document.querySelectorAll(".model")) control.disabled = false;
  element("waiting").remove();
  element("stage").setAttribute("aria-busy", "false");
}

start().catch((error) => {
  tell(error.message);
  element("waiting").textContent = "";
});
