// Dresses one person's pose in another's clothes on iOS, with the files of `python -m export.tflite`.
//
// Podfile:  pod 'TensorFlowLiteSwift'   (2.14 or later: it has signature runners)
// In the app's bundle:  vunet_int8.tflite, drawing.tflite
//
// All pictures are [Float], rows from the top, RGB, [-1, 1]; their size is in vunet.json, made beside the files. Joints
// are 15 pairs x, y as fractions of the picture in the order of vunet.json, NaN where unseen.

import Foundation
import TensorFlowLite

final class Dresser {
  private let model: Interpreter
  private let drawing: Interpreter

  init(bundle: Bundle = .main, threads: Int = 2) throws {
    var options = Interpreter.Options()
    options.threadCount = threads
    options.isXNNPackEnabled = true
    func open(_ name: String) throws -> Interpreter {
      guard let path = bundle.path(forResource: name, ofType: "tflite") else { throw CocoaError(.fileNoSuchFile) }
      return try Interpreter(modelPath: path, options: options)
    }
    model = try open("vunet_int8")
    drawing = try open("drawing")
  }

  /// The looks of a person: keep them, and dress as many poses as you like.
  func looks(picture: [Float], joints: [Float]) throws -> [String: [Float]] {
    let parts = try call(drawing, "parts", ["image": picture, "joints": joints])
    return try call(model, "encode", parts)
  }

  /// A pose in these looks: a picture.
  func dress(looks: [String: [Float]], joints: [Float]) throws -> [Float] {
    let shape = try call(drawing, "stickman", ["joints": joints])
    return try call(model, "generate", shape.merging(looks) { first, _ in first })["image"]!
  }

  private func call(
    _ interpreter: Interpreter, _ signature: String, _ inputs: [String: [Float]]
  ) throws -> [String: [Float]] {
    let runner = try interpreter.signatureRunner(with: signature)
    try runner.allocateTensors()
    for (name, values) in inputs {
      try runner.copy(values.withUnsafeBufferPointer { Data(buffer: $0) }, toInputNamed: name)
    }
    try runner.invoke()
    var made: [String: [Float]] = [:]
    for name in runner.outputs {
      let data = try runner.output(named: name).data
      made[name] = data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
    }
    return made
  }
}
