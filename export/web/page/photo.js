// A photograph of the user: it is read, its person is found, and the user corrects the joints by hand.

import { Pose } from "./pose.js";
import { seen, show, taken } from "./pixels.js";
import { Stage } from "./stage.js";

const MOST = 1024; // pixels: about the side at which a photograph is shown
const BY_HAND = "Drag all joints onto the person.";
const GROUND = "The background is taken too, and disturbs: choose a person before a plain, light wall.";

export class Photo {
  /** @param about page.json. */
  constructor(about) {
    this.#about = about.photographs;
    this.#by_hand = about.photographs.cutout === null ? BY_HAND : `${BY_HAND} ${GROUND}`;
    this.#pose = about.pose && new Pose(about);
    this.#required = about.skeleton.required;
    this.#dialog = document.getElementById("fit");
    this.#canvas = this.#dialog.querySelector("canvas");
    this.#found = document.getElementById("found");
    this.#stage = new Stage(this.#dialog.querySelector(".stage"), about.skeleton, () => {});
    document.getElementById("drawn").hidden = !about.drawn;
  }

  #about; #by_hand; #pose; #required; #dialog; #canvas; #found; #stage;
  #open = null; // the picture that the dialog shows

  /**
   * Shows a file and lets its person be found.
   * @param joints where they are to begin with, if they are not found.
   * @returns {canvas, joints, use: "appearance" or "pose"}, or null if the user gives up. Throws an Error for a file that is
   * no picture, and for weights that do not load.
   */
  async read(file, joints) {
    if (this.#dialog.open) return null; // another photograph was dropped while the dialog is open
    const image = await createImageBitmap(file).catch(() => {
      throw new Error(`${file.name} is no picture that this browser can read. Choose a JPEG, PNG or WebP file.`);
    });
    const picture = taken(image, MOST);
    image.close();
    this.#open = picture;
    this.#show(picture, null);
    this.#stage.joints = joints;
    this.#tell(this.#by_hand, false);
    this.#dialog.returnValue = "cancel";
    this.#dialog.showModal();
    const closed = new Promise((done) => this.#dialog.addEventListener("close", done, { once: true }));
    const finding = this.#pose ? this.#find(picture) : closed;
    await Promise.race([closed, finding.then(() => closed)]); // a user who cancels does not wait until the person is found
    this.#open = null;
    const use = this.#dialog.returnValue;
    return use === "cancel" ? null : { canvas: this.#canvas, joints: this.#stage.joints, use };
  }

  async #find(picture) {
    const by_hand = this.#stage.joints;
    this.#stage.joints = by_hand.map(() => null);
    this.#tell("Looking for the person …", true);
    const person = await this.#pose.person(picture).catch((error) => {
      if (this.#open === picture) this.#dialog.close();
      throw error;
    });
    if (this.#open !== picture) return;
    const box = this.#box(picture, person);
    const joints = person?.joints.map((joint) => joint && inside(joint, picture, box));
    const whole = joints && this.#required.every((joint) => joints[joint]);
    this.#show(picture, whole ? person : null);
    this.#stage.joints = whole ? joints : by_hand;
    this.#tell(whole
      ? "The person was found. Drag the joints that are not in their places."
      : `No person with shoulders and hips was found in this picture. ${this.#by_hand}`, false);
  }

  #tell(text, busy) {
    this.#found.textContent = text;
    this.#dialog.setAttribute("aria-busy", String(busy));
    for (const button of this.#dialog.querySelectorAll("button.use")) button.disabled = busy;
  }

  /** The rectangle of a picture that becomes the square, as in Python's Fitting. */
  #box({ width, height }, person) {
    const { fit, margin } = this.#about;
    if (fit === "person" && person) {
      const [left, top, wide, high] = person.box;
      const side = Math.round(Math.max(wide, high) * (1 + 2 * margin));
      return [Math.round(left + wide / 2 - side / 2), Math.round(top + high / 2 - side / 2), side, side];
    }
    if (fit === "stretch") return [0, 0, width, height];
    const side = fit === "crop" ? Math.min(width, height) : Math.max(width, height);
    return [Math.floor((width - side) / 2), Math.floor((height - side) / 2), side, side];
  }

  /** Shows the part of a picture that the model will see. If the run asks for it, the person is on one colour. */
  #show(picture, person) {
    const [left, top, width, height] = this.#box(picture, person);
    const side = Math.min(Math.max(width, height), MOST);
    const [across, down] = [width / side, height / side];
    const map = [across, 0, left + (across - 1) / 2, 0, down, top + (down - 1) / 2];
    const values = seen(picture, map, side, true).map((value) => value / 127.5 - 1);
    const { cutout } = this.#about;
    if (person && cutout !== null) {
      const cover = seen(person.mask, onto(person.to_picture, [across, 0, left, 0, down, top]), side, false);
      cover.forEach((weight, i) => {
        for (let at = 3 * i; at < 3 * i + 3; at++) values[at] = weight * values[at] + (1 - weight) * (cutout / 127.5 - 1);
      });
    }
    show(this.#canvas, values, side);
  }
}

/** Turns a point from fractions of a picture into fractions of a box in it; null outside. */
function inside([x, y], picture, [left, top, width, height]) {
  const point = [(x * picture.width - left) / width, (y * picture.height - top) / height];
  return point.every((part) => part >= 0 && part <= 1) ? point : null;
}

/**
 * The map from pixels of what is shown to pixels of a mask.
 * @param [a, b, c, d, e, f] the map from the mask to the picture; both count from the corner.
 * @param shown the map from what is shown to the picture: it only moves and stretches.
 */
function onto([a, b, c, d, e, f], [across, , left, , down, top]) {
  const scale = 1 / (a * e - b * d);
  const map = [
    e * scale * across, -b * scale * down, scale * (e * (left - c) - b * (top - f)),
    -d * scale * across, a * scale * down, scale * (a * (top - f) - d * (left - c)),
  ];
  // `seen` counts from the centre of the first pixel.
  return map.map((value, i) => (i % 3 === 2 ? value + (map[i - 2] + map[i - 1]) / 2 - 0.5 : value));
}
