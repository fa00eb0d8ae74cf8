// The person in a photograph: BlazePose (arXiv 2006.10204). vunet_tf/body/blazepose.py has the same arithmetic and says
// where its numbers come from. The tests compare this file with it.

import { Network } from "./network.js";
import { seen } from "./pixels.js";

const [DETECTOR_SIDE, LANDMARK_SIDE, HEAT_SIDE] = [224, 256, 64]; // pixels
const GRIDS = [[28, 2], [14, 2], [7, 6]]; // the detector's anchors: side of each grid, and anchors at each position
const ANCHORS = GRIDS.flatMap(([side, count]) =>
  Array.from({ length: side * side * count }, (_, i) => Math.floor(i / count))
    .map((i) => [((i % side) + 0.5) / side, (Math.floor(i / side) + 0.5) / side]));
const LEAST = 0.5; // least score of a person, confidence of a joint, and heat that counts
const SAME_BOX = 0.3; // intersection over union: detections that overlap more show the same person
const SAME_PERSON = 0.5;
const STEP_BACK = 1.5; // if the detector finds nobody, it sees the picture so many times smaller
const ENLARGED = 1.25; // side of a region, divided by twice the distance from the hips to the region's rim
const NEAR = 0.07; // of a region's side: if the corners move less, the region is kept
const REACH = 3; // positions of the heat map around a landmark, on each side, that refine it
const [LANDMARKS, CENTRE, RIM] = [33, 33, 34]; // landmarks of the body, and the two that give a region

const sigmoid = (x) => 1 / (1 + Math.exp(-x));

export class Pose {
  /** @param about page.json. */
  constructor({ pose, skeleton }) {
    this.#about = pose;
    this.#required = skeleton.required;
  }

  #about; #required;
  #networks = null; // loaded when they are needed for the first time

  /**
   * The largest person of a picture {data, width, height, channels}, or null:
   * {joints: fractions of the picture, null where unseen; box: left, top, width and height in pixels; mask: a picture of one
   * channel, 1 inside; to_picture: the matrix from the mask to the picture}.
   */
  async person(picture) {
    this.#networks ??= Promise.all([this.#about.detector, this.#about.landmarks].map((path) => Network.load(path)));
    const networks = await this.#networks.catch((error) => {
      this.#networks = null;
      throw error;
    });
    let found = await this.#find(...networks, picture, 1);
    if (!found.length) found = await this.#find(...networks, picture, STEP_BACK);
    const area = ({ box: [, , width, height] }) => width * height;
    return found.reduce((largest, one) => (largest && area(largest) >= area(one) ? largest : one), null);
  }

  async #find(detector, landmarks, picture, step_back) {
    const found = [];
    for (const region of await regions(detector, picture, step_back)) {
      const first = await this.#look(landmarks, picture, region);
      const again = first && moved(region, first.next) >= NEAR ? await this.#look(landmarks, picture, first.next) : null;
      if (first) found.push(again ?? first);
    }
    const kept = [];
    for (const one of found.sort((a, b) => b.score - a.score)) {
      if (kept.every((surer) => overlap(one.box, surer.box) < SAME_PERSON)) kept.push(one);
    }
    return kept;
  }

  /** The person in a region; null if there is none. */
  async #look(network, picture, region) {
    const { width, height } = picture;
    const shown = seen(picture, region, LANDMARK_SIDE, true);
    const made = await run(network, LANDMARK_SIDE, shown.map((value) => Math.round(value) / 255));
    const { Identity: numbers, Identity_1: [score], Identity_2: mask, Identity_3: heat } = made;
    if (score < LEAST) return null;
    const points = [];
    const confidence = [];
    for (let i = 0; 5 * i < numbers.length; i++) {
      const [x, y, , ...sure] = numbers.subarray(5 * i, 5 * i + 5);
      const point = refined([x / LANDMARK_SIDE, y / LANDMARK_SIDE], heat, i, numbers.length / 5);
      points.push(through(region, point.map((part) => part * LANDMARK_SIDE)));
      confidence.push(Math.min(...sure.map(sigmoid)));
    }
    const joints = this.#about.landmark_of.map((landmark, joint) => {
      const [x, y] = [points[landmark][0] / width, points[landmark][1] / height];
      const counts = (confidence[landmark] >= LEAST || this.#required.includes(joint)) && x >= 0 && x <= 1 && y >= 0 && y <= 1;
      return counts ? [x, y] : null;
    });
    const sure = points.slice(0, LANDMARKS).filter((_, i) => confidence[i] >= LEAST);
    return {
      joints,
      score,
      box: sure.length ? around(sure, width, height) : [0, 0, 0, 0],
      mask: { data: mask.map(sigmoid), width: LANDMARK_SIDE, height: LANDMARK_SIDE, channels: 1 },
      to_picture: region,
      next: region_of(points[CENTRE], points[RIM]),
    };
  }
}

/** The result of a network for a picture. Bytes are rounded first: without that, joints moved by pixels. */
function run(network, side, values) {
  return network.run({ input_1: [values, [1, side, side, 3]] });
}

