#!/usr/bin/env python3
"""The page of `duet export --html F.html` in headless Chromium, against `duet predict` on ref.

    test_export_page.py DUET TEST_ONNX MNIST CHROMIUM [--pictures DIRECTORY]

Prints a line a check; exit status 1 when one failed. With --pictures also draws the page as a desktop, a phone and in the
dark.
"""
import argparse
import array
import base64
import gzip
import json
import math
import pathlib
import random
import re
import struct
import subprocess
import tempfile
import time

from chromium import Browser, check, finish

SMALL = ("norm", "drop", "average", "added", "strided", "odd")  # of test_onnx: every op is in some of them
PRESETS = ("add", "mlp", "fast")  # and reference, which ref takes seconds for: check_largest
TOLERANCE = 1e-5  # of probabilities
LEARNS = """f1 = dense image units=64
r1 = relu f1
digit = dense r1 units=10
both = concat digit number
s1 = dense both units=32
r2 = relu s1
sum = dense r2 units=19
ld = cross_entropy digit target=digit
ls = cross_entropy sum target=sum
"""
SEVEN = [(0.3, 0.25), (0.7, 0.25), (0.6, 0.5), (0.48, 0.8)]
ONE = [(0.5, 0.2), (0.5, 0.8)]


class Bench:
    """Where files are, and the programs that make them."""

    def __init__(self, given, scratch, browser):
        self.duet, self.test_onnx, self.mnist = (str(pathlib.Path(p).absolute()) for p in (given.duet, given.test_onnx, given.mnist))
        self.scratch, self.browser = pathlib.Path(scratch), browser

    def run(self, *arguments):
        return subprocess.run([self.duet, *map(str, arguments)], check=True, cwd=self.scratch, stdout=subprocess.PIPE).stdout

    def page(self, checkpoint):
        page = pathlib.Path(checkpoint).with_suffix(".html")
        self.run("export", checkpoint, "--html", page)
        return page

    def predict(self, checkpoint, *arguments):
        return json.loads(self.run("predict", checkpoint, "--device", "ref", "--json", *arguments))["images"]


def write_some(bench, counts):
    """MNIST's first images and labels, so that training takes a second."""
    (bench.scratch / "some").mkdir()
    for name, count in counts.items():
        for kind, head, size in (("images-idx3", ">4I", 784), ("labels-idx1", ">2I", 1)):
            with gzip.open(pathlib.Path(bench.mnist) / f"{name}-{kind}-ubyte.gz") as file:
                magic, _, *sides = struct.unpack(head, file.read(struct.calcsize(head)))
                (bench.scratch / "some" / f"{name}-{kind}-ubyte").write_bytes(struct.pack(head, magic, count, *sides) + file.read(count * size))


# ---- agreement with duet predict, network by network


def sharpen(path, gain):
    """Weights of convolutions and dense layers times `gain`, so that what an untrained network says depends on the picture."""
    data = bytearray(path.read_bytes())
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:begin])
    for name, tensor in header.items():
        first, end = (begin + offset for offset in tensor.get("data_offsets", (0, 0)))
        if name.endswith(".weight") and len(tensor["shape"]) > 1:
            data[first:end] = array.array("f", (gain * v for v in array.array("f", bytes(data[first:end])))).tobytes()
    path.write_bytes(data)


def images_for(bench, name):
    """count, side, and pixels: MNIST's test images, or noise."""
    if name in PRESETS:
        count = 200 if name == "fast" else 20
        with gzip.open(pathlib.Path(bench.mnist) / "t10k-images-idx3-ubyte.gz") as file:
            return count, 28, file.read(16 + count * 784)[16:]
    return 20, 12, random.Random(name).randbytes(20 * 144)


def said_by_page(browser, pixels, side, numbers):
    return browser.run(f"""(() => {{
      const all = Uint8Array.from(atob("{base64.b64encode(pixels).decode()}"), (c) => c.charCodeAt(0)), size = {side * side};
      return {json.dumps(numbers)}.map((n, i) => duet.predict(all.subarray(i * size, (i + 1) * size), n));
    }})()""")


