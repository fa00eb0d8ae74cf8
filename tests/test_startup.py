"""How every command starts and ends: exit status, one line for an error, no traceback after Ctrl-C at any moment."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vunet_tf.command_line.startup import printable

COMMAND = """
import sys
import time
from vunet_tf.files.errors import InputError
from vunet_tf.command_line.startup import run

def work():
    print("works", flush=True)

def fail():
    raise InputError("--sauce=hot: choose another")

def wait():
    try:
        print("waits", flush=True)
        time.sleep(60)
    finally:
        print("tidies up", flush=True)
        time.sleep(0.3)
        print("tidy", flush=True)

def lack():
    sys.modules["ai_edge_quantizer"] = None
    import ai_edge_quantizer.quantizer

many = {"work": work, "fail": fail, "wait": wait, "lack": lack}
run(many if sys.argv[0] == "many" else work, if_stopped="all is kept")
"""


def heed_ctrl_c():
    """Runs in a new process that does not ignore SIGINT, as background jobs of a shell do."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def command(*arguments, name="many"):
    code = f"import sys; sys.argv = {[name, *arguments]!r}\n{COMMAND}"
    return subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True, preexec_fn=heed_ctrl_c)


NAME_ONE = "name what to do, one of work, fail, wait, lack"


@pytest.mark.parametrize(
    ("arguments", "name", "status", "out", "error"),
    [
        ([], "one", 0, "works\n", ""),
        (["work"], "many", 0, "works\n", ""),
        (["more"], "one", 1, "", "error: unexpected argument 'more'; everything else is given by flags\n"),
        (["work", "more"], "many", 1, "", "error: unexpected argument 'more'; everything else is given by flags\n"),
        ([], "many", 1, "", f"error: {NAME_ONE}; --help explains\n"),
        (["lack"], "many", 1, "", "error: the package ai_edge_quantizer is missing: pip install 'vunet-tf[export]'\n"),
        (["play"], "many", 1, "", f"error: 'play' is nothing to do; {NAME_ONE}; --help explains\n"),
        (
            ["wrok"],
            "many",
            1,
            "",
            f"error: 'wrok' is nothing to do; {NAME_ONE} (did you mean work?); --help explains\n",
        ),
        (["fail"], "many", 1, "", "error: --sauce=hot: choose another\n"),
    ],
)
def test_exit_status_and_the_line_that_explains_it(arguments, name, status, out, error):
    process = command(*arguments, name=name)
    assert process.communicate(timeout=60) == (out, error)
    assert process.returncode == status


def test_a_wrong_flagfile_is_one_line(tmp_path):
    (tmp_path / "no text").write_bytes(b"--width=\xff")
    (tmp_path / "own").write_text(f"--flagfile={tmp_path / 'other'}\n")
    (tmp_path / "other").write_text(f"--flagfile={tmp_path / 'own'}\n--nosuchflag=1\n")
    (tmp_path / "elsewhere").write_text("--flagfile=configs/none.flags\n")
    told = {"elsewhere": "elsewhere names it); paths in flagfiles count from", "none": "No such file"}
    told |= {"no text": "it is not text", "own": "Unknown command line flag 'nosuchflag'"}
    for name, expected in told.items():
        process = command("work", f"--flagfile={tmp_path / name}")
        out, error = process.communicate(timeout=60)
        assert process.returncode == 1 and out == "" and expected in error and "Traceback" not in error, error


def test_errors_cannot_change_the_terminal():
    assert printable("error: a\x1b[31m\r\u202eb.png\ncafé") == "error: a\\x1b[31m\\r\\u202eb.png\ncafé"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_tidies_up_and_tells_it_in_one_line(number, status):
    """SIGTERM comes twice, as from `timeout`: the second one does not interrupt what the first one began."""
    process = command("wait")
    assert process.stdout.readline() == "waits\n"
    process.send_signal(number)
    assert process.stdout.readline() == "tidies up\n"
    process.send_signal(signal.SIGTERM if number == signal.SIGTERM else 0)
    assert process.communicate(timeout=60) == ("tidy\n", "stopped; all is kept\n")
    assert process.returncode == status


def test_ctrl_c_while_a_command_is_being_imported_is_quiet():
    """The process ends by SIGINT itself, which a shell also shows as status 130."""
    arguments = [sys.executable, "-X", "importtime", "-m", "vunet_tf.prepare"]
    process = subprocess.Popen(arguments, stdout=-1, stderr=-1, text=True, preexec_fn=heed_ctrl_c)
    while not process.stderr.readline().rstrip().endswith("vunet_tf"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert "Traceback" not in process.communicate(timeout=60)[1]
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_helper_process_ends_with_the_one_that_started_it(number, tmp_path):
    script = tmp_path / "starts.py"
    script.write_text(
        "import os, time\n"
        "from vunet_tf.command_line.startup import in_own_process\n"
        "def wait():\n    print(os.getpid(), flush=True)\n    time.sleep(60)\n"
        "if __name__ == '__main__':\n    in_own_process(wait)\n"
    )
    process = subprocess.Popen(
        [sys.executable, script], stdout=-1, stderr=-1, text=True, env={**os.environ, "PYTHONPATH": "."},
        preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    helper = int(process.stdout.readline())
    process.send_signal(number)
    process.communicate(timeout=20)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{helper}/cmdline").exists() and Path(f"/proc/{helper}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.05)
