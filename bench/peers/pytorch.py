#!/usr/bin/env python3
"""Duet's four networks in PyTorch, as fast as PyTorch offers, on the CPU or an NVIDIA GPU: run it with build/peers/bin/python.

A step does what Duet's does: it picks the batch from the images on the device (uint8), normalises it, draws the
numbers, runs forward and backward of both heads and updates (Adam 0.01, betas 0.9 and 0.99).
"""
import torch
import torch.nn as nn
import torch.nn.functional as F

import peer

MODES = ["eager", "channels_last", "compile", "compile_channels_last", "graph", "graph_channels_last"]
AT_ONCE = 20  # steps of a GPU before it is waited for


def pooled(*layers):
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.ReLU())  # ReLU after the maximum: the same values, a quarter of the work


def conv(inputs, outputs, kernel, pad=0):
    return nn.Conv2d(inputs, outputs, kernel, padding=pad)


def hidden(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU())


class Network(nn.Module):
    """`trunk`: image to features; `digit`: features to logits; `head`: (features, logits, one-hot number) to the sum's."""

    def __init__(self, trunk, digit, sum_layers, head):
        super().__init__()
        self.trunk, self.digit, self.sum_layers, self.head = trunk, digit, sum_layers, head

    def forward(self, image, number):
        features = self.trunk(image)
        digit = self.digit(features)
        return digit, self.head(self.sum_layers, features, digit, number)


def from_digit(layers, features, digit, number):
    return layers(torch.cat([digit, number], 1))


def from_features(layers, features, digit, number):
    return layers(torch.cat([features, number], 1))


def added(layers, features, digit, number):
    return layers[0](features) + layers[1](number)


def fast():
    trunk = nn.Sequential(pooled(conv(1, 24, 5)), pooled(conv(24, 32, 3)), nn.Flatten(), hidden(800, 256))
    return Network(trunk, nn.Linear(256, 10), nn.Sequential(hidden(20, 64), nn.Linear(64, 19)), from_digit)


def reference():
    trunk = nn.Sequential(conv(1, 32, 3, 1), nn.ReLU(), pooled(conv(32, 64, 3, 1)), conv(64, 128, 3, 1), nn.ReLU(),
                          pooled(conv(128, 256, 3, 1)), conv(256, 512, 3), nn.ReLU(), conv(512, 1024, 3), nn.ReLU())
    digit = nn.Sequential(conv(1024, 10, 3), nn.Flatten())
    return Network(trunk, digit, nn.Sequential(hidden(20, 128), nn.Linear(128, 19)), from_digit)


def add():
    trunk = nn.Sequential(pooled(conv(1, 6, 5)), pooled(conv(6, 12, 5)), nn.Flatten(), hidden(192, 120), hidden(120, 60))
    return Network(trunk, nn.Linear(60, 10), nn.ModuleList([nn.Linear(60, 19), nn.Linear(10, 19)]), added)


def mlp():
    trunk = nn.Sequential(nn.Flatten(), hidden(784, 256), hidden(256, 128))
    return Network(trunk, nn.Linear(128, 10), nn.Sequential(hidden(138, 64), nn.Linear(64, 19)), from_features)


NETWORKS = {"fast": fast, "reference": reference, "add": add, "mlp": mlp}


