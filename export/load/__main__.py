r"""Sends many requests to an exported model. Are all answers right, is none lost, and does memory stay as it is?

  python -m export.load server --saved_model=exports/vunet
  python -m export.load server --saved_model=exports/vunet --requests=10000 --clients=8 --wrong=0.01
  python -m export.load phone --tflite=exports/phone/vunet_int8.tflite --calls=100000

server: several clients at once ask for transfers between drawn people. A request has 1 to 4 of them, and their
  pictures are PNG and JPEG files of 32 to 512 pixels a side. A process with TensorFlow's C++ loader answers, by turns
  without batching and with it (--batching_rules has the format of TensorFlow Serving's --batching_parameters_file).
  Every answer is compared with the answer to the same request alone. --wrong damages a part of the requests; the
  others are sent as the clients in export/serving do. The server's memory is measured after each tenth of the requests.
phone: calls the signature "generate" many times with several inputs. Every answer is compared with the first answer to
  the same input.

With --out, the numbers are also written as JSON. The exit status is 1 if an answer is wrong or lost, if a damaged
request gets an answer, or if memory grows by 5 % or more after the first tenth. Below 10,000 requests this growth may
be the server's warming up. The server's answer is wrong if a pixel differs by more than one grey level, since batches
of other sizes are rounded otherwise; the phone's if any bit differs.
"""

import json
import sys
from pathlib import Path

from absl import flags

from export.load import RULES
from vunet_tf.command_line.startup import run, start_tensorflow
from vunet_tf.files import atomic
from vunet_tf.files.errors import InputError

_SAVED_MODEL = flags.DEFINE_string(
    "saved_model", None, "server: folder of a version, or a folder of versions, of which the newest is taken."
)
_RULES = flags.DEFINE_string(
    "batching_rules",
    str(RULES),
    "server: file with the rules of batching, in the format of --batching_parameters_file of TensorFlow Serving.",
)
_REQUESTS = flags.DEFINE_integer(
    "requests",
    10_000,
    "server: number of requests without batching, and again with it. They are sent in ten turns, so the number is "
    "rounded down to a multiple of ten.",
    lower_bound=20,
)
_CLIENTS = flags.DEFINE_integer("clients", 8, "server: number of clients that ask at once.", lower_bound=1)
_WRONG = flags.DEFINE_float("wrong", 0.0, "server: the part of the requests that is damaged, as a fraction.", 0.0, 0.5)
_TFLITE = flags.DEFINE_string("tflite", None, "phone: the TFLite file.")
_CALLS = flags.DEFINE_integer("calls", 100_000, "phone: number of calls.", lower_bound=20)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the requests (phone: of the inputs). Another seed gives others.", lower_bound=0
)
_OUT = flags.DEFINE_string("out", None, "JSON file for the numbers.")


def _server() -> None:
    if not _SAVED_MODEL.value:
        raise InputError("give --saved_model; `python -m export.load --help` explains")
    if not Path(_RULES.value).is_file():
        raise InputError(f"--batching_rules={_RULES.value}: there is no such file")
    start_tensorflow()
    from export.load import clients
    from export.verify.measurements import artefacts

    (version,) = artefacts([_SAVED_MODEL.value])
    asked = clients.Asked(version, _REQUESTS.value, _CLIENTS.value, _WRONG.value, _SEED.value)
    _end(clients.ask_server(asked, _RULES.value), clients.table, clients.faults)


def _phone() -> None:
    if not _TFLITE.value:
        raise InputError("give --tflite; `python -m export.load --help` explains")
    from export.load import phone

    _end(phone.call(_TFLITE.value, _CALLS.value, _SEED.value), phone.table, phone.faults)


def _end(found: dict, table, faults) -> None:
    print(table(found))
    if _OUT.value:
        with atomic.writing(_OUT.value):
            atomic.write_text(Path(_OUT.value), json.dumps(found, indent=1) + "\n")
    for fault in faults(found):
        print(f"FAULT: {fault}")
    if faults(found):
        sys.exit(1)


if __name__ == "__main__":
    run({"server": _server, "phone": _phone}, if_stopped="nothing was written")
