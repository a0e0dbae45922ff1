#!/usr/bin/env python3
"""The page of `duet compare --out F.html` in headless Chromium, over its debugging pipe.

    test_page.py DUET CHROMIUM [--pictures DIRECTORY]

Prints a line a check; exit status 1 when one failed. With --pictures also draws the page as a desktop, a phone, in the
dark and on paper.
"""
import argparse
import base64
import csv
import json
import pathlib
import subprocess
import tempfile

import make_bench
from chromium import Browser, check, finish

HOSTILE = "</script><img src=x onerror=\"window.hit=1\"><!-- '\"`&lt;\u2028"


def hostile(path):
    file = make_bench.File(99, 3).all()
    content = file.json()
    content["devices"][0]["name"] = HOSTILE
    content["program"]["version"] = HOSTILE
    content["system"]["os"] = "\u001b[31m\u202eevil"
    content["rows"][0].update(name=HOSTILE, parameters={HOSTILE: HOSTILE})
    content["rows"][1].update(status="error", reason=HOSTILE)
    pathlib.Path(path).write_text(json.dumps(content))
    return str(path)


def compare(duet, files, out):
    subprocess.run([duet, "compare", *files, "--out", str(out)], check=True)
    return out


ROWS = "[...document.querySelectorAll('#numbers tbody tr:not(.group)')]"


def check_contents(browser, rows):
    check("nothing was reported and nothing else loaded", [], browser.complaints())
    keys = {(r["group"], r["name"], r["parameters"], r["unit"]) for r in rows}
    columns = {r["key"] for r in rows}
    check("every measurement is a row", len(keys), browser.run(f"{ROWS}.length"))
    check("names are there as they are", sorted(k[1] for k in keys), sorted(browser.run(f"{ROWS}.map((r) => r.cells[0].firstChild.textContent)")))
    check("every device is a column", len(columns), browser.run("document.querySelectorAll('#numbers thead th').length - 2"))
    check("a cell for each", len(keys) * len(columns), browser.run(f"{ROWS}.reduce((n, r) => n + r.cells.length - 2, 0)"))
    check("missing ones show", sum(r["status"] == "missing" for r in rows), browser.run("document.querySelectorAll('#numbers td.missing').length"))
    check("others without a number show", sum(r["status"] in ("unsupported", "skipped", "error") for r in rows),
          browser.run("document.querySelectorAll('#numbers td.state').length"))
    check("with their reasons", sum(r["status"] in ("unsupported", "skipped", "error") for r in rows),
          browser.run("document.querySelectorAll('#why tbody tr').length"))
    check("a device's row each", len(columns), browser.run("document.querySelectorAll('#summary tbody tr').length"))
    check("strings of files are no markup", [0, 2, True],
          browser.run("[document.images.length, document.scripts.length, window.hit === undefined]"))
    check("control characters are gone", False, browser.run("/[\\u0000-\\u0008\\u001b\\u202e]/.test(document.body.textContent)"))


def check_access(browser):
    browser.run("dispatchEvent(new Event('beforeprint'))")  # all charts, not only those in view
    check("there are charts", lambda n: n > 40, browser.run("document.querySelectorAll('svg').length"))
    check("headers have a scope", 0, browser.run("document.querySelectorAll('th:not([scope])').length"))
    check("charts have words", 0, browser.run("document.querySelectorAll('svg:not([aria-label], [aria-hidden]), svg:not([role=img], [aria-hidden])').length"))
    check("inputs have labels", 0, browser.run("[...document.querySelectorAll('input,select')].filter((e) => !e.labels.length && !e.ariaLabel).length"))
    check("a roofline a device that did work", 8, browser.run("document.querySelectorAll('#roofline-charts svg').length"))
    check("curves of both heads", 2, browser.run("document.querySelectorAll('#curve-charts svg[role=img]').length"))
    browser.run("document.body.focus()")
    reached = []
    for _ in range(7):
        browser.press("Tab")
        reached.append(browser.run("document.activeElement.id || document.activeElement.textContent"))
    check("Tab goes from link to link", ["Skip to the table", "theme", "find", "group", "device"], reached[:5])
    check("focus can be seen", lambda style: style != "none", browser.run("getComputedStyle(document.activeElement).outlineStyle"))


def sort_of(ratios):
    return sorted(ratios, reverse=True)


def check_sorting(browser):
    head = "document.querySelector('#numbers th[data-by=name]')"
    names = "[...document.querySelectorAll('#numbers tbody')].map((b) => [...b.rows].slice(1).map((r) => r.cells[0].textContent))"
    before = browser.run(names)
    browser.run(f"{head}.querySelector('button').focus()")
    browser.press("Enter")
    check("Enter sorts", "ascending", browser.run(f"{head}.ariaSort"))
    check("names ascend", True, browser.run(f"{names}.every((g) => g.every((n, i) => !i || g[i - 1].localeCompare(n) <= 0))"))
    browser.press(" ")
    check("Space sorts the other way, the focus stayed", "descending", browser.run(f"{head}.ariaSort"))
    check("names descend", True, browser.run(f"{names}.every((g) => g.every((n, i) => !i || g[i - 1].localeCompare(n) >= 0))"))
    browser.press("Enter")
    check("the third press restores the order", before, browser.run(names))
    browser.run("document.querySelector('#numbers th[data-by=c1] button').focus()")
    browser.press("Enter")
    ratios = "[...document.querySelectorAll('#numbers tbody')].map((b) => [...b.rows].slice(1).map((r) => parseFloat(r.cells[3].textContent.split('×')[1] || '-1')))"
    check("ratios descend, empty ones last", lambda groups: all(sort_of(g) == g for g in groups), browser.run(ratios))
    browser.run("document.querySelector('#summary th[data-by=date] button').focus()")
    browser.press("Enter")
    check("devices sort", True, browser.run("[...document.querySelectorAll('#summary tbody tr')].every((r, i, a) => !i || a[i - 1].cells[5].textContent <= r.cells[5].textContent)"))


