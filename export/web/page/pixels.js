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
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.fillStyle = "white"; // under transparent pixels
  context.fillRect(0, 0, size, size);
  context.drawImage(picture, 0, 0, size, size);
  const { data } = context.getImageData(0, 0, size, size);
  const values = new Float32Array(size * size * channels);
  for (let pixel = 0, to = 0; pixel < size * size; pixel++) {
    for (let channel = 0; channel < channels; channel++, to++) values[to] = data[4 * pixel + channel] / 127.5 - 1;
  }
  return values;
}

/** A picture of any size on a square canvas, its longer side fitted, its edge repeated beyond it. */
export function square(picture, canvas) {
  const { width, height } = picture;
  const side = Math.max(width, height);
  canvas.width = canvas.height = Math.min(side, 1024);
  const context = canvas.getContext("2d");
  const scale = canvas.width / side;
  const [left, top] = [Math.floor((side - width) / 2) * scale, Math.floor((side - height) / 2) * scale];
  const [wide, high] = [width * scale, height * scale];
  if (width < height) {
    context.drawImage(picture, 0, 0, 1, height, 0, 0, left + 1, high);
    context.drawImage(picture, width - 1, 0, 1, height, left + wide - 1, 0, canvas.width - left - wide + 1, high);
  } else if (height < width) {
    context.drawImage(picture, 0, 0, width, 1, 0, 0, wide, top + 1);
    context.drawImage(picture, 0, height - 1, width, 1, 0, top + high - 1, wide, canvas.height - top - high + 1);
  }
  context.drawImage(picture, left, top, wide, high);
}
