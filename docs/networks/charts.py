"""Charts as SVG, for light and dark readers, in the colours of page/base.css.

A panel is a dictionary: title, x and y (label, low, high, ticks), series: a list of name, colour (0 to 7), points (x, y) and,
where its values are no numbers any more, lost (x). Each line has its name at its end.
"""
import html
import pathlib
import re

BASE = pathlib.Path(__file__).resolve().parents[2] / "page" / "base.css"
LEFT, TOP, BOTTOM, GAP = 52, 40, 40, 14  # around a plot; GAP: between two names


def style():
    colours = re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", BASE.read_text())
    light, dark = ("".join(f"--{c[0]}:{c[i]};" for c in colours) for i in (1, 2))
    series = "".join(f".s{i}{{color:var(--s{i})}}" for i in range(8))
    return (f"<style>svg{{{light}color-scheme:light dark;font:12px system-ui,sans-serif}}@media (prefers-color-scheme:dark){{svg{{{dark}}}}}{series}"
            "text{fill:var(--ink)}.quiet{fill:var(--quiet)}.name{fill:currentColor}.paper{fill:var(--card)}.title{font-weight:600}"
            ".grid{stroke:var(--rule)}.line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round}.dot{fill:currentColor}.leader{stroke:currentColor;stroke-opacity:.5}</style>")


def text(x, y, words, kind="", anchor="start", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}"{more}>{html.escape(words)}</text>'


def picture(width, height, title, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
            f"<title>{html.escape(title)}</title>{style()}<rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n"
            + "\n".join(parts) + "\n</svg>\n")


def apart(places, low, high):
    """Heights near those wanted, in their order, at least GAP apart, none below `low` or beyond `high` where there is room."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    result = list(places)
    for k, i in enumerate(order):
        result[i] = max(result[i], low + k * GAP, result[order[k - 1]] + GAP if k else low)
    for k, i in enumerate(reversed(order)):
        result[i] = min(result[i], high - k * GAP)
    return result


def plot(panel, left, top, width, height, room):
    """One panel: its plot is width less LEFT and `room` for names, by height less TOP and BOTTOM."""
    (x_name, x0, x1, x_ticks), (y_name, y0, y1, y_ticks) = panel["x"], panel["y"]
    l, r, t, b = left + LEFT, left + width - room, top + TOP, top + height - BOTTOM
    def x(v):
        return l + (v - x0) / (x1 - x0) * (r - l)
    def y(v):
        return b - (min(max(v, y0), y1) - y0) / (y1 - y0) * (b - t)
    parts = [text(l, top + 18, panel["title"], "title"), text(r, b + 32, x_name, "quiet", "end")]
    parts.append(text(left + 14, (t + b) / 2, y_name, "quiet", "middle", f' transform="rotate(-90 {left + 14} {(t + b) / 2:.1f})"'))
    for v in x_ticks:
        parts.append(text(x(v), b + 16, f"{v:g}", "quiet", "middle"))
    for v in y_ticks:
        parts += [f'<path class="grid" d="M{l} {y(v):.1f}H{r}"/>', text(l - 6, y(v) + 4, f"{v:g}", "quiet", "end")]
    whole = [s for s in panel["series"] if len(s["points"]) != 1]
    ends = [y(s["points"][-1][1]) if s["points"] else t for s in whole]
    names = {s["name"]: place for s, place in zip(whole, apart(ends, t, b))}
    for s in panel["series"]:
        kind = f's{s["colour"]}'
        places = [(x(a), y(v)) for a, v in s["points"]]
        parts.append(f'<g class="{kind}">')
        if places:
            parts.append('<path class="line" d="M' + "L".join(f"{a:.1f} {v:.1f}" for a, v in places) + '"/>')
            if s["name"] in names:
                parts.append(f'<path class="leader" d="M{places[-1][0]:.1f} {places[-1][1]:.1f}L{r + 6:.1f} {names[s["name"]]:.1f}"/>')
            if len(places) <= 30:
                parts += [f'<circle class="dot" cx="{a:.1f}" cy="{v:.1f}" r="2.5"/>' for a, v in places]
        if s.get("lost") is not None:
            parts.append(text(x(s["lost"]), (places[-1][1] if places else t) + 4, "×", "name title", "middle"))
        at = (r + 8, names[s["name"]] + 4) if s["name"] in names else (places[0][0], places[0][1] - 7)
        parts += [text(*at, s["name"], "name"), "</g>"]
    return parts


def lines(title, panels, columns, width=880, height=280, room=150):
    parts, each = [], width / columns
    for i, panel in enumerate(panels):
        parts += plot(panel, i % columns * each, i // columns * height, each, height, room)
    return picture(width, height * -(-len(panels) // columns), title, parts)


def heat(title, tables, cell=18):
    """Pairs of tables side by side, (title, name of the rows, [row][sum]), each in shades up to its own largest value: colour 0
    above zero, 1 below."""
    across, down = len(tables[0][2][0]), len(tables[0][2])
    each, high = across * cell + LEFT + 36, 44 + down * cell + 50
    square = f"h{cell - 1}v{cell - 1}h-{cell - 1}z"
    parts = []
    for k, (name, row_name, table) in enumerate(tables):
        l, t = k % 2 * each + LEFT, k // 2 * high + 44
        most = max(abs(v) for row in table for v in row) or 1
        parts += [text(l, t - 26, name, "title"), text(l, t - 8, f"shades up to ±{most:.1f}", "quiet")]
        for n, row in enumerate(table):
            parts.append(text(l - 6, t + (n + 0.75) * cell, str(n), "quiet", "end", ' font-size="10"'))
            for s, v in enumerate(row):
                parts.append(f'<path class="s{int(v < 0)} dot" opacity="{abs(v) / most:.2f}" d="M{l + s * cell} {t + n * cell}{square}"/>')
        for s in range(0, across, 3):
            parts.append(text(l + (s + 0.5) * cell, t + down * cell + 14, str(s), "quiet", "middle", ' font-size="10"'))
        parts += [text(l + across * cell, t + down * cell + 28, "sum", "quiet", "end"),
                  text(l - 22, t + down * cell / 2, row_name, "quiet", "middle", f' transform="rotate(-90 {l - 22:.1f} {t + down * cell / 2:.1f})"')]
    return picture(2 * each, -(-len(tables) // 2) * high, title, parts)