def difference(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def check_network(bench, name):
    checkpoint = bench.scratch / f"{name}.st"
    subprocess.run([bench.test_onnx, "write", name, str(checkpoint)], check=True)
    sharpen(checkpoint, 2)
    count, side, pixels = images_for(bench, name)
    numbers = [i * 10 // count for i in range(count)]
    (bench.scratch / "images").write_bytes(struct.pack(">IIII", 0x803, count, side, side) + pixels)
    wanted = []
    for number in sorted(set(numbers)):
        chosen = ("--number", number, "--first", numbers.index(number), "--count", numbers.count(number))
        wanted += bench.predict(checkpoint, "images", *chosen)
    page = bench.page(checkpoint)
    bench.browser.open(page)
    got = said_by_page(bench.browser, pixels, side, numbers)
    check(f"{name}: nothing was reported and nothing else loaded", [], bench.browser.complaints())
    for head in ("digit", "sum"):
        worst = max(difference(g[head], w[head + "_probabilities"]) for g, w in zip(got, wanted, strict=True))
        check(f"{name}: {head} of {count} images as by duet predict ({worst:.1e})", lambda d: d < TOLERANCE, worst)
        # so that a comparison of nothing is noticed
        spread = max(difference(got[0][head], g[head]) for g in got)
        check(f"{name}: {head} depends on the picture", lambda d: d > 100 * TOLERANCE, spread)
    return page


# ---- drawing


def at(browser, points):
    """Places on the sheet, as shares of its sides, in the window."""
    x, y, width = browser.run("(() => { const b = document.getElementById('drawing').getBoundingClientRect(); return [b.x, b.y, b.width]; })()")
    steps = [(a + (c - a) * t / 8, b + (d - b) * t / 8) for (a, b), (c, d) in zip(points, points[1:]) for t in range(8)] + points[-1:]
    return [(x + width * px, y + width * py) for px, py in steps]


def rest(browser):
    """Until the page shows what the network says of the drawing and the number."""
    end = time.monotonic() + 20
    while browser.run("document.documentElement.dataset.ready") != "yes":
        if time.monotonic() > end:
            raise SystemExit("the page does not come to rest")
        time.sleep(0.01)


def draw(browser, points, touch=False):
    browser.stroke(at(browser, points), touch)
    rest(browser)


def press(browser, key, times=1, **options):
    for _ in range(times):
        browser.press(key, **options)
    rest(browser)


def clear(browser):
    browser.run("document.getElementById('clear').click()")
    rest(browser)


def text_of(browser, element):
    return browser.run(f"document.getElementById('{element}').textContent")


def shown(browser, head):
    """{class: probability} of the most probable ones, as the page says them."""
    label = browser.run(f"document.getElementById('{head}-bars').ariaLabel")
    return {int(c): float(p) / 100 for c, p in re.findall(r"(\d+), ([\d.]+)\s%", label)}


def grey_of(element):
    """An expression: the bytes of a canvas, one a pixel. (Read from a copy, as reading the page's own is worth a warning.)"""
    return f"""(({{ width, height }}) => {{
      const copy = new OffscreenCanvas(width, height).getContext("2d", {{ willReadFrequently: true }});
      copy.drawImage({element}, 0, 0);
      return copy.getImageData(0, 0, width, height).data.filter((_, i) => i % 4 === 0);
    }})({element})"""


DRAWING, SEEN = (grey_of(f"document.getElementById('{name}')") for name in ("drawing", "seen"))


def ink(browser, x, y):
    return browser.run(f"255 - {DRAWING}[{y * 560 + x}]")


def ink_in_all(browser):
    return browser.run(f"{DRAWING}.reduce((n, v) => n + (v < 128), 0)")


def check_saved(bench, checkpoint, what, number):
    """The drawing, saved by the page's button, gets from duet predict what the page shows."""
    browser, folder = bench.browser, bench.scratch / "saved"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    browser.run("document.getElementById('save').click()")
    end = time.monotonic() + 10
    while not (folder / "digit.png").exists():
        if time.monotonic() > end:
            raise SystemExit("no picture was saved")
        time.sleep(0.01)
    answer = bench.predict(checkpoint, folder / "digit.png", "--number", number)[0]
    for head in ("digit", "sum"):
        said = shown(browser, head)
        worst = max(abs(p - answer[head + "_probabilities"][c]) for c, p in said.items())
        check(f"{what}: {head} as by duet predict of the saved picture ({worst:.1e})", lambda d: d <= TOLERANCE + 5e-4, worst)
        check(f"{what}: the {head} shown is the most probable", str(answer[head]), text_of(browser, head))
        check(f"{what}: its bar stands out", answer[head], browser.run(f"[...document.querySelectorAll('#{head}-bars .bar')].findIndex((b) => b.classList.contains('best'))"))
    exact = browser.run(f"""((seen, shown) => ({{ same: seen.join() === shown.join(), ...duet.predict(seen, {number}) }}))(
      duet.fit({{ grey: {DRAWING}, height: 560, width: 560 }}), {SEEN})""")
    check(f"{what}: the picture inside is the drawing's", True, exact["same"])
    for head in ("digit", "sum"):
        worst = difference(exact[head], answer[head + "_probabilities"])
        check(f"{what}: all probabilities of the {head} ({worst:.1e})", lambda d: d < TOLERANCE, worst)


def check_mouse(bench, checkpoint):
    browser = bench.browser
    check("an example is there to begin with", True, ink_in_all(browser) > 5000 and text_of(browser, "digit") != "?")
    draw(browser, SEVEN)
    check("a stroke takes the example's place", [True, 0], [ink(browser, 280, 140) == 255, ink(browser, 150, 400)])
    check("a 7 is seen", "7", text_of(browser, "digit"))
    check_saved(bench, checkpoint, "mouse", 5)
    clear(browser)
    check("Clear clears", [0, "?", "?"], [ink_in_all(browser), text_of(browser, "digit"), text_of(browser, "sum")])
    draw(browser, [(0.5, 0.9), (0.5, 1.4)])
    check("ink ends at the edge", True, ink_in_all(browser) > 0)
    clear(browser)


def check_touch(bench, checkpoint):
    browser = bench.browser
    browser.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    browser.size(390, 844, mobile=True)
    browser.call("Emulation.setTouchEmulationEnabled", enabled=True)
    browser.settle()
    draw(browser, SEVEN, touch=True)
    check("a finger draws", "7", text_of(browser, "digit"))
    clear(browser)
    draw(browser, ONE[::-1], touch=True)
    check("upwards too, and nothing scrolls", ["1", 0], [text_of(browser, "digit"), browser.run("scrollY")])
    check_saved(bench, checkpoint, "finger", 5)
    browser.call("Emulation.setTouchEmulationEnabled", enabled=False)
    for width in (390, 320):
        browser.size(width, 844, mobile=True)
        browser.settle()
        check(f"{width} pixels need no scrolling sideways", True, browser.run("document.documentElement.scrollWidth") <= width)
        left, bottom = browser.run("(() => { const b = document.getElementById('numbers').getBoundingClientRect(); return [b.left, b.bottom]; })()")
        check(f"{width} pixels: result, sheet and numbers fit one screen", True, left >= 0 and bottom <= 844)
        top = "document.getElementById('sheet').getBoundingClientRect().top"
        words = ("", "Digit 8 with 100.0\u00a0%, sum 18 with 100.0\u00a0%. The two heads disagree.")
        check(f"{width} pixels: the sheet does not move with what is said", 1, len({browser.run(f"document.getElementById('words').textContent = '{w}', {top}") for w in words}))
    browser.size(1280, 900)
    browser.settle()


def check_keyboard(bench, page, checkpoint):
    browser = bench.browser
    browser.open(page)
    press(browser, "Tab", 2)
    check("behind the theme Tab goes to the sheet", "drawing", browser.run("document.activeElement.id"))
    check("its focus can be seen", True, browser.run("getComputedStyle(document.getElementById('sheet')).outlineStyle !== 'none' && getComputedStyle(document.getElementById('pen')).display !== 'none'"))
    before = ink_in_all(browser)
    press(browser, "ArrowUp", 6)
    check("a lifted pen leaves no ink", before, ink_in_all(browser))
    press(browser, " ")
    time.sleep(0.05)
    check("Space puts it down, the example goes", [255, 0, "Pen down."], [ink(browser, 280, 160), ink(browser, 350, 330), text_of(browser, "live")])
    press(browser, "ArrowDown", 14)
    press(browser, " ")
    press(browser, "ArrowRight", 5)
    check("Space lifts it", [255, 0], [ink(browser, 280, 430), ink(browser, 340, 440)])
    check("nothing scrolled", 0, browser.run("scrollY"))
    check("a 1 is seen", "1", text_of(browser, "digit"))
    check_saved(bench, checkpoint, "keyboard", 5)
    place = "[document.getElementById('pen').style.left, document.getElementById('pen').style.top].map(parseFloat)"
    x, y = browser.run(place)
    press(browser, "ArrowLeft", shift=True)
    check("Shift makes small steps", True, 0 < x - browser.run(place)[0] < 1)
    x, y = browser.run(place)
    browser.key("down", "ArrowLeft")
    browser.key("down", "ArrowUp")
    browser.key("up", "ArrowLeft")
    browser.key("up", "ArrowUp")
    u, v = browser.run(place)
    check("two arrows go slantwise", True, y > v and math.isclose(x - u, 2 * (y - v), rel_tol=1e-3))
    press(browser, "9")
    check("a digit's key chooses the number", ["9", "9"], [text_of(browser, "number"), browser.run("document.querySelector('#numbers input:checked').value")])
    check_saved(bench, checkpoint, "another number", 9)
    press(browser, "Tab")
    check("then Tab goes to the numbers", "9", browser.run("document.activeElement.value"))
    check("their focus can be seen", True, browser.run("getComputedStyle(document.activeElement.nextSibling).outlineStyle !== 'none'"))
    press(browser, "ArrowLeft")
    check("where arrows choose", "8", text_of(browser, "number"))
    time.sleep(0.7)
    browser.settle()
    check("the result is said", text_of(browser, "words"), text_of(browser, "live"))
    press(browser, "Delete")
    check("Delete clears", [0, "?"], [ink_in_all(browser), text_of(browser, "digit")])


# ---- the page


def check_contents(browser, run):
    digit, total = (f"{100 * run['final'][head]:.2f}\u00a0%" for head in ("digit", "sum"))
    check("network, size and accuracies are said", f"The network learns, {run['parameters']:,} parameters: after 1 epoch of training right for {digit} of the digits "
          f"and {total} of the sums of its validation images.", text_of(browser, "lead"))
    check("inputs and pictures have names", 0, browser.run("[...document.querySelectorAll('input, canvas:not(#maps canvas), [role=img]')].filter((e) => !e.ariaLabel && !(e.labels && e.labels.length)).length"))
    check("headers have a scope", 0, browser.run("document.querySelectorAll('th:not([scope])').length"))
    check("a bar a class", [10, 19], browser.run("['digit', 'sum'].map((h) => document.querySelectorAll(`#${h}-bars .bar`).length)"))
    check("of a dense layer the activations are a strip", [1, "64 activations"], browser.run("[document.querySelectorAll('#maps canvas').length, document.getElementById('maps-about').textContent]"))
    check("all layers are listed", 9, browser.run("document.querySelectorAll('#layers tbody tr').length"))


def check_maps(browser, page):
    """On the page of `fast`, which is open."""
    check("fast is under 2 MB", True, page.stat().st_size < 2_000_000)
    check("its first convolution is drawn", [24, 24, 24], browser.run("(() => { const m = [...document.querySelectorAll('#maps canvas')]; return [m.length, m[0].width, m[0].height]; })()"))
    check("each map differs", 24, browser.run("new Set([...document.querySelectorAll('#maps canvas')].map((m) => m.toDataURL())).size"))


def check_largest(bench):
    checkpoint = bench.scratch / "reference.st"
    subprocess.run([bench.test_onnx, "write", "reference", str(checkpoint)], check=True)
    page = bench.page(checkpoint)
    check("reference is under 35 MB", True, page.stat().st_size < 35_000_000)
    bench.browser.open(page)
    check("reference: nothing was reported and nothing else loaded", [], bench.browser.complaints())
    check("reference: all layers are listed", 21, bench.browser.run("document.querySelectorAll('#layers tbody tr').length"))
    check("reference: both heads answer", [3, 3], [len(shown(bench.browser, head)) for head in ("digit", "sum")])


def check_looks(bench, page):
    browser = bench.browser
    dark = "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) < 200"
    pace = "getComputedStyle(document.querySelector('.level')).transitionDuration"
    background = "Math.min(..." + grey_of("document.querySelector('#maps canvas')") + ")"
    check("light by itself", False, browser.run(dark))
    light = browser.run(background)
    media(browser, "dark", "reduce")
    browser.settle()
    check("dark where the system is, the activations too", [True, True], [browser.run(dark), browser.run(background) < light])
    check("nothing moves where motion is not wanted", "0s", browser.run(pace))
    media(browser, "light", "no-preference")
    browser.run("document.getElementById('theme').click(); document.getElementById('theme').click()")
    browser.settle()
    check("dark where it is chosen, too", [True, True], [browser.run(dark), browser.run(background) < light])
    browser.run("document.getElementById('theme').click()")
    check("else bars do", True, browser.run(pace) != "0s")
    browser.call("Page.navigate", url=page.as_uri())
    amounts, end = set(), time.monotonic() + 5
    while len(amounts) < 5 and time.monotonic() < end:
        amounts.add(browser.run(f"document.readyState === 'complete' ? {DRAWING}.reduce((n, v) => n + (v < 128), 0) : 0"))
        time.sleep(0.02)
    check("and the example is drawn as by a hand", 5, len(amounts))
    browser.open(page)
    draw(browser, ONE)
    check("a hand takes the pen from the example", [0, True], [ink(browser, 200, 100), ink(browser, 280, 280) == 255])
    media(browser, "light", "reduce")


def check_hostile(bench, checkpoint):
    name = "<!--<script><img src=x>"
    data = checkpoint.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + length])
    header["__metadata__"]["network_name"] = name
    text = json.dumps(header).encode()
    hostile = bench.scratch / "hostile.st"
    hostile.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length:])
    bench.browser.open(bench.page(hostile))
    check("a hostile name is no markup", [0, 3, True], bench.browser.run("[document.images.length, document.scripts.length, document.getElementById('lead').textContent.includes('<img src=x')]"))
    check("and runs nothing", [], bench.browser.complaints())


