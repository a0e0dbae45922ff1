"""Tables and pictures of docs/networks.md from what scripts/networks measured (results.json)."""
import pathlib
import re

import addition
import charts

MAIN = {"fast": "`fast`, ours", "reference": "`reference`, six convolutions", "mlp": "`mlp`, fully connected", "add": "`add`, two tensors added"}
PUBLISHED = pathlib.Path(__file__).resolve().parents[2] / "report" / "published.def"


def published():
    """By preset, what report/published.def says of the best that was published."""
    said = {}
    for preset, epochs, digit, total, remark in re.findall(
            r'^PUBLISHED\("(\w+)", "[^"]*", \d+, (\d+), ([\d.]+), ([\d.]+), "((?:[^"\\]|\\.)*)"\)', PUBLISHED.read_text(), re.MULTILINE):
        said[preset] = f"{digit} / {total} after {epochs} epochs" if epochs != "0" else remark.replace('\\"', '"')
    return said


def percent(epoch):
    return f"{100 * epoch['digit']:.2f} / {100 * epoch['sum']:.2f}"


def table(head, rows):
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def by_epoch(runs, rows):
    """A row each run: its name, what stands behind it in `rows`, and both accuracies by epoch."""
    most = max(len(runs[name]["epochs"]) for name, *_ in rows)
    head = ["", *rows[0][2], *(f"epoch {e}" for e in range(1, most + 1))]
    return table(head, [[label, *cells.values(), *(percent(e) for e in runs[name]["epochs"]), *[""] * (most - len(runs[name]["epochs"]))]
                        for name, label, cells in rows])


def networks(runs):
    said = published()
    rows = []
    for name, label in MAIN.items():
        run = runs[name]
        rows.append([label, f"{run['parameters']:,}", str(len(run["epochs"])), percent(run["epochs"][-1]), f"{run['train_s']:.1f}", said.get(name, "")])
    return (table(["network", "parameters", "epochs", "digit / sum, %", "seconds of training", "published, digit / sum"], rows) + "\n\n"
            + by_epoch(runs, [(name, f"`{name}`", {}) for name in MAIN]))


def mlp(runs):
    """In pairs: what keeps it from learning, and the same with one change."""
    rows = []
    for name, run in runs.items():
        if "cure" not in run:
            continue
        cure = runs[run["cure"]]
        after = "no number" if run.get("lost") else percent(run["epochs"][-1])
        if "never_said" in run:
            after += f"; {run['never_said']} of 10 digits never said"
        rows.append([run["what"], f"`{run['options']}`" if run["options"] else "the default", after, run["change"], percent(cure["epochs"][-1])])
        if "longer" in run:
            rows.append(["", "", "", f"or {len(runs[run['longer']]['epochs'])} epochs", percent(runs[run["longer"]]["epochs"][-1])])
    return table(["what keeps it from learning", "recipe", "digit / sum, %", "one change", "digit / sum, %"], rows)


def fits(interaction):
    fit = addition.fit(interaction)
    return [f"{fit['largest']:.1f}", f"{fit['beta']:.2f}", *(f"{100 * fit[key]:.0f} %" for key in ("exact", "window", "both"))]


def add(runs):
    rows = [name for name in runs if "table" in runs[name]]
    cells = [[runs[name]["what"], percent(runs[name]["epochs"][0]), percent(runs[name]["epochs"][-1]), f"{runs[name]['reach']:.1f}",
              *fits(runs[name]["table"])] for name in rows]
    cells.insert(1, ["the same, the picture's part", "", "", "", *fits(runs["add"]["pictures"])])
    head = ["start or scale", "epoch 1", f"epoch {len(runs[rows[0]]['epochs'])}", "sum of the rates", "largest", "β of the fit", "exact form", "window", "both"]
    return table(head, cells)


