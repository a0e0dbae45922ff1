#!/usr/bin/env python3
"""The page of `duet train --report F.html` in headless Chromium: on ref, with small pictures made here.

    test_report.py DUET CHROMIUM [--pictures DIRECTORY]

Prints a line a check; exit status 1 when one failed. With --pictures also draws the page as a desktop, a phone, in the
dark and on paper.
"""
import argparse
import base64
import collections
import json
import os
import pathlib
import random
import re
import signal
import struct
import subprocess
import tempfile
import time

from chromium import Browser, check, finish

SIDE, TRAIN, TEST, SEED, BATCH = 12, 300, 230, 7, 16
NETWORK = """c1 = conv image channels=3 kernel=3
r1 = relu c1
p1 = max_pool r1 kernel=2
c2 = conv p1 channels=3 kernel=3 pad=1
a1 = add p1 c2
digit = dense a1 units=10
n1 = dense number units=6
both = concat digit n1
sum1 = dense both units=16
r2 = relu sum1
sum = dense r2 units=19
ld = cross_entropy digit target=digit
ls = cross_entropy sum target=sum
"""
NO_NUMBERS = "/NaN|undefined|Infinity/.test(document.body.innerHTML.replace(/<script[^]*?<\\/script>|data:image[^\"]*/g, ''))"
HOSTILE = "<img src=x onerror=\"window.hit=1\">&'`"


def write_data(folder, seed):
    """Pictures in which the digit lights a place of its own, hardly above the noise: some are learned."""
    folder.mkdir()
    draw = random.Random(seed)
    for name, count in (("train", TRAIN), ("t10k", TEST)):
        labels = bytes(i if i < 10 else draw.randrange(10) for i in range(count))
        pixels = bytearray()
        for label in labels:
            pixels += bytes(draw.randrange(120) + (90 if p * 10 // SIDE**2 == label else 0) for p in range(SIDE**2))
        (folder / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, count, SIDE, SIDE) + pixels)
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, count) + labels)
    return folder


