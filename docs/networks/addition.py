"""The network `add`: its exact form, a start near it, and what its tensor of the number says.

-beta (s - d - n)^2 is largest at s = d + n, the sum of digit d and number n. What does not depend on s drops out of the softmax, and
2 beta (s - 9)(d - 4.5) + 2 beta (s - 9)(n - 4.5) - beta (s - 9)^2 is left: one tensor of the picture, one of the number.
"""
import array

NUMBERS, SUMS = 10, 19


def exact(beta):
    """[number][sum], the number's part of the exact form."""
    return [[2 * beta * (s - 9) * (n - 4.5) for s in range(SUMS)] for n in range(NUMBERS)]


def start(initial, beta):
    """The tensors `initial` with the number's part exact; the picture's part has -beta (s - 9)^2 and is to learn the rest."""
    tensors, table = dict(initial), exact(beta)
    features = tensors["image_part.weight"][0][1]
    tensors["number_part.weight"] = ([SUMS, NUMBERS], array.array("f", (table[n][s] for s in range(SUMS) for n in range(NUMBERS))))
    tensors["number_part.bias"] = ([SUMS], array.array("f", [0] * SUMS))
    tensors["image_part.weight"] = ([SUMS, features], array.array("f", [0] * (SUMS * features)))
    tensors["image_part.bias"] = ([SUMS], array.array("f", (-beta * (s - 9) ** 2 for s in range(SUMS))))
    return tensors


def number_table(tensors):
    """[number][sum], what number_part gives, but for its bias; of its two factors where there are two."""
    (_, inputs), weight = tensors["number_part.weight"]
    rows = [weight[s * inputs:(s + 1) * inputs] for s in range(SUMS)]
    if "number_wide.weight" not in tensors:
        return [[rows[s][n] for s in range(SUMS)] for n in range(NUMBERS)]
    wide = tensors["number_wide.weight"][1]  # [inputs][NUMBERS]
    return [[sum(rows[s][k] * wide[k * NUMBERS + n] for k in range(inputs)) for s in range(SUMS)] for n in range(NUMBERS)]


def interaction(table):
    """A table less the means of its rows, which drop out of the softmax, and of its columns, which the other part can have as well."""
    rows = [sum(row) / SUMS for row in table]
    columns = [sum(table[n][s] for n in range(NUMBERS)) / NUMBERS for s in range(SUMS)]
    mean = sum(rows) / NUMBERS
    return [[table[n][s] - rows[n] - columns[s] + mean for s in range(SUMS)] for n in range(NUMBERS)]


def product(a, b):
    return sum(x * y for p, q in zip(a, b) for x, y in zip(p, q))


def fit(table):
    """How near an interaction is to the exact form and to "n <= s <= n + 9", the sums that n leaves possible, by least squares:
    beta, and the shares of all squares that each of the two explains alone, and both together."""
    form = exact(1)
    window = interaction([[float(n <= s <= n + 9) for s in range(SUMS)] for n in range(NUMBERS)])
    ff, ww, fw = product(form, form), product(window, window), product(form, window)
    ft, wt, tt = product(form, table), product(window, table), product(table, table)
    both = (ft * ft * ww - 2 * ft * wt * fw + wt * wt * ff) / (ff * ww - fw * fw)
    return {"beta": ft / ff, "exact": ft * ft / ff / tt, "window": wt * wt / ww / tt, "both": both / tt,
            "largest": max(abs(x) for row in table for x in row)}
