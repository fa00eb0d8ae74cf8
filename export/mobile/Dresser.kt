// Dresses one person's pose in another's clothes on Android, with LiteRT and the files of `python -m export.tflite`.
//
// build.gradle.kts:  implementation("com.google.ai.edge.litert:litert:2.3.0")
// app/src/main/assets:  vunet_dynamic.tflite, vunet.json and, if there is one, drawing.tflite
//
// vunet.json says what the model takes, and the sizes. A pose here is the model's shape: 15 joints in the order of
// vunet.json, pairs x, y as fractions of the picture, NaN where unseen; or a shape map, if the model has no joints. A
// bitmap of any size is stretched to the model's square. Inside, pictures and shape maps are FloatArrays, rows from the
// top, [-1, 1].
//
// From a camera: give the landmarks of a pose estimator (MediaPipe, ML Kit, MoveNet) to `square` and `pose`. To let a
// figure follow a person, keep the square of one frame for all frames, so that steps and jumps stay visible. MediaPipe
// gives fractions of the picture:
//
//     val points = FloatArray(66) { i ->
//         val mark = result.landmarks()[0][i / 2]
//         val sure = i / 2 in Dresser.ALWAYS || mark.visibility().orElse(0f) >= 0.5f
//         if (!sure) Float.NaN else if (i % 2 == 0) mark.x() * width else mark.y() * height
//     }
//
// A photograph that shows the clothes is cropped with `crop`, after its background was painted in the grey level "cutout"
// of "photographs" in vunet.json, if this is a number. Bitmaps must not be of the kind HARDWARE.

import android.content.res.AssetManager
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import com.google.ai.edge.litert.TensorBuffer
import kotlin.math.roundToInt
import org.json.JSONObject

class Dresser(assets: AssetManager, file: String = "vunet_dynamic.tflite") : AutoCloseable {
    private val about = JSONObject(assets.open("vunet.json").bufferedReader().use { it.readText() })
    private val size = about.getInt("image_size")
    private val feeding = about.getJSONObject("feeding")
    private val model = Graph(assets, file, feeding)
    private val drawing = feeding.optJSONObject("drawing.tflite")?.let { Graph(assets, "drawing.tflite", it) }

    /** The appearance of a person. Keep it, and use it for as many poses as you like. */
    fun looks(picture: Bitmap, pose: FloatArray): Map<String, FloatArray> {
        val seen = shape(pose) + ("image" to floats(picture))
        val cuts = "parts" in model.shapes("encode", "inputs")
        return model.call("encode", if (cuts) mapOf("parts" to cut(seen.getValue("image"), pose)) else seen)
    }

    /** The picture of a pose with this appearance. */
    fun dress(looks: Map<String, FloatArray>, pose: FloatArray): Bitmap =
        bitmap(model.call("generate", shape(pose) + looks).getValue("image"))

    /**
     * The square around a person, with the margin of the training pictures.
     *
     * @param points x and y of each landmark in pixels of the picture, NaN where the estimator is not sure. Shoulders and
     *     hips always count as seen: without one of them, half of the trunk is missing.
     */
    fun square(points: FloatArray): Square {
        fun range(axis: Int): Pair<Float, Float> {
            val values = points.filterIndexed { i, value -> i % 2 == axis && !value.isNaN() }
            require(values.isNotEmpty()) { "no landmark is seen" }
            return Pair(values.fold(values[0]) { a, b -> minOf(a, b) }, values.fold(values[0]) { a, b -> maxOf(a, b) })
        }
        val (left, right) = range(0)
        val (top, bottom) = range(1)
        val margin = about.getJSONObject("photographs").getDouble("margin").toFloat()
        val side = maxOf(right - left, bottom - top) * (1f + 2f * margin)
        return Square((left + right - side) / 2f, (top + bottom - side) / 2f, side)
    }

    /** The pose of these landmarks in a square. Their order is a key of "keypoints" in vunet.json. */
    fun pose(points: FloatArray, square: Square, schema: String = "mediapipe33"): FloatArray {
        val order = about.getJSONObject("keypoints").getJSONArray(schema)
        return FloatArray(2 * order.length()) { i ->
            val start = if (i % 2 == 0) square.left else square.top
            (points[2 * order.getInt(i / 2) + i % 2] - start) / square.side
        }
    }

    /** A square of a photograph, for `looks`. What lies outside of it gets the grey level "cutout", else white. */
    fun crop(picture: Bitmap, square: Square): Bitmap {
        val side = square.side.roundToInt()
        val made = Bitmap.createBitmap(side, side, Bitmap.Config.ARGB_8888)
        val canvas = Canvas(made)
        val fitting = about.getJSONObject("photographs")
        val grey = if (fitting.isNull("cutout")) 255 else fitting.getInt("cutout")
        canvas.drawColor(Color.rgb(grey, grey, grey))
        canvas.drawBitmap(picture, -square.left, -square.top, null)
        return made
    }

