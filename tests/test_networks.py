#!/usr/bin/env python3
"""The pieces of scripts/networks: safetensors that `duet` takes, the exact form of `add`, curves, pictures, the page. On ref, with few images.

    test_networks.py DUET
"""
import array
import copy
import gzip
import importlib.machinery
import importlib.util
import itertools
import json
import math
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.dont_write_bytecode = True
DUET = sys.argv.pop(1) if len(sys.argv) > 1 else "build/duet"
ROOT = pathlib.Path(__file__).resolve().parent.parent
loader = importlib.machinery.SourceFileLoader("networks", str(ROOT / "scripts/networks"))
networks = importlib.util.module_from_spec(importlib.util.spec_from_loader("networks", loader))
loader.exec_module(networks)
addition, page, tensors = networks.addition, networks.page, networks.tensors
import charts  # noqa: E402 (scripts/networks says where it is)

RESULTS = json.loads((ROOT / "docs/networks/results.json").read_text())["runs"]


def duet(*arguments):
    return subprocess.run([DUET, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def write_data(folder):
    draw = random.Random(1)
    for name, count in (("train", 16), ("t10k", 16)):
        (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, count, 28, 28) + draw.randbytes(count * 784))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + bytes(i % 10 for i in range(count)))


class Networks(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    # ---- parameters

    def test_duet_takes_what_is_written(self):
        write_data(self.folder)
        data = ("--data", self.folder, "--device", "ref")
        for net in ("add", ROOT / "docs/networks/add-factored.net"):
            done = duet("train", net, *data, "--steps", 1, "--epochs", 1, "--lr", 1e-12, "--save", self.folder / "a.st", "--quiet")
            self.assertEqual(done.returncode, 0, done.stderr)
            initial = {k: v for k, v in tensors.read(self.folder / "a.st").items() if not k.endswith((".moment1", ".moment2")) and k != "run.results"}
            if net == "add":
                tensors.write(self.folder / "start.st", addition.start(initial, 1))
                done = duet("train", net, *data, "--steps", 1, "--init", self.folder / "start.st", "--quiet")
                self.assertEqual(done.returncode, 0, done.stderr)
            tensors.write(self.folder / "b.st", initial)
            self.assertEqual(tensors.read(self.folder / "b.st"), initial)
            done = duet("eval", self.folder / "b.st", "--network", net, *data)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(len(addition.number_table(initial)), 10)
        done = duet("eval", self.folder / "b.st", "--network", "add", *data) # another network's
        self.assertEqual(done.returncode, 4, done.stderr)

    def test_start(self):
        initial = {"fc.weight": ([2], array.array("f", [1, 2])), "image_part.weight": ([19, 60], array.array("f", [1] * 1140))}
        for beta in (0.01, 3):
            table = addition.number_table(addition.start(initial, beta))
            fit = addition.fit(addition.interaction(table))
            self.assertAlmostEqual(fit["beta"], beta, 6)
            self.assertAlmostEqual(fit["exact"], 1, 6)
            self.assertAlmostEqual(fit["largest"], 81 * beta, 4)
            bias = addition.start(initial, beta)["image_part.bias"][1]
            for d, n in itertools.product(range(10), repeat=2): # the number's part is right for the picture's that is to be learned
                logits = [table[n][s] + addition.exact(beta)[d][s] + bias[s] for s in range(19)]
                self.assertEqual(logits.index(max(logits)), d + n)
        self.assertEqual(initial["image_part.weight"][1][0], 1)

    def test_wrong_shape(self):
        with self.assertRaisesRegex(ValueError, "a: 3 values for shape"):
            tensors.write(self.folder / "x.st", {"a": ([2, 2], array.array("f", [0] * 3))})

    def test_fit_of_a_window(self):
        window = [[5.0 * (n <= s <= n + 9) + s + 7 * n for s in range(19)] for n in range(10)]
        fit = addition.fit(addition.interaction(window))
        self.assertAlmostEqual(fit["window"], 1)
        self.assertAlmostEqual(fit["both"], 1)
        self.assertLess(fit["exact"], 0.9)

    # ---- runs

    def test_curve(self):
        steps = [{"step": i + 1, "loss_digit": None if i >= 21 else 2.0, "loss_sum": 1.0 * (i % 2), "learning_rate": 0.5} for i in range(28)]
        (self.folder / "log").write_text("".join(json.dumps(step) + "\n" for step in steps))
        curve = networks.curve(self.folder / "log", 2)
        self.assertEqual(curve["lost"], 1.5)
        self.assertEqual(curve["reach"], 14)
        self.assertEqual(curve["losses"][0], [round(0.5 / 7, 3), 2.0, 0.5])
        self.assertEqual([row[1] for row in curve["losses"][9:12]], [2.0, None, None])

    def test_labels_displaced(self):
        source, labels = self.folder / "source", bytes([3, 1, 4, 1, 5])
        source.mkdir()
        for name in ("train-labels-idx1-ubyte", "train-images-idx3-ubyte"):
            with gzip.open(source / f"{name}.gz", "wb") as file:
                file.write(struct.pack(">2I", 0x801, 5) + labels)
        to = self.folder / "to"
        to.mkdir()
        networks.displaced(to, source)
        self.assertEqual((to / "train-labels-idx1-ubyte").read_bytes()[8:], bytes([5, 3, 1, 4, 1]))
        self.assertEqual(sorted(path.name for path in to.iterdir()), ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"])

    def test_networks_are_read(self):
        for net, parameters in (("relu-logits", 245277), ("large-pixels", 245277), ("add-factored", 40076)):
            done = duet("info", ROOT / f"docs/networks/{net}.net", "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(json.loads(done.stdout)["parameters"], parameters)

    def test_every_cure_is_a_run(self):
        for name, run in networks.RUNS.items():
            if "cure" in run:
                self.assertIn("recipe", networks.RUNS[run["cure"]], name)
                self.assertNotIn("cure", networks.RUNS[run["cure"]], name)

    # ---- the page

    def test_page_is_that_of_the_results(self):
        shutil.copy(ROOT / "docs/networks.md", self.folder)
        for _ in range(2): # a second time changes nothing
            page.write(RESULTS, self.folder / "networks.md", self.folder)
            for path in self.folder.iterdir():
                there = ROOT / "docs" / ("" if path.suffix == ".md" else "networks") / path.name
                self.assertEqual(path.read_text(), there.read_text(), f"{there} is not that of results.json: scripts/networks --draw")

    def test_numbers_reach_page_and_pictures(self):
        runs = copy.deepcopy(RESULTS)
        runs["add"]["epochs"][-1].update(digit=0.125, sum=0.5)
        shutil.copy(ROOT / "docs/networks.md", self.folder)
        page.write(runs, self.folder / "networks.md", self.folder)
        self.assertEqual((self.folder / "networks.md").read_text().count("12.50 / 50.00"), 3) # both tables of all four, that of add
        for name in ("networks.svg", "add.svg"):
            self.assertNotEqual((self.folder / name).read_text(), (ROOT / "docs/networks" / name).read_text())

    def test_region_is_missing(self):
        with self.assertRaisesRegex(ValueError, "begin add"):
            page.fill("# No regions\n", "add", "x")

    # ---- pictures

    def test_pictures(self):
        series = [{"name": "a & <b>", "colour": 0, "points": [(0, 1), (3, 2)]}, {"name": "one", "colour": 1, "points": [(1, 2)]},
                  {"name": "gone", "colour": 2, "points": [], "lost": 0.5}, {"name": "near", "colour": 3, "points": [(0, 1), (3, 2.01)]}]
        panel = {"title": "t", "x": ("epoch", 0, 3, range(4)), "y": ("nats", 0, 3, range(4)), "series": series}
        root = xml.etree.ElementTree.fromstring(charts.lines("title", [panel, panel], 2))
        words = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
        for name in ("a & <b>", "one", "gone", "×", "epoch", "nats"):
            self.assertEqual(words.count(name), 2, name)
        for heat in (charts.heat("title", [("t", "number", [[0.0, 1.0], [-2.0, math.pi]])]), charts.heat("title", [("t", "number", [[0.0]])])):
            xml.etree.ElementTree.fromstring(heat)
            self.assertNotRegex(heat, "nan|inf")

    def test_names_stand_apart(self):
        for places in ([50, 50, 50], [0, 1, 200], [199, 200, 200], []):
            result = charts.apart(places, 0, 200)
            for a, b in zip(sorted(result), sorted(result)[1:]):
                self.assertGreaterEqual(b - a, charts.GAP)
            self.assertTrue(all(0 <= y <= 200 for y in result))


if __name__ == "__main__":
    unittest.main()
