// Dresses one person's pose in another's clothes on iOS, with the files of `python -m export.tflite`.
//
// Podfile:  pod 'TensorFlowLiteSwift'   (2.14 or later: it has signature runners)
// In the app's bundle:  vunet_dynamic.tflite and, if there is one, drawing.tflite
//
// All pictures are [Float], rows from the top, RGB, [-1, 1], of the size in vunet.json, which lies beside the files. The app
// resizes them to this square. A pose is 15 joints in the order of vunet.json, pairs x, y as fractions of the picture, NaN
// where unseen; or a shape map, if there is no drawing.tflite. The names of inputs are read from the files.
//
// From a camera: give the landmarks of a pose estimator to `Square` and to its `pose`. To let a figure follow a person, keep
// the square of one frame for all frames, so that steps and jumps stay visible. MediaPipe gives fractions: multiply them by
// the picture's width and height. Landmarks that it is not sure of are NaN, but never shoulders and hips (11, 12, 23, 24):
// without one of them, half of the trunk is missing.

import Foundation
import TensorFlowLite

/// A square of a picture, in pixels. It may reach beyond the picture.
struct Square {
  var left, top, side: Float

  /// The square around a person. `points`: x and y of each landmark in pixels of the picture, NaN where the estimator is not
  /// sure. `margin`: that of "photographs" in vunet.json.
  init?(around points: [Float], margin: Float) {
    let x = points.indices.filter { $0 % 2 == 0 }.map { points[$0] }.filter { !$0.isNaN }
    let y = points.indices.filter { $0 % 2 == 1 }.map { points[$0] }.filter { !$0.isNaN }
    guard let left = x.min(), let right = x.max(), let top = y.min(), let bottom = y.max() else { return nil }
    side = max(right - left, bottom - top) * (1 + 2 * margin)
    self.left = (left + right - side) / 2
    self.top = (top + bottom - side) / 2
  }

  /// The pose of these landmarks. `order`: the list of their schema in "keypoints" of vunet.json, such as "mediapipe33".
  func pose(points: [Float], order: [Int]) -> [Float] {
    order.flatMap { [(points[2 * $0] - left) / side, (points[2 * $0 + 1] - top) / side] }
  }
}

final class Dresser {
  private let model: Interpreter
  private let drawing: Interpreter?

  init(bundle: Bundle = .main, file: String = "vunet_dynamic", threads: Int = 2) throws {
    var options = Interpreter.Options()
    options.threadCount = threads
    options.isXNNPackEnabled = true
    guard let path = bundle.path(forResource: file, ofType: "tflite") else { throw CocoaError(.fileNoSuchFile) }
    model = try Interpreter(modelPath: path, options: options)
    drawing = try bundle.path(forResource: "drawing", ofType: "tflite").map {
      try Interpreter(modelPath: $0, options: options)
    }
  }

  /// The appearance of a person. Keep it, and use it for as many poses as you like.
  func looks(picture: [Float], pose: [Float]) throws -> [String: [Float]] {
    var seen = try shape(pose)
    seen["image"] = picture
    let wanted = try model.signatureRunner(with: "encode").inputs
    if wanted.contains("parts") {
      seen = try call(drawing!, "parts", ["image": picture, "joints": pose])
    }
    return try call(model, "encode", seen)
  }

  /// The picture of a pose with this appearance.
  func dress(looks: [String: [Float]], pose: [Float]) throws -> [Float] {
    try call(model, "generate", shape(pose).merging(looks) { first, _ in first })["image"]!
  }

  private func shape(_ pose: [Float]) throws -> [String: [Float]] {
    guard let drawing else { return ["shape": pose] }
    return try call(drawing, "stickman", ["joints": pose])
  }

  /// All outputs of a signature. Arrays of `known` that it does not take are left out.
  private func call(
    _ interpreter: Interpreter, _ signature: String, _ known: [String: [Float]]
  ) throws -> [String: [Float]] {
    let runner = try interpreter.signatureRunner(with: signature)
    let given = known.filter { runner.inputs.contains($0.key) }
    precondition(given.count == runner.inputs.count, "\(signature) needs \(runner.inputs)")
    try runner.invoke(with: given.mapValues { values in values.withUnsafeBufferPointer { Data(buffer: $0) } })
    var made: [String: [Float]] = [:]
    for name in runner.outputs {
      let data = try runner.output(named: name).data
      made[name] = data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
    }
    return made
  }
}
