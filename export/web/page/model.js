// The exported model: its signatures as functions on Float32Arrays.

import { Network } from "./network.js";

export class Model {
  /**
   * @param about content of page.json: sizes, and every signature's inputs and outputs.
   * @param loading is called while the weights load, with the bytes that have come and with all, NaN if this is unknown.
   */
  static async load(about, loading) {
    const drawing = about.skeleton ? [Network.load("model/drawing.tflite")] : [];
    return new Model(about, ...(await Promise.all([Network.load(about.weights, loading), ...drawing])));
  }

  constructor(about, weights, drawing) {
    this.about = about;
    this.size = about.image_size;
    this.can_sample = "sample" in about.feeding;
    this.#weights = weights;
    this.#drawing = drawing;
  }

  #weights;
  #drawing;

  /** The shape map of joints: pairs of fractions, null where unseen. */
  async stickman(joints) {
    return (await this.#draw("stickman", { joints: numbers(joints) })).shape;
  }

  /** The picture of a shape map with an appearance z (a list of arrays). */
  async generate(shape, z) {
    const latents = Object.fromEntries(z.map((values, i) => [`z_${i}`, values]));
    return (await this.#run("generate", { shape, ...latents })).image;
  }

  /** {image, z}: a new appearance for a shape map. */
  async sample(shape) {
    const noise = this.about.latents.map((sides, i) => [`noise_${i}`, normal(sides.reduce((a, b) => a * b))]);
    const made = await this.#run("sample", { shape, ...Object.fromEntries(noise) });
    return { image: made.image, z: this.#latents(made) };
  }

  /** The appearance z of a person in a picture, both in the model's range, with the person's joints. */
  async encode(image, joints) {
    const inputs = this.about.appearance === "parts"
      ? await this.#draw("parts", { image, joints: numbers(joints) })
      : { image, shape: await this.stickman(joints) };
    return this.#latents(await this.#run("encode", inputs));
  }

  #latents(made) {
    return this.about.latents.map((_, i) => made[`z_${i}`]);
  }

  #run(signature, inputs) {
    return this.#weights.run(shaped(inputs, this.about.feeding[signature]), signature);
  }

  #draw(signature, inputs) {
    return this.#drawing.run(shaped(inputs, this.about.feeding["drawing.tflite"][signature]), signature);
  }
}

/** The inputs of a signature, with their shapes from page.json. */
function shaped(inputs, { inputs: taken }) {
  return Object.fromEntries(Object.entries(taken).map(([name, { shape }]) => [name, [inputs[name], shape]]));
}

function numbers(joints) {
  if (!joints.some((joint) => joint?.every((part) => part >= 0 && part <= 1))) {
    throw new Error("No joint lies in the picture. Joints are pairs of fractions of its width and height, not pixels.");
  }
  return Float32Array.from(joints.flatMap((joint) => joint ?? [-1, -1]));
}

/** Standard normal numbers, by Box and Muller. */
function normal(count) {
  return Float32Array.from({ length: count }, () =>
    Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()));
}
