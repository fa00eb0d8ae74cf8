// The skeleton over a picture: joints that are dragged with mouse and touch, or moved with arrow keys.

const STEP = 0.01; // fraction of the picture's side for a press of an arrow key
const FAR = 0.05; // the same with Shift
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const SVG = "http://www.w3.org/2000/svg";

/** Joints of which one, and what hangs on it, moves by (x, y). The others stay. All stay in the picture. */
export function moved(joints, indices, x, y) {
  const points = indices.map((i) => joints[i]).filter(Boolean);
  const inside = (by, axis) => {
    const values = points.map((point) => point[axis]);
    return Math.min(Math.max(by, -Math.min(...values)), 1 - Math.max(...values));
  };
  const by = [inside(x, 0), inside(y, 1)];
  return joints.map((joint, i) => (joint && indices.includes(i) ? [joint[0] + by[0], joint[1] + by[1]] : joint));
}

export class Stage {
  /**
   * @param element holds the picture, and will hold the joints.
   * @param skeleton of page.json.
   * @param changed is called with the joints after every move.
   */
  constructor(element, skeleton, changed) {
    this.#element = element;
    this.#skeleton = skeleton;
    this.#changed = changed;
    this.#lines = element.appendChild(document.createElementNS(SVG, "svg"));
    this.#lines.setAttribute("viewBox", "0 0 100 100");
    this.#lines.setAttribute("aria-hidden", "true");
    const everything = skeleton.joints.map((_, i) => i);
    this.#handles = skeleton.joints.map(({ name, label, carries }, i) => this.#handle(name, label, [i, ...carries]));
    this.#whole = this.#handle("whole", "whole person", everything);
  }

  #element; #skeleton; #changed; #lines; #handles; #whole; #joints;

  get joints() {
    return this.#joints;
  }

  set joints(joints) {
    this.#joints = joints;
    this.#draw();
  }

  #handle(name, label, indices) {
    const handle = this.#element.appendChild(document.createElement("button"));
    handle.type = "button";
    handle.className = `joint ${name}`;
    handle.dataset.label = label;
    const move = (x, y) => {
      this.joints = moved(this.#joints, indices, x, y);
      this.#changed(this.#joints);
    };
    let last = null;
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      last = [event.clientX, event.clientY];
    });
    handle.addEventListener("pointermove", (event) => {
      if (!last) return;
      const side = this.#element.getBoundingClientRect().width;
      move((event.clientX - last[0]) / side, (event.clientY - last[1]) / side);
      last = [event.clientX, event.clientY];
    });
    for (const end of ["pointerup", "pointercancel"]) handle.addEventListener(end, () => { last = null; });
    handle.addEventListener("keydown", (event) => {
      const arrow = ARROWS[event.key];
      if (!arrow) return;
      event.preventDefault();
      const step = event.shiftKey ? FAR : STEP;
      move(arrow[0] * step, arrow[1] * step);
    });
    return handle;
  }

  #draw() {
    const { right, left, torso } = this.#skeleton;
    const at = (i) => this.#joints[i]?.map((part) => (100 * part).toFixed(2));
    const shown = (indices) => indices.every((i) => this.#joints[i]);
    const line = (side) => ([a, b]) => shown([a, b]) ? [`<path class="${side}" d="M${at(a)}L${at(b)}"/>`] : [];
    const body = shown(torso) ? [`<path class="torso" d="M${torso.map(at).join("L")}Z"/>`] : [];
    this.#lines.innerHTML = [...body, ...right.flatMap(line("right")), ...left.flatMap(line("left"))].join("");
    this.#handles.forEach((handle, i) => place(handle, this.#joints[i]));
    const corners = torso.map((i) => this.#joints[i]).filter(Boolean);
    const middle = [0, 1].map((axis) => corners.reduce((sum, corner) => sum + corner[axis], 0) / corners.length);
    place(this.#whole, corners.length ? middle : null);
  }
}

function place(handle, point) {
  handle.hidden = !point;
  if (!point) return;
  const [x, y] = point.map((part) => Math.round(100 * part));
  handle.style.left = `${100 * point[0]}%`;
  handle.style.top = `${100 * point[1]}%`;
  handle.setAttribute("aria-label", `${handle.dataset.label}: ${x} % from the left, ${y} % from the top`);
}
