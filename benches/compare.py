"""The steps of `crates/hcd/benches/steps.rs` beside the same ones in PyTorch and timm: images a second, their ratio, and
the most memory that either program had.

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 timm==1.0.31
    venv/bin/python benches/compare.py [--threads 2] [--repeats 3] [--rounds 5] [WORK ...]

For each work the programs run in turn, each in a process of its own, `repeats` times. Of a process the median of its
rounds counts; the table has the median over processes, and the lowest and highest. PyTorch runs in both memory formats,
with the allocator as users have it and told to keep memory: its best is the fastest of the four. Nothing else should run
on the machine. Each line of the table is printed as JSON, too, on standard error.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SWIN = "swin_tiny_patch4_window7_224"
NETWORKS = {
    "resnet18": "resnet18",
    "resnet18_small": "resnet18",
    "mobilenetv2_100": "mobilenetv2_100",
    "deit_tiny": "deit_tiny_patch16_224",
    "swin_tiny": SWIN,
    "vit_small": "vit_small_patch16_224",
    "convnext_tiny": "convnext_tiny",
    "mixer_b16": "mixer_b16_224",
}
WORKS = [
    "train/resnet18/32x224",
    "train/resnet18_small/128x32",
    "train/mobilenetv2_100/32x224",
    "train/deit_tiny/32x224",
    "train-bf16/resnet18/32x224",
    "train-bf16/deit_tiny/32x224",
    "infer/swin_tiny/32x224",
    "infer/vit_small/32x224",
    "infer/convnext_tiny/32x224",
    "infer/mixer_b16/32x224",
    "infer/resnet18/32x224",
    "infer/mobilenetv2_100/32x224",
    "infer/resnet18/1x224",
    "infer/mobilenetv2_100/1x224",
    "hcd/swin_tiny-resnet18/live/32x224",
    "hcd/swin_tiny-resnet18/given/32x224",
    "hcd/swin_tiny-resnet18/filling/32x224",
    "hcd/swin_tiny-resnet18/cached/32x224",
]
CLASSES, SUB_LOGITS, SUB_KL_WEIGHT, THRESHOLD, SMOOTHING = 100, 4, 6.0, 0.5, 0.1
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000", "MALLOC_TOP_PAD_": "1000000000"}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--torch", choices=["contiguous", "channels_last"], help=argparse.SUPPRESS)
    arguments.add_argument("works", nargs="*", default=WORKS)
    arguments = arguments.parse_args()
    if arguments.torch:
        return run_torch(arguments)
    ours = build()
    print("| work | here | PyTorch best | PyTorch default | ratio to best | MiB here | MiB PyTorch best |")
    print("|---|---|---|---|---|---|---|")
    for work in arguments.works:
        compare(ours, work, arguments)


def build():
    """The benchmark's program."""
    command = ["cargo", "bench", "--workspace", "--bench", "steps", "--no-run", "--message-format=json"]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    messages = [json.loads(line) for line in lines]
    return next(m["executable"] for m in messages if m.get("executable") and m["target"]["name"] == "steps")


def compare(ours, work, arguments):
    programs = {"ours": ([ours, work, "--rounds", str(arguments.rounds)], {})}
    for layout in ["contiguous", "channels_last"]:
        for name, kept in [("default", {}), ("kept", KEPT)]:
            own = [sys.executable, __file__, work, "--torch", layout]
            own += ["--threads", str(arguments.threads), "--rounds", str(arguments.rounds)]
            programs[f"{layout}, {name}"] = (own, kept)
    rates = {name: [] for name in programs}
    memory = dict.fromkeys(programs, 0)
    for _ in range(arguments.repeats):
        for name, (command, extra) in programs.items():
            environment = {**os.environ, "RAYON_NUM_THREADS": str(arguments.threads), **extra}
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
            result = json.loads(done.stdout.splitlines()[-1])
            rates[name].append(result["images"] / statistics.median(result["seconds"]))
            memory[name] = max(memory[name], result["peak_mib"])
    middle = {name: statistics.median(values) for name, values in rates.items()}
    torch = {name: value for name, value in middle.items() if name != "ours"}
    best = max(torch, key=torch.get)
    default = max((name for name in torch if "default" in name), key=torch.get)
    shown = lambda name: f"{middle[name]:.1f} ({min(rates[name]):.1f}–{max(rates[name]):.1f})"
    ratio = middle["ours"] / middle[best]
    rate = f"| {work} | {shown('ours')} | {shown(best)}, {best} | {middle[default]:.1f} | {ratio:.2f} |"
    print(f"{rate} {memory['ours']} | {memory[best]} |", flush=True)
    print(json.dumps({"work": work, "rates": rates}), file=sys.stderr, flush=True)


# What runs in the processes of PyTorch.


def run_torch(arguments):
    import torch

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    layout = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[arguments.torch]
    for work in arguments.works:
        kind, name, *rest = work.split("/")
        batch, side = map(int, rest[-1].split("x"))
        images = torch.rand(batch, 3, side, side).to(memory_format=layout)
        labels = torch.arange(batch) % CLASSES
        if kind == "infer":
            network = create(name, layout).eval()
            once = torch.inference_mode()(lambda: network(images))
        elif kind.startswith("train"):
            once = training(create(name, layout).train(), images, labels, bf16=kind.endswith("bf16"))
        else:
            teacher, student = name.split("-")
            once = distillation(create(teacher, layout).eval(), create(student, layout), rest[0], layout, images, labels)
        seconds = timed(arguments.rounds, once)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({"images": batch, "seconds": seconds, "peak_mib": peak}))


