#!/usr/bin/env python3
"""Antiphon side by side with redis-server, on this machine, in one run.

    python3 benches/compare.py [--seconds 10] [--runs 3] [--only P2,P6] [--write docs/benchmarks.md]

Needs `cargo build --release` before, and redis-server on the path. Three nodes of each system
run at once; only the one that is measured gets a load. Runs alternate between the two, and the
figure of each is the median. Ports are free ones of loopback; everything it starts it ends.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = ROOT / "target" / "release" / "antiphon"

# name, what, bench flags, flags at Antiphon, which redis, flags at redis, bar on throughput
# (ours over theirs; none when the bar is on latency)
ROWS = [
    ("P1", "SET, 1 client", ["-c", "1"], [], "always", ["--wait", "2"], None),
    ("P2", "SET, 50 clients", ["-c", "50"], [], "always", ["--wait", "2"], 2.4),
    ("P3", "SET, 200 clients", ["-c", "200"], [], "always", ["--wait", "2"], 2.2),
    ("P4", "SET, 50 clients, pipeline 16", ["-c", "50", "-P", "16"], [], "always",
     ["--wait", "2"], 2.5),
    ("P5", "SET at `local`, 50 clients", ["-c", "50"], ["--policy", "local"], "always", [], 1.0),
    ("P6a", "GET, 50 clients", ["-c", "50", "--read-share", "1"], [], "always", [], 1.0),
    ("P6b", "GET, 50 clients, pipeline 16", ["-c", "50", "-P", "16", "--read-share", "1"], [],
     "always", [], 1.0),
    ("A1", "SET, 50 clients, against asynchronous Redis (everysec, no WAIT)", ["-c", "50"], [],
     "everysec", [], None),
]


def free_ports(count):
    """`count` ports in a row that nobody has."""
    for first in range(21000, 30000, count + 7):
        sockets = []
        try:
            for port in range(first, first + count):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    held = socket.socket(socket.AF_INET, kind)
                    sockets.append(held)
                    held.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for held in sockets:
                held.close()
    sys.exit("no free ports")


class Redis:
    """A primary and two replicas."""

    def __init__(self, directory, fsync):
        self.first = free_ports(3)
        self.processes = []
        for index in range(3):
            place = directory / f"redis-{fsync}-{index}"
            place.mkdir()
            command = ["redis-server", "--port", str(self.first + index), "--dir", str(place),
                       "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
                       "--appendfsync", fsync if index == 0 or fsync != "always" else "everysec",
                       "--auto-aof-rewrite-percentage", "0"]
            if index:
                command += ["--replicaof", "127.0.0.1", str(self.first)]
            self.processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        self.until_in_sync()

    def until_in_sync(self):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.first), 1) as link:
                    link.sendall(b"INFO replication\r\n")
                    if link.recv(65536).count(b"state=online") == 2:
                        return
            except OSError:
                pass
            time.sleep(0.05)
        sys.exit("the redis replicas did not come")

    def pids(self):
        return [process.pid for process in self.processes]

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(20)


class Antiphon:
    """Three `serve` processes under a demo."""

    def __init__(self, directory):
        self.first = free_ports(9)
        command = [BINARY, "demo", "--no-load", "--dir", directory / "antiphon",
                   "--resp-port", self.first, "--http-port", self.first + 3,
                   "--peer-port", self.first + 6]
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE,
                                        text=True)
        for line in self.process.stdout:
            if line.strip() == "ready":
                return
        sys.exit("the demo did not become ready")

    def pids(self):
        out = subprocess.run(["ps", "--ppid", str(self.process.pid), "-o", "pid="],
                             capture_output=True, text=True, check=True).stdout
        return [int(pid) for pid in out.split()]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def measure(system, flags, seconds):
    """One run of the load generator; its report also has the servers' processor time."""
    command = [BINARY, "bench", "--address", f"127.0.0.1:{system.first}", "-o", "json",
               "--warmup", f"{max(1, seconds // 2)}s", "--duration", f"{seconds}s", "--verify",
               *(word for pid in system.pids() for word in ("--pid", pid)), *flags]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def figures(reports):
    return {key: statistics.median(find(report, key) for report in reports)
            for key in ("throughput", "p50", "p99", "p999", "max", "cpu_us")}


