#!/usr/bin/env python3
"""Writes files of the form docs/duet-bench-1.schema.json as many machines could have made them. No number in them was
measured: they are for tests of `duet compare` only.

    make_bench.py DIRECTORY [--count 12] [--seed 1] [--samples 20]
"""
import argparse
import json
import pathlib
import random
import statistics

# name, backend, type, platform, driver, FLOP/s, bytes/s, launch seconds, cpu
DEVICES = [
    ("pthread-AMD EPYC 9354", "opencl", "cpu", "Portable Computing Language", "3.1", 1.1e11, 2.4e10, 9e-6, "AMD EPYC 9354"),
    ("NVIDIA GeForce RTX 4070", "cuda", "gpu", "CUDA 13.0", "580.65.06", 2.6e13, 4.6e11, 4e-6, "AMD Ryzen 7 7700X"),
    ("AMD Radeon RX 7800 XT", "opencl", "gpu", "AMD Accelerated Parallel Processing", "3625.0", 3.1e13, 5.6e11, 1.1e-5, "AMD Ryzen 9 5950X"),
    ("Intel(R) Arc(TM) A770 Graphics", "opencl", "gpu", "Intel(R) OpenCL Graphics", "24.35.30872", 1.5e13, 4.1e11, 2e-5, "Intel(R) Core(TM) i5-13600K"),
    ("NVIDIA H200", "cuda", "gpu", "CUDA 13.0", "580.65.06", 6.2e13, 4.1e12, 3e-6, "Intel(R) Xeon(R) Platinum 8592+"),
    ("Apple M2 (llvmpipe)", "opencl", "cpu", "rusticl", "25.0.7", 2e10, 6e10, 6e-5, "Apple M2"),
    ("Intel(R) Core(TM) i5-13600K CPU @ 3.50GHz", "opencl", "cpu", "Intel(R) OpenCL", "2026.2", 4.8e11, 7.1e10, 1.4e-5, "Intel(R) Core(TM) i5-13600K"),
    ("NVIDIA Jetson Orin Nano", "cuda", "gpu", "CUDA 13.0", "540.4.0", 1.2e12, 6.1e10, 9e-6, "ARMv8 Processor rev 1"),
]
PRESETS = {"fast": (6.2e6, 217773), "reference": (1.3e9, 6384925), "mlp": (1.5e6, 245277), "add": (2.5e6, 34366)}


def describe(samples, rng, latency=False):
    ordered = sorted(samples)
    n = len(ordered)
    median = statistics.median(ordered)
    interval = None
    if n >= 5:
        medians = sorted(statistics.median(rng.choices(ordered, k=n)) for _ in range(40))
        interval = [medians[0], medians[-1]]
    return {
        "median": median,
        "mad": statistics.median([abs(x - median) for x in ordered]),
        "interval": interval,
        "mean": statistics.fmean(ordered),
        "sd": statistics.stdev(ordered) if n > 1 else None,
        "p99": ordered[int(0.99 * (n - 1))] if latency else None,
        "stopped_by": "interval" if interval and interval[1] - interval[0] <= 0.03 * median else "budget",
    }


