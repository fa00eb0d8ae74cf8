// A photograph of the user's own: read, and its person's joints put in place by hand.

import { square } from "./pixels.js";
import { Stage } from "./stage.js";

export class Photo {
  /** @param about page.json. */
  constructor(about) {
    this.#dialog = document.getElementById("fit");
    this.#canvas = this.#dialog.querySelector("canvas");
    this.#stage = new Stage(this.#dialog.querySelector(".stage"), about.skeleton, () => {});
    document.getElementById("drawn").hidden = !about.drawn;
  }

  #dialog; #canvas; #stage;

  /**
   * Shows a file and lets its person be found.
   * @param joints where they are to begin with.
   * @returns {canvas, joints}, or null if the user gives up. Throws an Error for a file that is no picture.
   */
  async read(file, joints) {
    const picture = await createImageBitmap(file).catch(() => {
      throw new Error(`${file.name} is no picture that this browser can read. Choose a JPEG, PNG or WebP file.`);
    });
    square(picture, this.#canvas);
    picture.close();
    this.#stage.joints = joints;
    this.#dialog.returnValue = "cancel";
    this.#dialog.showModal();
    await new Promise((closed) => this.#dialog.addEventListener("close", closed, { once: true }));
    return this.#dialog.returnValue === "use" ? { canvas: this.#canvas, joints: this.#stage.joints } : null;
  }
}
