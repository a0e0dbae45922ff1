"""What every peer program shares: MNIST, the options, and the loop that times its work.

A peer prints one JSON object with the time of every call; with --serve it stays, so that a comparison can alternate
it with another program: one JSON line when it is ready (built and warm), then one for each line "run K" it reads.
"""
import argparse, ctypes, gzip, json, os, statistics, sys, time

MNIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "datasets", "mnist")
MEAN, DEVIATION, PIXELS, CLASSES, SUMS = 0.1307, 0.3081, 28 * 28, 10, 19


def mnist(kind="train"):
    """Images (count x 784 bytes) and labels (count bytes), each a bytearray."""
    def read(name, header):
        with gzip.open(os.path.join(MNIST, name)) as file:
            return bytearray(file.read()[header:])
    return read(f"{kind}-images-idx3-ubyte.gz", 16), read(f"{kind}-labels-idx1-ubyte.gz", 8)


def keep_memory():
    """Makes glibc keep freed memory. By default it returns large blocks to the system and a framework that allocates
    its activations at every step pays for fresh pages each time. Elsewhere this does nothing."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(mmap_max, 0)


def options(description, networks, modes, tasks=("step", "infer"), devices=("cpu",), precisions=("fp32",)):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("network", choices=networks)
    parser.add_argument("--task", choices=tasks, default="step", help="training steps, or forward from an image in host memory")
    parser.add_argument("--batch", type=int, default=128, help="images per step")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--mode", choices=modes, default=modes[0])
    parser.add_argument("--device", choices=devices, default=devices[0])
    parser.add_argument("--precision", choices=precisions, default="fp32")
    parser.add_argument("--steps", type=int, default=100, help="steps to time, after those that warm up")
    parser.add_argument("--warm-up", type=int, default=5, help="steps before, not timed")
    parser.add_argument("--serve", action="store_true", help='read lines "run K" and answer each with the times of K steps')
    args = parser.parse_args()
    if min(args.batch, args.threads, args.steps, args.warm_up) < 1:
        parser.error("all numbers must be at least 1")
    return args


def timed(step, count, batch, at_once):
    """Runs `step`, each time `at_once` of them, `count` times; it returns only when its work is done."""
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        seconds.append((time.perf_counter() - start) / at_once)
    return {"steps": count * at_once, "seconds": sum(seconds) * at_once, "step_ms": [round(1e3 * s, 5) for s in seconds],
            "images_per_second": {"mean": count * batch / sum(seconds), "median": batch / statistics.median(seconds),
                                  "best": batch / min(seconds)}}


def serve(args, about, step, loss):
    """`about`: what the peer says of itself, with `at_once`, the steps that one call of `step` does (1 when absent); `loss`: a
    function that gives the last step's loss (None: there is none)."""
    start = time.perf_counter()
    for _ in range(args.warm_up):
        step()
    about |= {"network": args.network, "task": args.task, "mode": args.mode, "device": args.device, "precision": args.precision,
              "threads": args.threads, "batch": args.batch, "warm_up_s": time.perf_counter() - start}

    def report(count):
        return timed(step, count, args.batch, about.get("at_once", 1)) | {"loss": loss()}
    if not args.serve:
        print(json.dumps(about | report(args.steps)))
        return
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        word, count = line.split()
        if word != "run" or int(count) < 1:
            sys.exit(f'{about["peer"]}: "{line.strip()}" is not "run K"')
        print(json.dumps(report(int(count))), flush=True)
