// Dresses one person's pose in another's clothes on Android, with LiteRT and the files of `python -m export.tflite`.
//
// build.gradle.kts:  implementation("com.google.ai.edge.litert:litert:2.3.0")
// app/src/main/assets:  vunet_int8.tflite, vunet.json and, if there is one, drawing.tflite
//
// vunet.json says what the model takes, and the sizes. A pose here is the model's shape: 15 joints in the order of
// vunet.json, pairs x, y as fractions of the picture, NaN where unseen; or a shape map, if the model has no joints. A
// bitmap of any size is stretched to the model's square. Inside, pictures and shape maps are FloatArrays, rows from the
// top, [-1, 1].

import android.content.res.AssetManager
import android.graphics.Bitmap
import android.graphics.Color
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import kotlin.math.roundToInt
import org.json.JSONObject

class Dresser(assets: AssetManager, file: String = "vunet_int8.tflite") : AutoCloseable {
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

    private fun shape(pose: FloatArray): Map<String, FloatArray> =
        drawing?.call("stickman", mapOf("joints" to pose)) ?: mapOf("shape" to pose)

    private fun cut(image: FloatArray, joints: FloatArray): FloatArray =
        drawing!!.call("parts", mapOf("image" to image, "joints" to joints)).getValue("parts")

    private fun floats(picture: Bitmap): FloatArray {
        val pixels = IntArray(size * size)
        Bitmap.createScaledBitmap(picture, size, size, true).getPixels(pixels, 0, size, 0, 0, size, size)
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
}

/** A file and what vunet.json says about its signatures. */
private class Graph(assets: AssetManager, file: String, private val signatures: JSONObject) : AutoCloseable {
    private val compiled = CompiledModel.create(assets, file, CompiledModel.Options(Accelerator.CPU))

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
        val given = shapes(signature, "inputs").mapValues { (name, count) ->
            // LiteRT itself accepts arrays of any size.
            val value = requireNotNull(known[name]) { "$signature needs $name" }
            require(value.size == count) { "$name of $signature must have $count numbers, it has ${value.size}" }
            compiled.createInputBuffer(name, signature).apply { writeFloat(value) }
        }
        val made = shapes(signature, "outputs").mapValues { (name, _) -> compiled.createOutputBuffer(name, signature) }
        try {
            compiled.run(given, made, signature)
            return made.mapValues { (_, buffer) -> buffer.readFloat() }
        } finally {
            (given.values + made.values).forEach { it.close() }
        }
    }

    override fun close() = compiled.close()
}