def machine(runs):
    last = max(runs.values(), key=lambda run: run["date"])
    old = [f"`{name}` {run['date']}" + (f" ({run['source']})" if "source" in run else "") for name, run in runs.items() if run["date"] != last["date"]]
    busy = max(run.get("load", 0) for run in runs.values())
    return (f"Measured {last['date']} by `scripts/networks` on {last['device']}, fp32, batch 128, seed 1; Adam 0.01 on a one-cycle schedule where nothing else is said."
            + (f" On another day: {', '.join(old)}." if old else "")
            + (f" Other work ran beside it (load {busy:.1f} before a run): do not trust the seconds." if busy > 1.5 else ""))


# ---- pictures


def axis(name, low, high, ticks):
    return (name, low, high, ticks)


def accuracies(runs, names, head, low, ticks, title, most):
    series = [{"name": label, "colour": colour, "points": [(e["epoch"], 100 * e[head]) for e in runs[name]["epochs"]]}
              for colour, (name, label) in enumerate(names)]
    return {"title": title, "x": axis("epoch", 1, most, range(1, most + 1)), "y": axis("% of the test images", low, 100, ticks), "series": series}


def draw_networks(runs):
    names = [(name, name) for name in MAIN]
    most = max(2, *(len(runs[name]["epochs"]) for name in MAIN))
    return charts.lines("Accuracy of both heads by epoch, four networks", [
        accuracies(runs, names, "digit", 94, range(94, 101), "digit", most), accuracies(runs, names, "sum", 30, range(30, 101, 10), "sum", most)], 2, height=300, room=70)


def draw_add(runs):
    names = [(name, runs[name]["short"]) for name in runs if "table" in runs[name]]
    most = max(2, *(len(runs[name]["epochs"]) for name, _ in names))
    return charts.lines("Accuracy of the sum by epoch, the network add from several starts",
                        [accuracies(runs, names, "sum", 30, range(30, 101, 10), "sum of two tensors", most)], 1, width=700, height=400)


def draw_tables(runs):
    shown = [("usual start, the number's part", "number", runs["add"]["table"]), ("usual start, the picture's part", "digit", runs["add"]["pictures"]),
             ("parts as products, the number's", "number", runs["add-factored"]["table"]), ("exact form, β = 1, the number's", "number", addition.exact(1))]
    return charts.heat("What the tensors of number and picture say of each sum", shown)


def losses(run, head):
    return [(row[0], row[1 if head == "digit" else 2]) for row in run["losses"] if row[1 if head == "digit" else 2] is not None]


def draw_mlp(runs):
    groups = {name: [other for other in runs if runs[other].get("cure") == name] for name, run in runs.items() if "recipe" in run}
    panels = []
    for cure, names in groups.items():
        for head, high in (("digit", 3), ("sum", 3.5)):
            series = []
            for colour, name in enumerate([cure, *names]):
                run = runs[name]
                series.append({"name": run["short"], "colour": colour, "points": losses(run, head), "lost": run.get("lost")})
            end = max(epoch["epoch"] for epoch in runs[cure]["epochs"])
            panels.append({"title": f"{runs[cure]['recipe']}: loss of the {head}", "x": axis("epochs", 0, end, range(0, end + 1, 1 if end < 10 else 5)),
                           "y": axis("nats, mean of steps", 0, high, [i / 2 for i in range(round(2 * high) + 1)]), "series": series})
    return charts.lines("Losses of the network mlp where it learns and where it does not", panels, 2, height=240, room=150)


# ---- the page


def fill(page, name, content):
    """The page with what stands between a region's two lines replaced."""
    begin, end = f"<!-- begin {name}: written by scripts/networks -->", f"<!-- end {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"needs one line '{begin}' and one '{end}'")
    before, rest = page.split(begin)
    return f"{before}{begin}\n\n{content}\n\n{end}{rest.split(end)[1]}"


def write(runs, page, folder):
    """The page (a path) with new tables, and its pictures in `folder`."""
    text = page.read_text()
    for name, make in (("machine", machine), ("networks", networks), ("mlp", mlp), ("add", add)):
        text = fill(text, name, make(runs))
    pictures = {"networks.svg": draw_networks, "mlp.svg": draw_mlp, "add.svg": draw_add, "add-tables.svg": draw_tables}
    for name, make in pictures.items():
        (folder / name).write_text(make(runs))
    page.write_text(text)
