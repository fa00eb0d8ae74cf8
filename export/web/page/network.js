// TFLite files, run by LiteRT.js.

import { loadAndCompile, loadLiteRt, Tensor } from "@litertjs/core";

const LITERT = "litert/core/wasm/litert_wasm_compat_internal.js";
let started = null;
let last = Promise.resolve(); // the call before this one: the tensors of two calls must not be mixed

/** A file of this page. Throws an Error that names it. */
export async function file(path) {
  const answer = await fetch(path).catch(() => null);
  if (!answer?.ok) throw lost(path);
  return answer;
}

function lost(path) {
  return new Error(`A file of this page did not load: ${path}. Load the page again. If that does not help, this file is missing on the server.`);
}

/**
 * The content of a TFLite file. Throws an Error if the server sent something else, as some do for a missing file.
 * @param loading is called with the number of bytes that have come, and of all bytes if the server tells (else NaN).
 */
async function model(path, loading) {
  const { body, headers } = await file(path);
  const size = headers.has("content-encoding") ? NaN : Number(headers.get("content-length") ?? NaN);
  const pieces = [];
  let come = 0;
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch(() => { throw lost(path); });
    if (done) break;
    pieces.push(value);
    loading(come += value.length, size);
  }
  const content = new Uint8Array(await new Blob(pieces).arrayBuffer());
  if (String.fromCharCode(...content.subarray(4, 8)) !== "TFL3") {
    throw new Error(`${path} is no model: the server sent something else. Put this file onto the server.`);
  }
  return content;
}

async function start() {
  await file(LITERT.replace(".js", ".wasm")); // without this, LiteRT.js would fail with a message about its own code
  self.Module = { printErr: () => {} }; // LiteRT reports every step as an error; real failures are thrown
  await loadLiteRt(LITERT).catch((error) => { throw error instanceof Error ? error : lost(LITERT); });
}

export class Network {
  /**
   * @param path of the TFLite file.
   * @param loading is called while it loads, see `model`.
   */
  static async load(path, loading = () => {}) {
    const content = model(path, loading);
    content.catch(() => {}); // reported below, also if LiteRT.js fails first
    await (started ??= start());
    const bytes = await content;
    const compiled = loadAndCompile(bytes, { accelerator: "wasm" });
    return new Network(await compiled.catch((error) => { throw new Error(`${path} is damaged: ${error.message}`); }));
  }

  constructor(compiled) {
    this.#compiled = compiled;
  }

  #compiled;

  /**
   * Calls it once no other call is under way.
   * @param inputs {name: [values, shape]}.
   * @param signature its name, where the file has any.
   * @returns {name of the output: its values}.
   */
  run(inputs, ...signature) {
    const done = last.then(() => this.#call(inputs, signature));
    last = done.catch(() => {});
    return done;
  }

  async #call(inputs, signature) {
    const given = {};
    let made = {};
    try {
      for (const [name, [values, shape]] of Object.entries(inputs)) given[name] = new Tensor(values, shape);
      made = await this.#compiled.run(...signature, given);
      const read = Object.entries(made).map(async ([name, tensor]) => [name, await tensor.data()]);
      return Object.fromEntries(await Promise.all(read));
    } finally {
      for (const tensor of [...Object.values(given), ...Object.values(made)]) tensor.delete();
    }
  }
}