def number_of(seed, sample):
    """The fixed number of a sample (docs/design.md: Philox4x32-10), written a second time."""
    counter, key = [sample, 0xFFFFFFFF, 0, 3], [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [b >> 32 ^ counter[1] ^ key[0], b & 0xFFFFFFFF, a >> 32 ^ counter[3] ^ key[1], a & 0xFFFFFFFF]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter[0] * 10 >> 32


class Rig:
    """A folder with data and a network, and the program in it."""

    def __init__(self, duet, folder):
        self.duet, self.folder = duet, folder
        write_data(folder / "data", 1)
        (folder / "small.net").write_text(NETWORK)

    def run(self, *arguments, status=0, data="data"):
        done = subprocess.run([self.duet, *arguments, "--device", "ref", *(["--data", data] if data else [])], cwd=self.folder,
                              capture_output=True, text=True, env={**os.environ, "DUET_DATA": str(self.folder / "data")}, check=False)
        if done.returncode != status:
            raise SystemExit(f"duet {' '.join(arguments)}: status {done.returncode}, not {status}: {done.stderr}")
        return done.stdout

    def train(self, page, *arguments, net="small.net", **more):
        start = ["train"] + ([net, "--batch", str(BATCH), "--seed", str(SEED)] if "--resume" not in arguments else [])
        return self.run(*start, *arguments, "--quiet", "--report", page, **more)


def recompute(rig):
    """What the network says of each test image, by another way: `duet predict`, number by number."""
    answers = []
    for number in range(10):
        text = subprocess.run([rig.duet, "predict", "m.st", "data/t10k-images-idx3-ubyte", "--number", str(number), "--device", "ref", "--json"],
                              cwd=rig.folder, capture_output=True, text=True, check=True).stdout
        answers.append(json.loads(text)["images"])
    rows = []
    for i in range(TEST):
        number = number_of(SEED, i)
        said = answers[number][i]
        rows.append({"label": said["label"], "number": number, "digit": said["digit"], "sum": said["sum"], "p": [said["digit_probabilities"], said["sum_probabilities"]]})
    return rows


def table(browser, name):
    """The numbers of a matrix of the page, without its margins."""
    return browser.run(f"[...document.querySelectorAll('#confusion-{name} tbody tr')].map((r) => [...r.cells].slice(1, -1).map((c) => Number(c.textContent)))")


def check_curves(browser, rig, result, data):
    log = [json.loads(line) for line in (rig.folder / "steps.jsonl").read_text().splitlines()]
    near = lambda a, b: abs(a - b) <= 1e-5 * abs(b)
    check("all steps are there, as in the log", True, len(data["steps"]) == len(log) and all(
        row[0] == line["step"] and near(row[1], line["learning_rate"]) and near(row[2], line["loss_digit"]) and near(row[3], line["loss_sum"])
        for row, line in zip(data["steps"], log)))
    check("and all epochs, as in the result", True, len(data["epochs"]) == len(result["epochs"]) and all(
        row[0] == e["epoch"] and near(row[1], e["train_loss_digit"]) and near(row[7], e["test_digit"]) and near(row[8], e["test_sum"]) and near(row[10], e["images_per_second"])
        for row, e in zip(data["epochs"], result["epochs"])))
    points = "(p) => [...p.getAttribute('d').matchAll(/[ML]([\\d.]+) ([\\d.]+)/g)].map((m) => [Number(m[1]), Number(m[2])])"
    figure = "document.querySelectorAll('#curves figure')"
    for head in ("digit", "sum"):
        drawn = browser.run(f"({points})({figure}[0].querySelector('path.smooth[data-head={head}]'))")
        check(f"a point a step, {head}", len(log), len(drawn))
        order = lambda values: sorted(range(len(values)), key=values.__getitem__)
        check("smaller losses are lower", order([line[f"loss_{head}"] for line in log])[:5], order([-y for _, y in drawn])[:5])
        check("steps go from left to right", True, all(a[0] < b[0] for a, b in zip(drawn, drawn[1:])))
        drawn = browser.run(f"({points})({figure}[1].querySelector('path.smooth[data-head={head}]'))")
        check(f"a point an epoch, {head}", len(result["epochs"]), len(drawn))
    check("a rate a step", len(log), len(browser.run(f"({points})({figure}[2].querySelector('path.smooth'))")))
    check("a speed an epoch", len(result["epochs"]), browser.run(f"{figure}[3].querySelectorAll('line.smooth').length"))
    check("no point is no number", False, browser.run(NO_NUMBERS))


def check_matrices(browser, rig, rows):
    confusion = {"digit": collections.Counter((r["label"], r["digit"]) for r in rows), "sum": collections.Counter((r["label"] + r["number"], r["sum"]) for r in rows)}
    right = json.loads(rig.run("eval", "m.st", "--json"))["accuracy"]
    for name, size in (("digit", 10), ("sum", 19)):
        got = table(browser, name)
        check(f"{name}: every test image is counted", TEST, sum(map(sum, got)))
        check(f"{name}: the matrix is that of `duet predict`", [[confusion[name][i, j] for j in range(size)] for i in range(size)], got)
        check(f"{name}: its diagonal is the accuracy of `duet eval`", round(TEST * right[name]), sum(got[i][i] for i in range(size)))
    pairs = collections.Counter((r["label"], r["number"]) for r in rows)
    good = collections.Counter((r["label"], r["number"]) for r in rows if r["sum"] == r["label"] + r["number"])
    got = browser.run("[...document.querySelectorAll('#sums tbody tr')].slice(0, -1).map((r) => [...r.cells].slice(1, -1).map((c) => [Number(c.dataset.right), Number(c.dataset.all), c.textContent]))")
    check("sums by digit and number: right and all", [[[good[d, n], pairs[d, n]] for n in range(10)] for d in range(10)], [[c[:2] for c in row] for row in got])
    words = lambda d, n: "–" if not pairs[d, n] else "100" if good[d, n] == pairs[d, n] else f"{100 * good[d, n] / pairs[d, n]:.1f}"
    check("and in percent", [[words(d, n) for n in range(10)] for d in range(10)], [[c[2] for c in row] for row in got])


def check_mistakes(browser, rows):
    wrong = [i for i, r in enumerate(rows) if r["digit"] != r["label"] or r["sum"] != r["label"] + r["number"]]
    check("some are wrong, some right", True, 24 < len(wrong) < TEST)
    worst = browser.run("page.data.mistakes.worst.map((m) => [m.sample, m.digit, m.number, ...m.said, m.probabilities])")
    check("24 mistakes are shown", [24, 24], [len(worst), browser.run("document.querySelectorAll('#worst figure').length")])
    check("each is one, and told as it is", [], [m[0] for m in worst if m[0] not in wrong or m[1:5] != [rows[m[0]][k] for k in ("label", "number", "digit", "sum")]])
    check("with its probabilities", True, all(abs(a - b) < 1e-4 for m in worst for head in (0, 1) for a, b in zip(m[5][head], rows[m[0]]["p"][head])))
    chance = lambda i: rows[i]["p"][0][rows[i]["label"]] * rows[i]["p"][1][rows[i]["label"] + rows[i]["number"]]
    check("they are the worst, the worst first", sorted(wrong, key=chance)[:24], [m[0] for m in worst])
    check("pictures are there", True, browser.run("[...document.images].length === 24 && [...document.images].every((i) => i.complete && i.naturalWidth === 12 && i.alt)"))
    pixels = browser.run("(() => { const c = document.createElement('canvas'); c.width = c.height = 12; const g = c.getContext('2d'); g.drawImage(document.images[0], 0, 0); return [...g.getImageData(0, 0, 12, 12).data].filter((_, i) => i % 4 === 0); })()")
    return worst[0][0], pixels


def check_network(browser, rig):
    layers = json.loads(subprocess.run([rig.duet, "info", "./small.net", "--image", "12x12", "--json"], cwd=rig.folder, capture_output=True, text=True, check=True).stdout)["layers"]
    check("a box a layer", [layer["name"] for layer in layers], browser.run("[...document.querySelectorAll('#drawing .layer title')].map((t) => t.textContent.split(':')[0])"))
    check("a wire a connection", sum(len(layer["inputs"]) for layer in layers), browser.run("document.querySelectorAll('#drawing .wire').length"))
    check("parameters in the boxes", [f"{layer['parameters']:,}" for layer in layers if layer["parameters"]], browser.run("[...document.querySelectorAll('#drawing .trained')].map((g) => g.lastChild.textContent)"))
    check("inputs and heads stand out", [2, 2], browser.run("['input', 'head'].map((k) => document.querySelectorAll(`#drawing .layer.${k}`).length)"))
    apart = "(() => { const b = [...document.querySelectorAll('#drawing rect')].map((r) => r.getBBox()); return b.every((p, i) => b.every((q, k) => i >= k || p.x + p.width <= q.x || q.x + q.width <= p.x || p.y + p.height <= q.y || q.y + q.height <= p.y)); })()"
    check("no box lies on another", True, browser.run(apart))


def check_first(browser, rig, page):
    result = json.loads(rig.train(page, "--epochs", "3", "--json", "--log", "steps.jsonl", "--save", "m.st", "--lr", "0.02", "--tensorboard", "board"))
    browser.open(rig.folder / page)
    check("nothing was reported and nothing else loaded", [], browser.complaints())
    rows, data = recompute(rig), browser.run("page.data")
    tiles = browser.run("[...document.querySelectorAll('#tiles .value')].map((v) => v.textContent)")
    check("the result is at the top", [f"{100 * result['final'][head]:.2f} %" for head in ("digit", "sum")], tiles[:2])
    check("nothing to note", 0, browser.run("document.querySelectorAll('#notes li').length"))
    check_curves(browser, rig, result, data)
    check_matrices(browser, rig, rows)
    sample, pixels = check_mistakes(browser, rows)
    images = (rig.folder / "data/t10k-images-idx3-ubyte").read_bytes()[16:]
    check("the first picture has the bytes of the file", list(images[sample * SIDE**2:(sample + 1) * SIDE**2]), pixels)
    check_network(browser, rig)
    facts = browser.run("document.getElementById('facts').textContent")
    for words in ("adam", "0.02, onecycle", "16 images", f"{TRAIN} images", f"{TEST} test images", "plain C", result["version"]):
        check(f"the facts say {words}", True, words in facts)
    check("others are left out where the data are not MNIST", [True, True], browser.run("['others-section', 'to-others'].map((i) => document.getElementById(i).hidden)"))
    check("it is small", lambda size: size < 150000, (rig.folder / page).stat().st_size)


def check_access(browser):
    check("headers have a scope", 0, browser.run("document.querySelectorAll('th:not([scope])').length"))
    check("charts have words", 0, browser.run("document.querySelectorAll('svg:not([aria-label], [aria-hidden]), svg:not([role=img], [aria-hidden])').length"))
    check("links lead somewhere", 0, browser.run("[...document.querySelectorAll('a')].filter((a) => !document.querySelector(a.getAttribute('href'))).length"))
    ids = browser.run("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    check("names are there once", len(ids), len(set(ids)))
    browser.run("document.body.focus()")
    for _ in range(9):
        browser.press("Tab")
        if browser.run("document.activeElement.tagName") == "svg":
            break
    check("Tab leads to a chart", "svg", browser.run("document.activeElement.tagName"))
    check("focus can be seen", lambda style: style != "none", browser.run("getComputedStyle(document.activeElement).outlineStyle"))
    read = "document.querySelector('#curves output').textContent"
    browser.press("Home")
    first = browser.run(read)
    browser.press("ArrowRight")
    check("arrow keys read its values", [True, True], [first.startswith("step 1: digit "), browser.run(read).startswith("step 2: digit ")])
    box = browser.run("(() => { const r = document.querySelector('#curves svg').getBoundingClientRect(); return [r.right - 14, r.top + 60]; })()")
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    browser.settle()
    check("so does the pointer", True, browser.run(read).startswith("step 57: digit "))


def darkness(browser):
    return browser.run("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) < 200")


def check_looks(browser):
    for scheme in ("light", "dark"):
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        check(f"{scheme} where the system is", scheme == "dark", darkness(browser))
    browser.call("Emulation.setEmulatedMedia", media="print")
    check("paper is light, without tools", [False, "none"], [darkness(browser), browser.run("getComputedStyle(document.querySelector('.tools')).display")])
    browser.call("Emulation.setEmulatedMedia", media="")
    for width in (390, 700, 1280):
        browser.size(width, 844, mobile=width < 500)
        browser.settle()
        check(f"at a width of {width} nothing scrolls sideways", lambda w: w <= width, browser.run("document.documentElement.scrollWidth"))
        check("charts fit", True, browser.run("[...document.querySelectorAll('#curves svg[role=img]')].every((v) => v.getBoundingClientRect().right <= v.parentNode.getBoundingClientRect().right)"))
    check("it prints", lambda paper: paper.startswith(b"%PDF") and len(paper) > 20000, base64.b64decode(browser.call("Page.printToPDF")["data"]))


def look(browser, rig, page):
    browser.open(rig.folder / page)
    check(f"{page}: nothing was reported", [], browser.complaints())
    check(f"{page}: no point is no number", False, browser.run(NO_NUMBERS))
    return browser.run("page.data"), browser.run("[...document.querySelectorAll('#notes li')].map((n) => n.textContent).join(' ')")


def check_others(browser, rig):
    rig.train("resumed.html", "--resume", "m.st", "--epochs", "4")
    data, notes = look(browser, rig, "resumed.html")
    check("resumed: epochs from the beginning, steps from there", [[1, 2, 3, 4], 58, 76], [[e[0] for e in data["epochs"]], data["steps"][0][0], data["steps"][-1][0]])
    check("and it is said", True, "resumed after step 57" in notes)
    rig.train("again.html", "--resume", "m.st")
    data, notes = look(browser, rig, "again.html")
    check("resumed at its end: no steps, but predictions", [[], TEST], [data["steps"], sum(map(sum, data["mistakes"]["confusion"][0]))])

    rig.train("numbers.html", "--epochs", "2", "--optimizer", "sgd", "--lr", "1000000", "--schedule", "constant")
    data, notes = look(browser, rig, "numbers.html")
    check("what is no number is null, and said", [None, True], [data["steps"][-1][2], "that are no numbers" in notes])
    check("its answers are in no column", [TEST, 0], [data["mistakes"]["silent"][0], sum(map(sum, data["mistakes"]["confusion"][0]))])

    rig.train("steps.html", "--steps", "3", "--validation", "40", "--target", "0.999", status=1)
    data, notes = look(browser, rig, "steps.html")
    check("three steps, measured on what was kept aside", [3, "validation", 40], [len(data["steps"]), data["measured"], sum(map(sum, data["mistakes"]["confusion"][1]))])
    check("a target that was missed is said", True, "not reached" in notes)

    rig.train("long.html", "--epochs", "150")
    data, notes = look(browser, rig, "long.html")
    check("thousands of steps are merged, the last one is there", [4, 713, 2850], [data["merged"], len(data["steps"]), data["steps"][-1][0]])
    check("a band shows their spread", 2, browser.run("document.querySelectorAll('#curves polygon.band').length"))
    check("epochs are all there", 150, len(data["epochs"]))
    check("and the page is small", lambda size: size < 200000, (rig.folder / "long.html").stat().st_size)

    rig.train("mnist.html", "--epochs", "1", data=None)
    look(browser, rig, "mnist.html")
    check("others stand beside the MNIST that comes with Duet", [5, "99.24"], browser.run("[document.querySelectorAll('#published tbody tr').length, document.querySelector('#published tbody tr:nth-child(3)').cells[4].textContent]"))


def check_hostile(browser, rig):
    (rig.folder / "data").rename(rig.folder / HOSTILE.replace("/", ""))
    rig.train("hostile.html", "--epochs", "1", data=HOSTILE)
    look(browser, rig, "hostile.html")
    check("names of files are no markup", [True, True, 2], browser.run(f"[window.hit === undefined, document.getElementById('facts').textContent.includes({json.dumps(HOSTILE)}), document.scripts.length]"))
    (rig.folder / HOSTILE).rename(rig.folder / "data")


def check_interrupted(browser, rig):
    process = subprocess.Popen([rig.duet, "train", "small.net", "--device", "ref", "--data", "data", "--epochs", "100000", "--report", "interrupted.html", "--log", "i.jsonl"],
                               cwd=rig.folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    for _ in range(1000):
        if (rig.folder / "i.jsonl").exists() and (rig.folder / "i.jsonl").stat().st_size:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    check("interrupted: exit status", 130, process.wait(timeout=60))
    data, notes = look(browser, rig, "interrupted.html")
    check("the report has what there was", [True, None, True], [len(data["steps"]) > 0, data["mistakes"], "interrupted" in notes])
    check("no temporary file stays", [], [p.name for p in rig.folder.iterdir() if re.search(r"\.tmp$", p.name)])


def take_pictures(browser, directory, page):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, width, height, scheme in (("desktop", 1280, 900, "light"), ("dark", 1280, 900, "dark"), ("phone", 390, 844, "light")):
        browser.size(width, height, mobile=name == "phone")
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.open(page)
        browser.picture(directory / f"{name}.png", whole=True)
    (directory / "print.pdf").write_bytes(base64.b64decode(browser.call("Page.printToPDF")["data"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("duet")
    parser.add_argument("chromium")
    parser.add_argument("--pictures")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        scratch = pathlib.Path(scratch)
        rig = Rig(str(pathlib.Path(given.duet).absolute()), scratch)
        browser = Browser(given.chromium, scratch / "profile")
        try:
            browser.size(1280, 900)
            check_first(browser, rig, "first.html")
            check_access(browser)
            check_looks(browser)
            check("still nothing was reported", [], browser.complaints())
            check_others(browser, rig)
            check_hostile(browser, rig)
            check_interrupted(browser, rig)
            if given.pictures:
                take_pictures(browser, given.pictures, scratch / "first.html")
        finally:
            browser.process.terminate()
            browser.process.wait()
    finish()


if __name__ == "__main__":
    main()