    /** An appearance with one region of another one: "head", "torso", "arms", "legs" or "background". */
    fun mix(mine: Map<String, FloatArray>, other: Map<String, FloatArray>, region: String): Map<String, FloatArray> {
        val (name, codes) = mine.entries.single()
        val rows = about.getJSONObject("regions").getJSONArray(region)
        val width = about.getJSONArray("latents").getJSONArray(0).getInt(1)
        val mixed = codes.copyOf()
        for (i in 0 until rows.length()) {
            val start = rows.getInt(i) * width
            other.getValue(name).copyInto(mixed, start, start, start + width)
        }
        return mapOf(name to mixed)
    }

    private fun shape(pose: FloatArray): Map<String, FloatArray> =
        drawing?.call("stickman", mapOf("joints" to pose)) ?: mapOf("shape" to pose)

    private fun cut(image: FloatArray, joints: FloatArray): FloatArray =
        drawing!!.call("parts", mapOf("image" to image, "joints" to joints)).getValue("parts")

    private fun floats(picture: Bitmap): FloatArray {
        var smaller = picture
        // Android's filter looks at 2 x 2 pixels, so a large picture is halved until it is near the size.
        while (minOf(smaller.width, smaller.height) >= 2 * size) {
            smaller = Bitmap.createScaledBitmap(smaller, smaller.width / 2, smaller.height / 2, true)
        }
        val pixels = IntArray(size * size)
        Bitmap.createScaledBitmap(smaller, size, size, true).getPixels(pixels, 0, size, 0, 0, size, size)
        return FloatArray(3 * pixels.size) { i ->
            val pixel = pixels[i / 3]
            val byte = when (i % 3) { 0 -> Color.red(pixel); 1 -> Color.green(pixel); else -> Color.blue(pixel) }
            byte / 127.5f - 1f
        }
    }

    private fun bitmap(image: FloatArray): Bitmap {
        fun byte(i: Int) = ((image[i] + 1f) * 127.5f).roundToInt().coerceIn(0, 255)
        val pixels = IntArray(size * size) { Color.rgb(byte(3 * it), byte(3 * it + 1), byte(3 * it + 2)) }
        return Bitmap.createBitmap(pixels, size, size, Bitmap.Config.ARGB_8888)
    }

    override fun close() {
        model.close()
        drawing?.close()
    }

    companion object {
        /** MediaPipe's landmarks of shoulders and hips. */
        val ALWAYS = setOf(11, 12, 23, 24)
    }
}

/** A square of a picture, in pixels. It may reach beyond the picture. */
class Square(val left: Float, val top: Float, val side: Float)

/** A file and what vunet.json says about its signatures. The buffers of a signature are made once, and kept. */
private class Graph(assets: AssetManager, file: String, private val signatures: JSONObject) : AutoCloseable {
    private val compiled = CompiledModel.create(assets, file, CompiledModel.Options(Accelerator.CPU))
    private val sizes = HashMap<String, Map<String, Int>>()
    private val buffers = HashMap<String, Pair<Map<String, TensorBuffer>, Map<String, TensorBuffer>>>()

    /** How many numbers each input or output of a signature has. */
    fun shapes(signature: String, side: String): Map<String, Int> {
        val tensors = signatures.getJSONObject(signature).getJSONObject(side)
        return tensors.keys().asSequence().associateWith { name ->
            val shape = tensors.getJSONObject(name).getJSONArray("shape")
            (0 until shape.length()).fold(1) { product, i -> product * shape.getInt(i) }
        }
    }

    /** All outputs of a signature. Arrays of `known` that it does not take are left out. */
    fun call(signature: String, known: Map<String, FloatArray>): Map<String, FloatArray> {
        val counts = sizes.getOrPut(signature) { shapes(signature, "inputs") }
        for ((name, count) in counts) {
            // LiteRT itself accepts arrays of any size.
            val value = requireNotNull(known[name]) { "$signature needs $name" }
            require(value.size == count) { "$name of $signature must have $count numbers, it has ${value.size}" }
        }
        val (given, made) = buffers.getOrPut(signature) {
            Pair(
                counts.mapValues { (name, _) -> compiled.createInputBuffer(name, signature) },
                shapes(signature, "outputs").mapValues { (name, _) -> compiled.createOutputBuffer(name, signature) }
            )
        }
        for ((name, buffer) in given) buffer.writeFloat(known.getValue(name))
        compiled.run(given, made, signature)
        return made.mapValues { (_, buffer) -> buffer.readFloat() }
    }

    override fun close() {
        buffers.values.forEach { (given, made) -> (given.values + made.values).forEach { it.close() } }
        compiled.close()
    }
}