def check_filters(browser, total):
    browser.write("find", "CONV2 forward")
    check("text filters rows", [True, True], browser.run(f"[{ROWS}.length > 0, {ROWS}.every((r) => /conv2 forward/.test(r.textContent))]"))
    check("and charts", browser.run(f"{ROWS}.length"), browser.run("document.querySelectorAll('#bar-charts figure').length"))
    browser.write("find", "no such thing")
    check("nothing found is said", lambda t: t.startswith("0 of"), browser.run("document.getElementById('count').textContent"))
    browser.write("find", "")
    check("all come back", total, browser.run(f"{ROWS}.length"))
    browser.run("document.getElementById('group').focus()")
    browser.press("ArrowDown")
    check("a group is chosen by key", 1, browser.run("document.querySelectorAll('#numbers tbody').length"))
    browser.run("document.activeElement.value = ''; document.activeElement.dispatchEvent(new Event('change'))")
    browser.write("device", "h200")
    check("devices filter columns", 1, browser.run("document.querySelectorAll('#numbers thead th').length - 2"))
    browser.write("device", "")
    browser.run("document.querySelector('#summary tbody input').focus()")
    before = browser.run("document.querySelectorAll('#numbers thead th').length")
    browser.press(" ")
    check("Space hides a device", before - 1, browser.run("document.querySelectorAll('#numbers thead th').length"))
    browser.run("document.getElementById('all').click()")


def darkness(browser):
    return browser.run("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) < 200")


def check_looks(browser):
    check("light by itself", False, darkness(browser))
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    check("dark where the system is", True, darkness(browser))
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    browser.run("document.getElementById('theme').focus()")
    for wanted in (False, True):
        browser.press("Enter")
        check(f"the switch: {'dark' if wanted else 'light'}", wanted, darkness(browser))
    browser.call("Emulation.setEmulatedMedia", media="print")
    check("paper is light, without tools", [False, "none"], [darkness(browser), browser.run("getComputedStyle(document.querySelector('.tools')).display")])
    browser.call("Emulation.setEmulatedMedia", media="")
    browser.press("Enter")
    browser.size(390, 844, mobile=True)
    browser.settle()
    check("a phone need not scroll sideways", lambda w: w <= 390, browser.run("document.documentElement.scrollWidth"))
    browser.size(1280, 900)
    paper = base64.b64decode(browser.call("Page.printToPDF")["data"])
    check("it prints", True, paper.startswith(b"%PDF") and len(paper) > 20000)
    check("all charts were drawn for it", 0, browser.run("[...document.querySelectorAll('figure')].filter((f) => !f.querySelector('svg[role=img]')).length"))
    return paper


def take_pictures(browser, directory, page, paper):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "print.pdf").write_bytes(paper)
    browser.run("localStorage.clear()")
    for name, width, height, scheme in (("desktop", 1280, 900, "light"), ("dark", 1280, 900, "dark"), ("phone", 390, 844, "light")):
        browser.size(width, height, mobile=name == "phone")
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.open(page)
        browser.run("dispatchEvent(new Event('beforeprint'))")
        browser.settle()
        browser.picture(directory / f"{name}.png", whole=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("duet")
    parser.add_argument("chromium")
    parser.add_argument("--pictures")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        scratch = pathlib.Path(scratch)
        some = make_bench.fleet(scratch / "some", 7) + [hostile(scratch / "hostile.json")]
        page = compare(given.duet, some, scratch / "some.html")
        rows = list(csv.DictReader(compare(given.duet, some, scratch / "some.csv").open(newline="", encoding="utf-8")))
        many = compare(given.duet, make_bench.fleet(scratch / "many", 100), scratch / "many.html")
        browser = Browser(given.chromium, scratch / "profile")
        try:
            browser.size(1280, 900)
            browser.open(page)
            check_contents(browser, rows)
            check_access(browser)
            check_sorting(browser)
            check_filters(browser, browser.run(f"{ROWS}.length"))
            paper = check_looks(browser)
            check("still nothing was reported", [], browser.complaints())
            seconds = min(browser.open(many) for _ in range(3))
            check("100 files are all there", 100, browser.run("document.querySelectorAll('#summary tbody tr').length"))
            check(f"and drawn in under 2 s ({seconds:.2f} s)", lambda s: s < 2, seconds)
            if given.pictures:
                shown = compare(given.duet, make_bench.fleet(scratch / "some", 7), scratch / "shown.html")
                take_pictures(browser, given.pictures, shown, paper)
        finally:
            browser.process.terminate()
            browser.process.wait()
    finish()


if __name__ == "__main__":
    main()