class File:
    """One run; `slow` divides its speed, `noise` is the relative deviation of its samples."""

    def __init__(self, seed, machine=0, program="duet", version="0.1.0", samples=20, slow=1.0, noise=0.02, date=None):
        self.rng = random.Random(f"{seed}/{machine}/{program}/{version}")
        self.device = DEVICES[machine % len(DEVICES)]
        self.samples, self.slow, self.noise = samples, slow, noise
        self.program, self.version = program, version
        self.backend = self.device[1] if program == "duet" else program
        self.date = date or f"2026-11-{1 + seed % 28:02d}T{seed % 24:02d}:00:00Z"
        self.rows = []

    def row(self, group, name, parameters, unit, value, better="higher", n=None, status="ok", reason=None, **more):
        row = {"device": "d0", "group": group, "name": name, "parameters": parameters, "unit": unit, "better": better,
               "status": status, "reason": reason, "seconds": round(self.rng.uniform(0.1, 4), 3), "check": None}
        if status == "ok":
            value = value / self.slow if better == "higher" else value * self.slow
            samples = [value * self.rng.lognormvariate(0, self.noise) for _ in range(n or self.samples)]
            row["samples"] = samples
            row["statistics"] = describe(samples, self.rng, latency=name.startswith("latency"))
            if more.get("work"):
                median = row["statistics"]["median"]
                more["work"]["per_second"] = median / more["work"]["flops"] if unit == "FLOP/s" else median
        row.update(more)
        self.rows.append(row)

    def peaks(self):
        flops, bandwidth, launch = self.device[5:8]
        self.row("peak", "fma", {"precision": "fp32"}, "FLOP/s", flops)
        if self.device[1] == "cuda":
            self.row("peak", "fma", {"precision": "tf32"}, "FLOP/s", flops * 4)
        else:
            self.row("peak", "fma", {"precision": "tf32"}, "FLOP/s", 0, status="unsupported",
                     reason="tensor cores of compute capability 8.0 or later are needed")
        self.row("peak", "fma", {"precision": "fp16"}, "FLOP/s", flops * 2, status="unsupported" if self.device[2] == "cpu" else "ok",
                 reason="cl_khr_fp16 is not reported" if self.device[2] == "cpu" else None)
        for name, part in (("read", 1.0), ("write", 0.8), ("copy", 0.86), ("triad", 0.88)):
            self.row("peak", name, {"memory": "global"}, "B/s", bandwidth * part)
        self.row("peak", "read", {"memory": "local"}, "B/s", bandwidth * 9)
        self.row("peak", "launch", {}, "s", launch, "lower")

    def products(self):
        for size in (256, 1024, 4096):
            part = {256: 0.25, 1024: 0.6, 4096: 0.8}[size]
            if size == 4096 and self.device[5] < 1e11:
                self.row("gemm", "square", {"m": size, "n": size, "k": size, "precision": "fp32"}, "FLOP/s", 0,
                         status="skipped", reason="would take longer than 10 s")
                continue
            self.row("gemm", "square", {"m": size, "n": size, "k": size, "precision": "fp32"}, "FLOP/s",
                     self.device[5] * part, work={"flops": 2.0 * size**3, "bytes": 12.0 * size**2},
                     check={"against": "ref", "what": "64 rows", "worst": 3e-7, "tolerance": 1e-5})

    def layers(self):
        for network in ("fast", "reference"):
            for i, layer in enumerate(("conv1", "conv2", "fc1")):
                for direction in ("forward", "backward", "weights"):
                    flops = (1 + i) * 4e8 * (4 if network == "reference" else 1)
                    intensity = (14, 60, 9)[i]
                    reach = min(self.device[5] * 0.55, self.device[6] * intensity) * self.rng.uniform(0.4, 0.95)
                    broken = self.rng.random() < 0.03
                    self.row("conv", f"{network} {layer} {direction}", {"batch": 128, "precision": "fp32"}, "FLOP/s", reach,
                             status="error" if broken else "ok",
                             reason="numbers differ from the reference: largest error 0.31, allowed 2e-5" if broken else None,
                             work={"flops": flops, "bytes": flops / intensity})

    def training(self):
        for network, (flops, _) in PRESETS.items():
            for batch in (128, 1024):
                self.row("step", network, {"batch": batch, "precision": "fp32"}, "images/s", self.device[5] * 0.3 / (3 * flops),
                         work={"flops": 3 * flops, "bytes": 3 * flops / 40},
                         telemetry={"clock_mhz": [2400, 2610], "temperature_c": 61.5, "power_w": 180.0, "energy_j": 900.0,
                                    "joules_per_image": 0.0021, "throttled": [], "source": "nvml"} if self.device[1] == "cuda" else None)
        epoch = 60000 * 3 * PRESETS["fast"][0] / (self.device[5] * 0.3) * self.slow
        curve = []
        for seed in (1, 2, 3):
            digit, total = 0.985, 0.975
            for i in range(1, 7):
                digit += (0.9945 - digit) * self.rng.uniform(0.3, 0.6)
                total += (0.9925 - total) * self.rng.uniform(0.3, 0.6)
                curve.append({"seed": seed, "epoch": i, "seconds": epoch * i * self.rng.uniform(0.97, 1.03), "digit": digit, "sum": total})
        self.row("train", "time to accuracy", {"network": "fast", "digit": "0.99", "sum": "0.985"}, "s", epoch * 2.2, "lower", n=3, curve=curve)
        self.row("train", "final digit", {"network": "fast", "epochs": 6}, "fraction", 0.9941 * self.slow, n=3)
        self.row("train", "final sum", {"network": "fast", "epochs": 6}, "fraction", 0.9921 * self.slow, n=3)

    def rest(self):
        launch = self.device[7]
        self.row("infer", "latency", {"network": "fast", "batch": 1}, "s", 9 * launch + 3e-5, "lower", n=120)
        self.row("infer", "throughput", {"network": "fast", "batch": 4096}, "images/s", self.device[5] * 0.4 / PRESETS["fast"][0])
        if self.program == "duet":
            self.row("start", "cold", {"network": "fast"}, "s", 3.1, "lower", n=3)
            self.row("start", "warm", {"network": "fast"}, "s", 0.42, "lower", n=5)

    def all(self):
        if self.program == "openblas":
            self.products()
        elif self.program == "duet":
            self.peaks()
            self.products()
            self.layers()
            self.training()
            self.rest()
        else:
            self.training()
            self.rest()
        return self

    def json(self):
        d = self.device
        return {
            "format": "duet-bench-1", "date": self.date,
            "program": {"name": self.program, "version": self.version, "commit": None, "compiler": "gcc 12.2.0", "options": "Release"},
            "command": ["duet", "bench", "--suite", "standard"], "suite": "standard",
            "system": {"cpu": d[8], "architecture": "x86_64", "cores": 16, "memory_bytes": 32 << 30, "os": "Debian GNU/Linux 13",
                       "kernel": "6.12.43", "load_before": 0.2, "a later key": [1, {"of": None}]},
            "devices": [{"id": "d0", "backend": self.backend, "name": d[0], "platform": d[3], "driver": d[4], "type": d[2],
                         "compute_units": 16, "kernel_class": d[2], "note": None}],
            "rows": self.rows, "a later key": True,
        }

    def write(self, path):
        pathlib.Path(path).write_text(json.dumps(self.json()), encoding="utf-8")
        return str(path)


def fleet(directory, count, seed=1, samples=20):
    """`count` files: Duet on every machine, peers on some, and the same machines again with later versions."""
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    programs = [("duet", "0.1.0"), ("duet", "0.2.0"), ("pytorch", "2.15"), ("tinygrad", "0.14"), ("openblas", "0.3.29")]
    paths = []
    for i in range(count):
        program, version = programs[i // len(DEVICES) % len(programs)]
        slow = {"duet": 1.0, "pytorch": 3.1, "tinygrad": 12.0, "openblas": 0.9}[program] / (1.08 if version == "0.2.0" else 1)
        file = File(seed + i, i, program, version, samples, slow).all()
        paths.append(file.write(directory / f"{i:04d}-{program}.json"))
    return paths


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory")
    parser.add_argument("--count", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=int, default=20)
    given = parser.parse_args()
    fleet(given.directory, given.count, given.seed, given.samples)