def timed(rounds, once):
    seconds = []
    for _ in range(rounds + 2):
        began = time.perf_counter()
        once()
        seconds.append(time.perf_counter() - began)
    return seconds[2:]


def create(name, layout):
    import timm
    import torch

    network = timm.create_model(NETWORKS[name], num_classes=CLASSES)
    if name == "resnet18_small":
        network.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
        network.maxpool = torch.nn.Identity()
    return network.to(memory_format=layout)


def training(network, images, labels, bf16):
    import torch
    from torch.nn.functional import cross_entropy

    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9, nesterov=True, weight_decay=2e-3)

    def once():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = cross_entropy(network(images), labels, label_smoothing=SMOOTHING)
        loss.backward()
        optimizer.step()

    return once


def distillation(teacher, student, teacher_is, layout, images, labels):
    """A step of HCD with its defaults (docs/method.md, section 2) for a ResNet18."""
    import torch
    from torch import nn

    stages, width = [64, 128, 256, 512], max(student.num_features, teacher.num_features)
    projectors = nn.ModuleList(projector(stages, stage, width) for stage in range(4)).to(memory_format=layout)
    mappers = nn.ModuleList(
        nn.Sequential(
            nn.Linear(width + teacher.num_features, teacher.num_features),
            nn.ReLU(),
            nn.Linear(teacher.num_features, SUB_LOGITS * CLASSES),
        )
        for _ in stages
    )
    parameters = [*student.parameters(), *projectors.parameters(), *mappers.parameters()]
    optimizer = torch.optim.SGD(parameters, 1e-3, momentum=0.9, nesterov=True, weight_decay=2e-3)
    student.train()

    @torch.no_grad()
    def ask():
        feature = teacher.forward_head(teacher.forward_features(images), pre_logits=True)
        return feature, teacher.get_classifier()(feature)

    answer = {"live": ask, "given": given(ask), **files(ask, teacher.get_classifier(), len(labels))}[teacher_is]

    def once():
        optimizer.zero_grad(set_to_none=True)
        feature, teacher_logits = answer()
        x = student.maxpool(student.act1(student.bn1(student.conv1(images))))
        maps = []
        for layer in [student.layer1, student.layer2, student.layer3, student.layer4]:
            x = layer(x)
            maps.append(x)
        logits = student.forward_head(x)
        shared = [
            mapper(torch.cat([projector(stage).mean((2, 3)), feature], 1))
            for projector, mapper, stage in zip(projectors, mappers, maps)
        ]
        hcd_loss(logits, teacher_logits, shared, labels).backward()
        optimizer.step()

    return once


def given(ask):
    """The first answer, again and again."""
    answers = []

    def again():
        if not answers:
            answers.append(ask())
        return answers[0]

    return again


def files(ask, classifier, batch):
    """Features kept in a mapped file as f16: written in each round, or read in each but the first; logits from them."""
    import numpy
    import torch

    rows = numpy.memmap(tempfile.TemporaryFile(), numpy.float16, "w+", shape=(batch, classifier.in_features))

    @torch.no_grad()
    def read():
        feature = torch.from_numpy(numpy.asarray(rows)).float()
        return feature, classifier(feature)

    def fill():
        rows[:] = ask()[0].numpy()
        return read()

    once = given(fill)

    def cached():
        once()
        return read()

    return {"filling": fill, "cached": cached}


def projector(stages, stage, width):
    from torch import nn

    if stage == 3:
        return nn.Conv2d(stages[3], width, 1)
    channels = [stages[stage] << block for block in range(3 - stage)] + [width]

    def separable(inputs, outputs, stride):
        return [
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]

    pairs = zip(channels, channels[1:])
    return nn.Sequential(*(layer for i, o in pairs for layer in separable(i, i, 2) + separable(i, o, 1)))


def hcd_loss(logits, teacher_logits, shared, labels):
    import torch
    from torch.nn.functional import cross_entropy, kl_div, log_softmax, normalize, one_hot

    log_student = log_softmax(logits, 1)
    kl = lambda target, log: kl_div(log, log_softmax(target, -1), log_target=True, reduction="sum") / len(labels)
    loss = cross_entropy(logits, labels, label_smoothing=SMOOTHING) + kl(teacher_logits, log_student)
    others = 1 - torch.eye(SUB_LOGITS)
    wrong = 1 - one_hot(labels, CLASSES).unsqueeze(1)
    for stage in shared:
        fused = stage.view(-1, SUB_LOGITS, CLASSES) + teacher_logits.unsqueeze(1)
        repeated = labels.repeat_interleave(SUB_LOGITS)
        loss = loss + cross_entropy(fused.flatten(0, 1), repeated, label_smoothing=SMOOTHING)
        loss = loss + SUB_KL_WEIGHT * kl(fused, log_student.unsqueeze(1).expand_as(fused)) / SUB_LOGITS
        directions = normalize(fused * wrong, dim=-1)
        excess = (directions @ directions.transpose(1, 2) - THRESHOLD).clamp_min(0) ** 2 * others
        loss = loss + excess.sum((1, 2)).mean() / (SUB_LOGITS * (SUB_LOGITS - 1))
    return loss


if __name__ == "__main__":
    main()
