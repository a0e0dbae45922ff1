"""Peers as processes that work when told to, and the choice of a peer's fastest mode: what programs that compare need."""
import json, os, platform, statistics, subprocess, sys, tempfile

ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
PYTHON = os.environ.get("DUET_PEER_PYTHON") or os.path.join(ROOT, "build/peers/bin/python")
CPU_MODES = ["eager", "channels_last", "compile", "compile_channels_last"]
# Program, modes by device, and how OpenMP threads wait: spinning (default) is fastest on an idle machine, sleeping on a busy one.
PEERS = {"pytorch": ("pytorch.py", {"cpu": CPU_MODES, "cuda": [*CPU_MODES, "graph", "graph_channels_last"]}, ["default", "passive"]),
         "tinygrad": ("tinygrad-peer.py", {"cpu": ["CPU", "CL"]}, ["default"]),
         "openblas": ("openblas.py", {"cpu": ["default"]}, ["default"])}


def say(text):
    print(f"{os.path.basename(sys.argv[0])}: {text}", file=sys.stderr, flush=True)


def cpu_model():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


class Peer:
    """A peer in one mode, as a process. `work`: its network, and options (task, batch, threads, device, precision)."""

    def __init__(self, peer, mode, wait, network, work):
        self.name, self.mode, self.wait, self.batch = f"{mode}, threads wait: {wait}", mode, wait, work.get("batch", 1)
        self.log = tempfile.TemporaryFile("w+")
        environment = os.environ | ({} if wait == "default" else {"OMP_WAIT_POLICY": wait})
        command = [PYTHON, os.path.join(ROOT, "bench/peers", PEERS[peer][0]), network, "--serve", "--mode", mode]
        command += [text for name, value in work.items() for text in (f"--{name}", str(value))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                        text=True, env=environment)
        self.steps_ms, self.seconds_per_step = [], None
        try:
            self.about = self.answer()
        except BaseException:
            self.process.kill()
            raise

    def answer(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.close()
        self.log.seek(0)
        raise RuntimeError((self.log.read().strip().splitlines() or ["it ended without a word"])[-1])

    def run(self, steps):
        self.process.stdin.write(f"run {steps}\n")
        self.process.stdin.flush()
        result = self.answer()
        self.steps_ms += result["step_ms"]
        self.seconds_per_step = statistics.median(self.steps_ms) / 1e3
        return result

    def run_for(self, seconds):
        return self.run(max(2, round(seconds / (self.seconds_per_step * self.about.get("at_once", 1)))))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def best_mode(peer, network, work, seconds, modes=None):
    """Starts every mode, lets them work in turns, closes all but the fastest. Returns it (None: none runs), and what each reached."""
    peers, tried = [], []
    for mode in modes or PEERS[peer][1][work.get("device", "cpu")]:
        for wait in PEERS[peer][2]:
            say(f"starting {peer}, {mode}, threads wait: {wait}")
            try:
                one = Peer(peer, mode, wait, network, work)
                one.run(2)
                peers.append(one)
            except (RuntimeError, OSError) as error:
                say(f"{peer}, {mode} does not run and is skipped: {error}")
                tried.append({"mode": mode, "wait": wait, "error": str(error)})
    for one in peers:
        one.steps_ms = []
    for _ in range(3):
        for one in peers:
            one.run_for(seconds / 3)
    peers.sort(key=lambda one: statistics.median(one.steps_ms))
    for one in peers:
        step_ms = statistics.median(one.steps_ms)
        rate = 1e3 * one.batch / step_ms
        say(f"{peer}, {one.name}: {step_ms:.3g} ms a step (ready after {one.about['warm_up_s']:.1f} s)")
        tried.append({"mode": one.mode, "wait": one.wait, "images_per_second": rate, "warm_up_s": one.about["warm_up_s"]})
    for one in peers[1:]:
        one.close()
    return (peers[0] if peers else None), tried
