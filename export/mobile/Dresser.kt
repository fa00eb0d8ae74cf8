// Dresses one person's pose in another's clothes on Android, with LiteRT and the files of `python -m export.tflite`.
//
// build.gradle.kts:  implementation("com.google.ai.edge.litert:litert:2.3.0")
// app/src/main/assets:  vunet_int8.tflite, drawing.tflite
//
// The sizes below are those of a 64 pixel model that sees body parts; vunet.json, made beside the files, says yours. All
// pictures are FloatArrays, rows from the top, RGB, [-1, 1]. Joints are 15 pairs x, y as fractions of the picture in the
// order of vunet.json, NaN where unseen.

import android.content.res.AssetManager
import android.graphics.Bitmap
import android.graphics.Color
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import kotlin.math.roundToInt

class Dresser(assets: AssetManager, private val size: Int = 64) : AutoCloseable {
    private val options = CompiledModel.Options(Accelerator.CPU)
    private val model = CompiledModel.create(assets, "vunet_int8.tflite", options)
    private val drawing = CompiledModel.create(assets, "drawing.tflite", options)

    /** The looks of a person: keep them, and dress as many poses as you like. */
    fun looks(picture: Bitmap, joints: FloatArray): Map<String, FloatArray> {
        val parts = drawing.call("parts", mapOf("image" to floats(picture), "joints" to joints), listOf("parts"))
        return model.call("encode", parts, listOf("z_0", "z_1"))
    }

    /** A pose in these looks. */
    fun dress(looks: Map<String, FloatArray>, joints: FloatArray): Bitmap {
        val shape = drawing.call("stickman", mapOf("joints" to joints), listOf("shape"))
        return bitmap(model.call("generate", shape + looks, listOf("image")).getValue("image"))
    }

    private fun CompiledModel.call(
        signature: String, inputs: Map<String, FloatArray>, outputs: List<String>,
    ): Map<String, FloatArray> {
        val given = inputs.mapValues { (name, value) -> createInputBuffer(name, signature).apply { writeFloat(value) } }
        val made = outputs.associateWith { createOutputBuffer(it, signature) }
        try {
            run(given, made, signature)
            return made.mapValues { (_, buffer) -> buffer.readFloat() }
        } finally {
            (given.values + made.values).forEach { it.close() }
        }
    }

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
        drawing.close()
    }
}
