#!/usr/bin/env python3
"""`duet compare` from outside: exit statuses, the table, CSV and Markdown read back, many files.

    test_compare.py DUET
"""
import csv
import json
import os
import pathlib
import pty
import re
import resource
import subprocess
import sys
import tempfile
import time
import unittest

import make_bench

DUET = sys.argv.pop(1) if len(sys.argv) > 1 else "build/duet"
EVIL = ["=1+1", "+1", "-1", "@SUM(A1)", 'quote " and, comma', "</td><script>", "a|b `c` [d](http://e) @all www.f.gg", "tab\tline\nend"]


def run(*arguments, status=0, environment=None):
    done = subprocess.run([DUET, "compare", *map(str, arguments)], capture_output=True, text=True, encoding="utf-8",
                          env={**os.environ, **(environment or {})}, timeout=120)
    if done.returncode != status:
        raise AssertionError(f"{arguments}: status {done.returncode}, not {status}:\n{done.stdout}\n{done.stderr}")
    return done.stdout, done.stderr


class Compare(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)
        self.folder = pathlib.Path(self.scratch.name)

    def fleet(self, count, **more):
        return make_bench.fleet(self.folder / "fleet", count, **more)

    def file(self, name, **more):
        """A file with training steps of one machine."""
        file = make_bench.File(more.pop("seed", 1), 0, **more)
        file.training()
        return file.write(self.folder / name)

    def csv(self, files, status=0):
        out = self.folder / "out.csv"
        run(*files, "--out", out, status=status)
        text = out.read_bytes().decode("utf-8")
        self.assertTrue(all(line.endswith("\r") for line in text.split("\n")[:-1]))
        return list(csv.DictReader(text.splitlines()))

    # ---- exit statuses, and what is said

    def test_usage(self):
        good = self.file("a.json")
        self.assertIn("F.json", run(status=2)[1])
        self.assertIn("end the name in .html, .md or .csv", run(good, "--out", "x.txt", status=2)[1])
        self.assertIn("at most 1000", run(*[good] * 1001, status=2)[1])
        self.assertIn("cannot be written", run(good, "--out", self.folder / "no" / "x.csv", status=1)[1])
        self.assertIn("cannot be opened", run(self.folder / "none.json", status=4)[1])

    def test_broken_files_are_named_and_the_rest_goes_on(self):
        good, later = self.file("a.json"), self.file("b.json", version="0.2.0")
        broken, foreign = self.folder / "broken.json", self.folder / "foreign.json"
        broken.write_text(pathlib.Path(good).read_text()[:-100])
        foreign.write_text('{"format": "duet-train-1"}')
        out, err = run(good, broken, foreign, later, status=4)
        self.assertRegex(err, r"duet: .*broken\.json: line 1, column \d+: .*no JSON")
        self.assertRegex(err, r"duet: .*foreign\.json: format: duet-train-1, not duet-bench-1")
        self.assertIn("2 of the files left out", err)
        self.assertIn("duet 0.2.0", out)
        _, err = run(broken, good, later, status=4)
        self.assertIn("ratios are to " + good, err)
        run(broken, foreign, status=4)
        run(good, "--base", broken, status=4)
        self.assertEqual("", run(broken, good, later, "--fail-if-slower", "5", status=4)[0])

    def test_base(self):
        files = [self.file("a.json"), self.file("b.json", version="0.2.0", slow=2), self.file("c.json", version="0.3.0")]
        self.assertRegex(run(*files)[0], r"A  .*0\.1\.0\S*  \(base\)")
        for base in (files[1], self.folder / "." / "b.json"):
            out = run(*files, "--base", base)[0]
            self.assertRegex(out, r"A  .*0\.2\.0\S*  \(base\)")
            self.assertNotIn("\nD", out)
        self.assertIn("D/A", run(*files, "--base", self.file("d.json", version="0.4.0"))[0])

    def test_fail_if_slower(self):
        base = self.file("base.json")
        for seed in range(2, 22):
            same = self.file("same.json", seed=seed)
            slow = self.file("slow.json", seed=seed, slow=1.1)
            out, _ = run(base, same, "--fail-if-slower", "5")
            self.assertIn("0 slower than the base", out)
            self.assertRegex(out, r"3 not judged")  # three seeds of training
            out, err = run(base, slow, "--fail-if-slower", "5", status=1)
            self.assertEqual(8, len(re.findall(r"^slower: step ", out, re.M)), out)
            self.assertIn("slower than " + base, err)
        run(slow, base, "--fail-if-slower", "5")
        run(base, slow, "--fail-if-slower", "15")

    def test_what_is_lost_fails(self):
        base, other = self.file("base.json"), self.file("other.json")
        content = json.loads(pathlib.Path(other).read_text())
        content["rows"][0].update(status="error", reason="signal 11")
        del content["rows"][1]
        pathlib.Path(other).write_text(json.dumps(content))
        out, _ = run(base, other, "--fail-if-slower", "5", status=1)
        self.assertRegex(out, r"no result: step .*: error where the base is ok: signal 11\n")
        self.assertRegex(out, r"no result: step .*: missing where the base is ok\n")
        self.assertIn("2 without a result", out)

    def test_nothing_to_judge_is_no_pass(self):
        base = self.file("base.json")
        self.assertIn("nothing beside the base", run(base, "--fail-if-slower", "5", status=4)[1])
        few = self.file("few.json", samples=3)
        self.assertIn("nothing could be judged", run(base, few, "--fail-if-slower", "5", status=1)[1])

    # ---- the table

    def test_width(self):
        files = self.fleet(9)
        for count in range(1, 10):
            out = run(*files[:count])[0]
            tables = out[: out.rfind("\n\n")]
            self.assertLessEqual(max(len(line) for line in tables.split("\n") if "=" not in line), 80, out)
            self.assertEqual(count >= 6, "--out F.html" in out.split("\n\n")[-1], out)

    def test_prefixes_and_states(self):
        out = run(*self.fleet(2))[0]
        for words in ("GFLOP/s", "GB/s", "images/s", "µs", "ms", "unsupp.", "digit / sum, %", "(3 seeds)", "\n  p99 "):
            self.assertIn(words, out)
        self.assertRegex(out, r"A: fma precision=tf32: unsupported: tensor cores")
        content = json.loads(pathlib.Path(self.file("a.json")).read_text())
        content["rows"][1]["telemetry"] = {"throttled": ["power cap", "heat"]}
        (self.folder / "b.json").write_text(json.dumps(content))
        self.assertIn("A: fast batch=1024, precision=fp32: throttled: power cap, heat", run(self.folder / "b.json")[0])

    def test_colours_only_on_a_terminal(self):
        files = self.fleet(2)
        self.assertNotIn("\033", run(*files)[0])

        def on_terminal(**environment):
            leader, follower = pty.openpty()
            with subprocess.Popen([DUET, "compare", *files], stdout=follower, env={**os.environ, **environment}) as child:
                os.close(follower)
                text = b""
                try:
                    while piece := os.read(leader, 65536):
                        text += piece
                except OSError:
                    pass  # the terminal's end
                child.wait()
            os.close(leader)
            return text.decode()

        colourless = {"NO_COLOR": "", "TERM": "xterm"}
        self.assertIn("\033[36m", on_terminal(**colourless))
        self.assertNotIn("\033", on_terminal(NO_COLOR="1", TERM="xterm"))
        self.assertNotIn("\033", on_terminal(NO_COLOR="", TERM="dumb"))

    def test_hostile_texts_reach_no_terminal(self):
        content = json.loads(pathlib.Path(self.file("a.json")).read_text())
        content["rows"][0].update(status="error", reason="\033]0;title\007\u202egnp.exe\r\n\u009b31m")
        content["devices"][0]["name"] = "\033[2J\033[1;1HGPU"
        path = self.folder / "b.json"
        path.write_text(json.dumps(content))
        out = run(path)[0]
        self.assertIsNone(re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", out))

    # ---- files

    def test_csv(self):
        files = self.fleet(6)
        rows = self.csv(files)
        measurements = {(r["group"], r["name"], r["parameters"], r["unit"]) for r in rows}
        self.assertEqual(len(measurements) * 6, len(rows))
        for i, path in enumerate(files):
            content = json.loads(pathlib.Path(path).read_text())
            own = {(r["group"], r["name"], r["parameters"]): r for r in rows if r["file"] == path}
            for row in content["rows"]:
                parameters = ", ".join(f"{k}={v}" for k, v in sorted(row["parameters"].items()))
                got = own.pop((row["group"], row["name"], parameters))
                self.assertEqual(row["status"], got["status"])
                if row["status"] == "ok":
                    self.assertAlmostEqual(1, float(got["median"]) / row["statistics"]["median"], 6)
                    self.assertAlmostEqual(1, float(got["sd"]) / row["statistics"]["sd"], 6)
                    self.assertEqual(len(row["samples"]), int(got["samples"]))
                else:
                    self.assertEqual((row["reason"], "", ""), (got["reason"], got["median"], got["ratio"]))
            self.assertTrue(all(r["status"] == "missing" for r in own.values()))
            self.assertTrue(all(None not in r and None not in r.values() for r in rows))
        for r in rows:
            if r["ratio_low"]:
                self.assertLessEqual(float(r["ratio_low"]), float(r["ratio_high"]))
                low, high = float(r["ratio_low"]) > 1, float(r["ratio_high"]) < 1
                self.assertEqual("better" if low else "worse" if high else "no difference", r["verdict"])
        launch = {r["key"]: r for r in rows if r["name"] == "launch"}
        self.assertAlmostEqual(float(launch["A"]["median"]) / float(launch["B"]["median"]), float(launch["B"]["ratio"]), 5)
        fma = {r["key"]: r for r in rows if r["name"] == "fma" and "fp32" in r["parameters"]}
        self.assertAlmostEqual(float(fma["B"]["median"]) / float(fma["A"]["median"]), float(fma["B"]["ratio"]), 3)

    def evil_file(self):
        content = json.loads(pathlib.Path(self.file("a.json")).read_text())
        for row, words in zip(content["rows"], EVIL):
            row["name"] = words
        content["devices"][0]["driver"] = "=cmd|' /C calc'!A0"
        path = self.folder / "evil.json"
        path.write_text(json.dumps(content))
        return path

    def test_csv_starts_no_formula(self):
        path = self.evil_file()
        rows = self.csv([path])
        cells = [cell for row in rows for cell in row.values()]
        numbers = re.compile(r"-?[0-9.]+(e[+-]?[0-9]+)?$")
        self.assertEqual([], [c for c in cells if c and c[0] in "=+-@\t\r" and not numbers.match(c)])
        names = {r["name"].removeprefix("'") for r in rows}
        self.assertTrue(set(EVIL[:-1]) <= names, names)
        self.assertIn("tab line end", names)
        self.assertTrue(all(r["name"].startswith("'") for r in rows if r["name"].lstrip("'") in EVIL[:4]))

    def test_markdown(self):
        out = self.folder / "out.md"
        run(*self.fleet(3), "--out", out)
        lines = out.read_text(encoding="utf-8").split("\n")
        blocks, block = [], []
        for line in lines + [""]:
            if line.startswith("|"):
                block.append(line)
            elif block:
                blocks.append(block)
                block = []
        self.assertEqual(2 + 7 + 1, len(blocks))  # devices, means, seven groups, reasons
        for block in blocks:
            self.assertEqual(1, len({len(re.findall(r"(?<!\\)\|", line)) for line in block}), block)
        run(*self.fleet(20), "--out", out)
        self.assertIn("too wide for a table", out.read_text())

    def test_markdown_stays_text(self):
        out = self.folder / "out.md"
        run(self.evil_file(), "--out", out)
        text = out.read_text(encoding="utf-8")
        self.assertNotIn("<script", text)
        self.assertNotIn("@", text)
        self.assertNotIn("http://", text)
        self.assertNotIn("www.", text)
        self.assertIn(r"a\|b \`c\` \[d\](http&#58;//e)", text)

    def test_html_data(self):
        """The data element is JSON, and holds no character that could end it."""
        out = self.folder / "out.html"
        run(self.evil_file(), *self.fleet(3), "--out", out)
        text = out.read_text(encoding="utf-8")
        data = text.split('<script type="application/json" id="data">')[1].split("</script>")[0]
        self.assertFalse(set("<>&") & set(data))
        parsed = json.loads(data)
        self.assertEqual(4, len(parsed["columns"]))
        self.assertIn("</td><script>", [line["name"] for line in parsed["lines"]])
        self.assertIsNone(re.search(r"(src|href)=[\"'](?!#)|@import|url\(", text))
        self.assertNotIn("innerHTML", text)

    def test_deterministic(self):
        files = self.fleet(3)
        for end in ("csv", "html", "md"):
            outs = [self.folder / f"{i}.{end}" for i in range(2)]
            for out in outs:
                run(*files, "--out", out)
            self.assertEqual(outs[0].read_bytes(), outs[1].read_bytes())

    def test_benchmarks_page(self):
        """scripts/benchmarks: made anew, kept but for what is between the markers, left alone when a file is broken."""
        script = pathlib.Path(__file__).resolve().parent.parent / "scripts" / "benchmarks"
        results, page = self.folder / "results", self.folder / "page.md"
        results.mkdir()

        def write(status):
            done = subprocess.run([script, "--results", results, "--out", page, "--duet", os.path.abspath(DUET)],
                                  capture_output=True, text=True, timeout=60)
            self.assertEqual(status, done.returncode, done.stderr)
            return done.stderr

        self.assertIn("no file of the form duet-bench-1", write(4))
        (results / "other.json").write_text('{"format": "duet-side-by-side-1"}')
        make_bench.fleet(results, 2)
        write(0)
        first = page.read_text(encoding="utf-8")
        self.assertIn("duet bench --suite standard", first)
        self.assertIn("### Training steps", first)
        write(0)
        self.assertEqual(first, page.read_text(encoding="utf-8"))
        page.write_text(first.replace("# Benchmarks", "# Ours").replace("### Training steps", "### Old") + "The end.\n", encoding="utf-8")
        make_bench.fleet(results, 3)
        write(0)
        later = page.read_text(encoding="utf-8")
        for words in ("# Ours", "### Training steps", "| C |", "The end.\n"):
            self.assertIn(words, later)
        self.assertNotIn("### Old", later)
        (results / "broken.json").write_text('{"format": "duet-bench-1"')
        self.assertIn("broken.json", write(4))
        self.assertEqual(later, page.read_text(encoding="utf-8"))

    def test_thousand_files(self):
        count = 200 if "sanitize" in DUET else 1000
        files = self.fleet(count, samples=10)
        for end in ("csv", "html", "md"):
            start = time.monotonic()
            run(*files, "--out", self.folder / f"out.{end}")
            seconds = time.monotonic() - start
            print(f"{count} files to .{end}: {seconds:.1f} s", file=sys.stderr)
            self.assertLess(seconds, 20)
        out = run(*files)[0]
        self.assertIn(f"and {count - 50} more columns", out)
        megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"largest: {megabytes:.0f} MB", file=sys.stderr)
        self.assertLess(megabytes, 500)


if __name__ == "__main__":
    unittest.main()
