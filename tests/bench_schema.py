"""The tiny suite of `duet bench` on a device, against docs/duet-bench-1.schema.json: bench_schema.py PROGRAM SCHEMA DEVICE."""
import copy
import json
import os
import subprocess
import sys

import jsonschema

program, schema_file, device = sys.argv[1:]
with open(schema_file, encoding="utf-8") as file:
    validator = jsonschema.Draft202012Validator(json.load(file))
run = subprocess.run(
    [program, "bench", "--device", device, "--json"],
    env={**os.environ, "DUET_BENCH_SUITE": "other"}, stdout=subprocess.PIPE, timeout=550, check=False)
if run.returncode != 0:
    sys.exit(f"exit status {run.returncode}")
result = json.loads(run.stdout)
for error in validator.iter_errors(result):
    sys.exit(f"{list(error.absolute_path)}: {error.message}")
groups = {row["group"] for row in result["rows"] if row["status"] == "ok"}
if groups != {"peak", "gemm", "conv", "step", "infer", "start"}:
    sys.exit(f"measured only {sorted(groups)}")

# The validator must be able to refuse.
for spoil in (lambda r: r["rows"][0].pop("unit"),
              lambda r: r["rows"][0].update(reason="ok has none"),
              lambda r: r["rows"][0].update(samples=[]),
              lambda r: r["system"].update(cores=0)):
    spoiled = copy.deepcopy(result)
    spoil(spoiled)
    if validator.is_valid(spoiled):
        sys.exit("the schema takes a spoiled result")
print(f"{len(result['rows'])} rows are valid")
