// The exported model, run by LiteRT.js: what its signatures do, on Float32Arrays.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

const LITERT = "litert/core/wasm/litert_wasm_compat_internal.js";

/** A file of this page. Throws an Error that names it. */
export async function file(path) {
  const answer = await fetch(path).catch(() => null);
  if (!answer?.ok) throw lost(path);
  return answer;
}

function lost(path) {
  return new Error(`A file of this page did not load: ${path}. Make the page again, or load it again.`);
}

export class Model {
  /** @param about what page.json says: sizes, and every signature's inputs and outputs. */
  static async load(about) {
    const bytes = async (path) => new Uint8Array(await (await file(path)).arrayBuffer());
    const names = about.skeleton ? [about.weights, "model/drawing.tflite"] : [about.weights];
    const contents = Promise.all(names.map(bytes));
    contents.catch(() => {}); // told below, also where LiteRT.js fails first
    await file(LITERT.replace(".js", ".wasm")); // LiteRT.js would fail with a word about its own inside
    self.Module = { printErr: () => {} }; // LiteRT tells of its every step as an error; what fails is thrown
    await loadLiteRt(LITERT).catch((error) => { throw error instanceof Error ? error : lost(LITERT); });
    const [weights, drawing] = await Promise.all(
      (await contents).map((content) => loadAndCompile(content, { accelerator: "wasm" })),
    );
    return new Model(about, weights, drawing);
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
  #last = Promise.resolve();

  /** The shape map of joints: pairs of fractions, null where unseen. */
  async stickman(joints) {
    const inputs = { joints: this.#joints(joints) };
    return (await this.#run(this.#drawing, this.about.feeding["drawing.tflite"].stickman, "stickman", inputs)).shape;
  }

  /** The picture of a shape map with an appearance z, a list of arrays. */
  async generate(shape, z) {
    const latents = Object.fromEntries(z.map((values, i) => [`z_${i}`, values]));
    return (await this.#run(this.#weights, this.about.feeding.generate, "generate", { shape, ...latents })).image;
  }

  /** {image, z}: a new appearance for a shape map. */
  async sample(shape) {
    const noise = this.about.latents.map((sides, i) => [`noise_${i}`, normal(sides.reduce((a, b) => a * b))]);
    const inputs = { shape, ...Object.fromEntries(noise) };
    const made = await this.#run(this.#weights, this.about.feeding.sample, "sample", inputs);
    return { image: made.image, z: this.#latents(made) };
  }

  /** The appearance z of a person in a picture, both in the model's range, with the person's joints. */
  async encode(image, joints) {
    let inputs = { image, shape: await this.stickman(joints) };
    if (this.about.appearance === "parts") {
      const given = { image, joints: this.#joints(joints) };
      inputs = await this.#run(this.#drawing, this.about.feeding["drawing.tflite"].parts, "parts", given);
    }
    return this.#latents(await this.#run(this.#weights, this.about.feeding.encode, "encode", inputs));
  }

  #joints(joints) {
    return Float32Array.from(joints.flatMap((joint) => joint ?? [-1, -1]));
  }

  #latents(made) {
    return this.about.latents.map((_, i) => made[`z_${i}`]);
  }

  // One call after the other: the tensors of two must not be mixed.
  #run(compiled, fed, signature, inputs) {
    const done = this.#last.then(() => this.#call(compiled, fed, signature, inputs));
    this.#last = done.catch(() => {});
    return done;
  }

  async #call(compiled, fed, signature, inputs) {
    const given = {};
    let made = {};
    try {
      for (const [name, { shape }] of Object.entries(fed.inputs)) given[name] = new Tensor(inputs[name], shape);
      made = await compiled.run(signature, given);
      const read = Object.entries(made).map(async ([name, tensor]) => [name, await tensor.data()]);
      return Object.fromEntries(await Promise.all(read));
    } finally {
      for (const tensor of [...Object.values(given), ...Object.values(made)]) tensor.delete();
    }
  }
}

/** Standard normal numbers, by Box and Muller. */
function normal(count) {
  return Float32Array.from({ length: count }, () =>
    Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()));
}
