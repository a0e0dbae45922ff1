"""What `duet export --onnx` writes, judged by others: onnx.checker, and onnxruntime against `duet predict`.

usage: onnx_check.py DUET TEST_ONNX MNIST [NETWORK...]

The presets are compared on some of the test images; on all of them, by the best device in place of ref, with $DUET_TEST_ALL=1 (minutes).
"""
import gzip
import json
import os
import struct
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnxruntime

NETWORKS = ("plain", "norm", "drop", "average", "added", "strided", "odd", "fast", "best", "add", "mlp", "reference")
ALL = os.environ.get("DUET_TEST_ALL") == "1"
TOLERANCE = 1e-4  # of log-probabilities


def images_for(name, mnist):
    """uint8 [n][side][side]: MNIST's test images, or noise for networks of smaller ones."""
    if name in ("fast", "best", "add", "mlp", "reference"):
        with gzip.open(os.path.join(mnist, "t10k-images-idx3-ubyte.gz")) as file:
            file.read(16)
            count = 10000 if ALL else 10 if name == "reference" else 50 if name == "best" else 300
            return numpy.frombuffer(file.read(count * 784), numpy.uint8).reshape(count, 28, 28)
    return numpy.random.default_rng(1).integers(0, 256, (50, 12, 12), numpy.uint8)


def log_softmax(logits):
    shifted = logits.astype(numpy.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    return shifted - numpy.log(numpy.exp(shifted).sum(axis=1, keepdims=True))


def differences(session, images, number, answers):
    """The largest difference of log-probabilities of each head between onnxruntime and the answers of `duet predict`."""
    numbers = numpy.full(len(images), number, numpy.int64)
    outputs = session.run(["digit_logits", "sum_logits"], {"image": images, "number": numbers})
    said = [numpy.log([row[head + "_probabilities"] for row in answers]) for head in ("digit", "sum")]
    return [float(numpy.abs(log_softmax(logits) - theirs).max()) for logits, theirs in zip(outputs, said)]


def check_form(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 17, "opset is not 17"
    names = [[value.name for value in values] for values in (model.graph.input, model.graph.output)]
    assert names == [["image", "number"], ["digit_logits", "sum_logits"]], names
    for value in list(model.graph.input) + list(model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "N", value.name + ": the batch has no name"
    with open(path, "rb") as file:
        assert model.SerializeToString() == file.read(), "another program writes it in other bytes"


def check(name, duet, test_onnx, mnist):
    subprocess.run([test_onnx, "write", name, "m.st"], check=True)
    subprocess.run([duet, "export", "m.st", "--onnx", "m.onnx"], check=True, stdout=subprocess.DEVNULL)
    check_form("m.onnx")
    images = images_for(name, mnist)
    with open("images", "wb") as file:
        file.write(struct.pack(">IIII", 0x803, *images.shape) + images.tobytes())
    session = onnxruntime.InferenceSession("m.onnx", providers=["CPUExecutionProvider"])
    for number in (0, 7):
        command = [duet, "predict", "m.st", "images", "--device", "auto" if ALL else "ref", "--json", "--number", str(number)]
        answers = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["images"]
        digit, total = differences(session, images, number, answers)
        print(f"{name}, number {number}: {len(images)} images, digit {digit:.1e}, sum {total:.1e}")
        assert digit < TOLERANCE and total < TOLERANCE, "they differ"
        # so that a comparison of nothing is noticed: with another number the sums are others
        assert differences(session, images, number + 1, answers)[1] > TOLERANCE, "the number changes nothing"


def main():
    duet, test_onnx, mnist = (os.path.abspath(path) for path in sys.argv[1:4])
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in sys.argv[4:] or NETWORKS:
            check(name, duet, test_onnx, mnist)
        os.chdir("/")


main()