class Trainer:
    """Modes: eager, compile (its autotuned form on a GPU), each with channels_last; graph: the whole step captured once and replayed."""

    def __init__(self, args):
        self.device, self.mode = args.device, args.mode
        images, labels = peer.mnist()
        self.host = torch.frombuffer(images, dtype=torch.uint8).view(-1, 1, 28, 28)  # [60000][1][28][28]
        self.images, self.labels = self.host.to(args.device), torch.frombuffer(labels, dtype=torch.uint8).long().to(args.device)
        self.batch, self.next, self.order, self.loss, self.graph = args.batch, len(self.labels), None, None, None
        if args.batch > len(self.labels):
            raise SystemExit(f"pytorch: batch {args.batch} is more than the {len(self.labels)} images")
        self.layout = torch.channels_last if args.mode.endswith("channels_last") else torch.contiguous_format
        self.autocast = torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bf16")
        self.network = NETWORKS[args.network]().to(args.device, memory_format=self.layout)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=0.01, betas=(0.9, 0.99), fused=True,
                                          capturable=args.mode.startswith("graph"))
        self.forward, self.guess = self.losses, self.outputs
        if args.mode.startswith("compile"):
            how = {"mode": "max-autotune"} if args.device == "cuda" else {}
            self.forward, self.guess = torch.compile(self.losses, **how), torch.compile(self.outputs, **how)

    def outputs(self, image, number):
        image = (image.float() / 255 - peer.MEAN) / peer.DEVIATION
        with self.autocast:
            return self.network(image.contiguous(memory_format=self.layout), F.one_hot(number, peer.CLASSES).float())

    def losses(self, samples, number):
        """The mean of the two cross-entropies; samples and number: [batch]."""
        label = self.labels[samples]
        digit, total = self.outputs(self.images[samples], number)
        return (F.cross_entropy(digit.float(), label) + F.cross_entropy(total.float(), label + number)) / 2

    def update(self, samples):
        loss = self.forward(samples, torch.randint(peer.CLASSES, (self.batch,), device=self.device))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=not self.mode.startswith("graph"))
        return loss.detach()

    def capture(self, samples):
        """The step as a CUDA graph that reads `self.samples`; it must have run a few times on another stream before."""
        self.samples = samples.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self.update(self.samples)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = self.update(self.samples)

    def step(self):
        if self.next + self.batch > len(self.labels):  # whole batches only, in a new order each epoch
            self.order, self.next = torch.randperm(len(self.labels), device=self.device), 0
        samples = self.order[self.next:self.next + self.batch]
        self.next += self.batch
        if not self.mode.startswith("graph"):
            self.loss = self.update(samples)
            return
        if not self.graph:
            self.capture(samples)
        self.samples.copy_(samples)
        self.graph.replay()

    def steps_done(self):
        """Steps of a GPU overlap: the time that counts is that of many. A few are in flight at most."""
        for _ in range(AT_ONCE if self.device == "cuda" else 1):
            self.step()
        if self.device == "cuda":
            torch.cuda.synchronize()

    def infer(self):
        """From images in host memory to two digits each in host memory."""
        with torch.inference_mode():
            image, number = self.host[:self.batch].to(self.device), torch.zeros(self.batch, dtype=torch.long, device=self.device)
            digit, total = self.guess(image, number)
            return digit.argmax(1).cpu(), total.argmax(1).cpu()


def main():
    args = peer.options("Times PyTorch on one of Duet's networks.", list(NETWORKS), MODES, devices=["cpu", "cuda"],
                        precisions=["fp32", "tf32", "bf16"])
    if args.device == "cpu" and (args.mode.startswith("graph") or args.precision == "tf32"):
        raise SystemExit("pytorch: graphs and tf32 need --device cuda")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("pytorch: no CUDA device is usable")
    peer.keep_memory()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.precision == "tf32"
    torch.backends.cudnn.benchmark = True
    trainer = Trainer(args)
    about = {"peer": "pytorch", "version": torch.__version__, "optimizer": "adam, fused",
             "device_name": torch.cuda.get_device_name() if args.device == "cuda" else None,
             "at_once": AT_ONCE if args.device == "cuda" and args.task == "step" else 1,
             "parameters": sum(p.numel() for p in trainer.network.parameters())}
    trainer.network.train(args.task == "step")
    peer.serve(args, about, trainer.steps_done if args.task == "step" else trainer.infer,
               lambda: trainer.loss.item() if args.task == "step" else None)


if __name__ == "__main__":
    main()