def media(browser, scheme, motion):
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion}])


def take_pictures(browser, directory, page):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, width, height, scheme in (("desktop", 1280, 900, "light"), ("dark", 1280, 900, "dark"), ("phone", 390, 844, "light")):
        browser.size(width, height, mobile=name == "phone")
        media(browser, scheme, "reduce")
        browser.open(page)
        browser.picture(directory / f"{name}.png", whole=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("duet", "test_onnx", "mnist", "chromium", "--pictures"):
        parser.add_argument(name)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        browser = Browser(given.chromium, pathlib.Path(scratch) / "profile")
        try:
            bench = Bench(given, scratch, browser)
            browser.size(1280, 900)
            media(browser, "light", "reduce")
            trained = bench.scratch / "learns.st"
            (bench.scratch / "learns.net").write_text(LEARNS)
            write_some(bench, {"train": 9000, "t10k": 100})
            run = json.loads(bench.run("train", "./learns.net", "--device", "ref", "--data", "some", "--epochs", 1, "--validation", 1000, "--json", "--save", trained))
            page = bench.page(trained)
            browser.open(page)
            check_contents(browser, run)
            check_mouse(bench, trained)
            check_touch(bench, trained)
            check_keyboard(bench, page, trained)
            check_looks(bench, page)
            check("nothing was reported and nothing else loaded", [], browser.complaints())
            check_hostile(bench, trained)
            for name in (*SMALL, *PRESETS):
                last = check_network(bench, name)
            check_maps(browser, last)
            check_largest(bench)
            if given.pictures:
                take_pictures(browser, given.pictures, page)
        finally:
            browser.process.terminate()
            browser.process.wait()
    finish()


if __name__ == "__main__":
    main()