def find(report, key):
    """A figure by its name in this script."""
    latency = report["latency"]
    servers = sum(server["seconds"] for server in report["cpu"]["servers"])
    return {"throughput": report["throughput"], "p50": latency["p50_us"], "p99": latency["p99_us"],
            "p999": latency["p999_us"], "max": latency["max_us"],
            "cpu_us": servers * 1e6 / max(1, report["operations"])}[key]


def row(name, what, ours, theirs, bar):
    ratio = ours["throughput"] / theirs["throughput"]
    p50 = ours["p50"] / theirs["p50"]
    cpu = ours["cpu_us"] / theirs["cpu_us"]
    verdict = ""
    if name == "P1":
        verdict = f"p50 ratio {p50:.2f}, bar 0.70: {'met' if p50 <= 0.7 else 'MISSED'}"
    elif bar is not None:
        verdict = f"bar {bar}: {'met' if ratio >= bar else 'MISSED'}"
    if name == "P2":
        verdict += f"; P8 CPU ratio {cpu:.2f}, bar 0.80: {'met' if cpu <= 0.8 else 'MISSED'}"
    return (f"| {name} | {what} | {ours['throughput']:,.0f}/s, {ours['p50']:,.0f} / "
            f"{ours['p99']:,.0f} / {ours['p999']:,.0f} µs, {ours['cpu_us']:.1f} µs | "
            f"{theirs['throughput']:,.0f}/s, {theirs['p50']:,.0f} / {theirs['p99']:,.0f} / "
            f"{theirs['p999']:,.0f} µs, {theirs['cpu_us']:.1f} µs | {ratio:.2f} | {verdict} |")


def machine():
    model = next((line.split(":", 1)[1].strip()
                  for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown")
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
                            capture_output=True, text=True).stdout.strip()
    redis = subprocess.run(["redis-server", "--version"], capture_output=True, text=True).stdout
    version = next((word[2:] for word in redis.split() if word.startswith("v=")), "?")
    return (f"{os.cpu_count()} processors ({model}), Linux {platform.release()}, commit "
            f"{commit}, Redis {version}, load {os.getloadavg()[0]:.1f} at the start")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--write", type=pathlib.Path)
    args = parser.parse_args()
    if not BINARY.exists() or not shutil.which("redis-server"):
        sys.exit("needs target/release/antiphon (cargo build --release) and redis-server")
    wanted = set(filter(None, args.only.split(",")))
    where = machine()
    lines = []
    with tempfile.TemporaryDirectory(prefix="antiphon-compare-") as directory:
        directory = pathlib.Path(directory)
        systems = {"antiphon": Antiphon(directory)}
        try:
            for name, what, flags, ours_flags, peer, peer_flags, bar in ROWS:
                if wanted and name not in wanted:
                    continue
                if peer not in systems:
                    systems[peer] = Redis(directory, peer)
                ours, theirs = [], []
                for _ in range(args.runs):
                    ours.append(measure(systems["antiphon"], flags + ours_flags, args.seconds))
                    theirs.append(measure(systems[peer], flags + peer_flags, args.seconds))
                line = row(name, what, figures(ours), figures(theirs), bar)
                lines.append(line)
                print(line, flush=True)
        finally:
            for system in systems.values():
                system.stop()
    if args.write:
        write(args.write, where, args, lines)


BEGIN = "<!-- compare.py begins -->"
END = "<!-- compare.py ends -->"


def write(path, where, args, lines):
    """Replaces the part of the page that this script owns."""
    text = path.read_text()
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    table = "\n".join([
        BEGIN, "",
        f"`python3 benches/compare.py --seconds {args.seconds} --runs {args.runs}` on {where}.",
        "", "Throughput; p50 / p99 / p99.9; CPU of all three servers for each operation.", "",
        "| # | Work | Antiphon | Redis | ratio | |", "| --- | --- | --- | --- | --- | --- |",
        *lines, "", END])
    path.write_text(head + table + tail)


if __name__ == "__main__":
    main()