/** The regions with people, the surest first: matrices from the landmarks' input to the picture. */
async function regions(detector, picture, step_back) {
  const side = Math.max(picture.width, picture.height) * step_back;
  const corner = [(picture.width - side) / 2, (picture.height - side) / 2];
  const scale = side / DETECTOR_SIDE;
  const shown = seen(picture, [scale, 0, corner[0], 0, scale, corner[1]], DETECTOR_SIDE, false);
  const values = shown.map((value) => Math.round(value) / 127.5 - 1);
  const { Identity: boxes, Identity_1: logits } = await run(detector, DETECTOR_SIDE, values);
  const found = [];
  ANCHORS.forEach((anchor, i) => {
    const score = sigmoid(logits[i]);
    if (score < LEAST) return;
    // Centre, size and keypoints; all but the size are relative to the anchor.
    const [centre, size, ...keypoints] = Array.from({ length: 6 }, (_, k) => [0, 1].map((axis) =>
      boxes[12 * i + 2 * k + axis] / DETECTOR_SIDE + (k === 1 ? 0 : anchor[axis])));
    const box = [centre[0] - size[0] / 2, centre[1] - size[1] / 2, ...size];
    found.push({ score, box, ends: keypoints.slice(0, 2) }); // the middle of the hips, and the rim of the person
  });
  return distinct(found).map((ends) => region_of(...ends.map((end) => end.map((part, axis) => part * side + corner[axis]))));
}

/** Weighted non-maximum suppression: the mean ends of the detections that overlap with the surest one. */
function distinct(found) {
  const made = [];
  let left = found.sort((a, b) => b.score - a.score);
  while (left.length) {
    const common = left.filter((one) => one === left[0] || overlap(left[0].box, one.box) > SAME_BOX);
    left = left.filter((one) => !common.includes(one));
    const total = common.reduce((sum, { score }) => sum + score, 0);
    made.push([0, 1].map((end) => [0, 1].map((axis) =>
      common.reduce((sum, { score, ends }) => sum + score * ends[end][axis], 0) / total)));
  }
  return made;
}

/** The turned square in which a person stands upright: the matrix from the landmarks' input to the picture. */
function region_of(centre, rim) {
  const up = [0, 1].map((axis) => (rim[axis] - centre[axis]) * 2 * ENLARGED / LANDMARK_SIDE);
  const half = LANDMARK_SIDE / 2;
  return [
    -up[1], -up[0], centre[0] + (up[1] + up[0]) * half,
    up[0], -up[1], centre[1] - (up[0] - up[1]) * half,
  ];
}

/** The largest distance between the corners of two regions, as a fraction of the first one's side. */
function moved(first, second) {
  const corners = [[0, 0], [0, LANDMARK_SIDE], [LANDMARK_SIDE, 0], [LANDMARK_SIDE, LANDMARK_SIDE]];
  const difference = first.map((value, i) => second[i] - value);
  const far = Math.max(...corners.map((corner) => Math.hypot(...through(difference, corner))));
  return far / (Math.hypot(first[0], first[3]) * LANDMARK_SIDE);
}

/** A landmark moved to the centre of the heat around it, if any of this heat is high; fractions of the input. */
function refined(point, heat, number, count) {
  const at = point.map((part) => Math.floor(part * HEAT_SIDE));
  if (at.some((position) => position < 0 || position >= HEAT_SIDE)) return point;
  const [from, to] = [at.map((i) => Math.max(i - REACH, 0)), at.map((i) => Math.min(i + REACH, HEAT_SIDE - 1))];
  let [most, sum, x, y] = [0, 0, 0, 0];
  for (let row = from[1]; row <= to[1]; row++) {
    for (let column = from[0]; column <= to[0]; column++) {
      const warmth = sigmoid(heat[(row * HEAT_SIDE + column) * count + number]);
      most = Math.max(most, warmth);
      sum += warmth;
      x += warmth * column;
      y += warmth * row;
    }
  }
  return most < LEAST ? point : [x / sum / HEAT_SIDE, y / sum / HEAT_SIDE];
}

function through([a, b, c, d, e, f], [x, y]) {
  return [a * x + b * y + c, d * x + e * y + f];
}

/** Left, top, width and height of the box around points, clipped to the picture. */
function around(points, width, height) {
  const inside = (axis, most) => points.map((point) => Math.min(Math.max(point[axis], 0), most));
  const [x, y] = [inside(0, width), inside(1, height)];
  const [left, top] = [Math.min(...x), Math.min(...y)];
  return [left, top, Math.max(...x) - left, Math.max(...y) - top];
}

/** Intersection over union of two boxes. */
function overlap(a, b) {
  const common = [0, 1].map((axis) =>
    Math.max(Math.min(a[axis] + a[axis + 2], b[axis] + b[axis + 2]) - Math.max(a[axis], b[axis]), 0));
  const both = common[0] * common[1];
  return both / Math.max(a[2] * a[3] + b[2] * b[3] - both, 1e-9);
}
