// Appearances: the choice, the two ends between which the picture lies, and the exchange of single parts.

const EVERYTHING = "everything";

/** What the i-th appearance or shape is called: its file, or its number if it is an example of a dataset ("valid:3"). */
export function called(label, i) {
  return /^\w+:\d+$/.test(label) ? `${i + 1}` : label;
}

export class Wardrobe {
  /**
   * @param about page.json.
   * @param changed is called after every change of the appearance.
   * @param draw shows z on a canvas.
   */
  constructor(about, changed, draw) {
    this.#about = about;
    this.#changed = changed;
    this.#draw = draw;
    this.#row = document.getElementById("appearances");
    this.#slots = [...document.querySelectorAll(".slot")];
    this.#slider = document.getElementById("blend");
    for (const [i, { label, picture, z }] of about.appearances.entries()) {
      const image = new Image();
      image.src = picture;
      this.add(image, `appearance ${called(label, i)}`, z.map((values) => Float32Array.from(values)));
    }
    this.#choices(document.getElementById("parts"));
    const [first] = this.#offered;
    this.#ends = [first, this.#offered[1] ?? first].map(({ z }) => z);
    this.#slots.forEach((slot, end) => {
      slot.addEventListener("click", () => this.#activate(end));
      this.#draw(slot.firstElementChild, this.#ends[end]);
    });
    this.#slider.addEventListener("input", () => this.#changed());
    first.button.setAttribute("aria-pressed", "true");
  }

  #about; #changed; #draw; #row; #slots; #slider; #ends;
  #offered = [];
  #active = 0; // the end that a click changes
  #scope = EVERYTHING;

  /** The appearance that is shown. */
  get z() {
    const weight = Number(this.#slider.value);
    const [first, second] = this.#ends;
    return first.map((values, scale) => values.map((value, i) => value + weight * (second[scale][i] - value)));
  }

  /** Offers an appearance, and returns what a click on it does. */
  add(picture, label, z) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", label);
    button.setAttribute("aria-pressed", "false");
    button.append(picture);
    const wear = () => this.#wear(button, z);
    button.addEventListener("click", wear);
    this.#row.append(button);
    this.#offered.push({ button, z });
    return () => {
      button.scrollIntoView({ block: "nearest", inline: "nearest" });
      wear();
    };
  }

  #wear(button, z) {
    this.#ends[this.#active] = this.#exchanged(this.#ends[this.#active], z);
    for (const offered of this.#offered) offered.button.setAttribute("aria-pressed", String(offered.button === button));
    this.#draw(this.#slots[this.#active].firstElementChild, this.#ends[this.#active]);
    this.#activate(this.#active);
  }

  #activate(end) {
    this.#active = end;
    this.#slider.value = end;
    this.#slots.forEach((slot, i) => slot.setAttribute("aria-pressed", String(i === end)));
    this.#changed();
  }

  /** An appearance with the codes of the chosen parts of another one. */
  #exchanged(mine, theirs) {
    if (this.#scope === EVERYTHING) return theirs;
    const [[parts, length]] = this.#about.latents;
    const codes = Float32Array.from(mine[0]);
    for (const part of this.#about.regions[this.#scope]) {
      if (part < parts) codes.set(theirs[0].subarray(part * length, (part + 1) * length), part * length);
    }
    return [codes];
  }

  #choices(fieldset) {
    const names = Object.keys(this.#about.regions);
    fieldset.hidden = !names.length;
    for (const name of [EVERYTHING, ...names]) {
      const label = fieldset.appendChild(document.createElement("label"));
      const radio = document.createElement("input");
      Object.assign(radio, { type: "radio", name: "part", value: name, checked: name === this.#scope });
      radio.addEventListener("change", () => { this.#scope = name; });
      label.append(radio, name);
    }
  }
}
