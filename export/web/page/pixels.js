// Pictures between canvases and the model's range: byte = round((value + 1) * 127.5).

/** Shows values in [-1, 1] of a picture [size, size, 3] on a canvas, at one pixel for each. */
export function show(canvas, values, size) {
  const image = new ImageData(size, size);
  for (let from = 0, to = 0; from < values.length; to++) {
    for (let channel = 0; channel < 3; channel++, from++, to++) image.data[to] = (values[from] + 1) * 127.5;
    image.data[to] = 255;
  }
  canvas.width = canvas.height = size;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** The values in [-1, 1] of a square picture, with the first `channels` of its channels. */
export function read(picture, size, channels) {
  const context = blank(size, size);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, size, size);
  const { data } = context.getImageData(0, 0, size, size);
  const values = new Float32Array(size * size * channels);
  for (let pixel = 0, to = 0; pixel < size * size; pixel++) {
    for (let channel = 0; channel < channels; channel++, to++) values[to] = data[4 * pixel + channel] / 127.5 - 1;
  }
  return values;
}

/** The pixels of an image, {data, width, height, channels}, made smaller to at most `most` a side; transparency is white. */
export function taken(image, most) {
  const scale = Math.min(1, most / Math.max(image.width, image.height));
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * scale)));
  const context = blank(width, height);
  context.drawImage(image, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return { data: data.filter((_, i) => i % 4 < 3), width, height, channels: 3 };
}

/**
 * A picture {data, width, height, channels} seen through a map, [side, side, channels]. A large one is made smaller first,
 * so that no pixel is skipped. It is bilinear, with positions counted from the centre of the first pixel.
 * @param matrix the map from a point of the result to a point of the picture: two rows of three numbers.
 * @param repeated whether the picture's edge is repeated outside of it; otherwise it is 0 there.
 */
export function seen(picture, matrix, side, repeated) {
  const factor = Math.floor(Math.hypot(matrix[0], matrix[3]));
  if (factor > 1) {
    const small = smaller(picture, factor);
    const scales = [small.width / picture.width, small.height / picture.height];
    return seen(small, matrix.map((value, i) => value * scales[i < 3 ? 0 : 1]), side, repeated);
  }
  const { data, width, height, channels } = picture;
  const made = new Float32Array(side * side * channels);
  const [a, b, c, d, e, f] = matrix;
  for (let v = 0, to = 0; v < side; v++) {
    for (let u = 0; u < side; u++, to += channels) {
      const [x, y] = [a * u + b * v + c, d * u + e * v + f];
      const [left, top] = [Math.floor(x), Math.floor(y)];
      for (let corner = 0; corner < 4; corner++) {
        const [column, row] = [left + (corner & 1), top + (corner >> 1)];
        const [across, down] = [clamped(column, width), clamped(row, height)];
        if (!repeated && (across !== column || down !== row)) continue;
        const weight = (1 - Math.abs(x - column)) * (1 - Math.abs(y - row));
        for (let k = 0; k < channels; k++) made[to + k] += weight * data[(down * width + across) * channels + k];
      }
    }
  }
  return made;
}

/** A picture made smaller by about a factor: its pixels are the means of the pixels that they cover. */
function smaller({ data, width, height, channels }, factor) {
  const [wide, high] = [width, height].map((side) => Math.max(1, Math.floor(side / factor)));
  const [across, down] = [width / wide, height / high];
  const covered = (position, pixel, size) => Math.min(pixel + 1, (position + 1) * size) - Math.max(pixel, position * size);
  const made = new Float32Array(wide * high * channels);
  for (let v = 0, to = 0; v < high; v++) {
    for (let u = 0; u < wide; u++, to += channels) {
      for (let y = Math.floor(v * down); y < Math.min((v + 1) * down, height); y++) {
        for (let x = Math.floor(u * across); x < Math.min((u + 1) * across, width); x++) {
          const weight = covered(u, x, across) * covered(v, y, down) / (across * down);
          for (let k = 0; k < channels; k++) made[to + k] += weight * data[(y * width + x) * channels + k];
        }
      }
    }
  }
  return { data: data.constructor.from(made), width: wide, height: high, channels }; // bytes are rounded
}

function clamped(position, length) {
  return Math.min(Math.max(position, 0), length - 1);
}

function blank(width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // under transparent pixels
  context.fillRect(0, 0, width, height);
  return context;
}
