#!/usr/bin/env python3
"""Measures what a node costs at size: a restart, memory for each key, idle connections.

    python3 benches/size.py restart --keys 1000000
    python3 benches/size.py memory --keys 10000000
    python3 benches/size.py idle --connections 10000

Needs `cargo build --release` before, and `redis-server` for the comparison of memory. Servers
listen on 127.0.0.1 only; their files are made in a directory under TMPDIR and removed.
"""

import argparse
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
ANTIPHON = ROOT / "target/release/antiphon"
VALUE = b"v" * 100
PIPELINE = 1000


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Server:
    """A process with a RESP port, ended with this value."""

    def __init__(self, command, port, directory):
        self.port = port
        self.log = open(directory / "said", "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def rss(self):
        """Resident memory in bytes."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in text.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def cpu(self):
        """Processor time so far in seconds."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(") ", 1)[1]
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port))

    def wait(self, command, answer):
        """Asks until the answer begins so; how long that took."""
        begun = time.monotonic()
        while time.monotonic() - begun < 600:
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended: {self.process.returncode}")
            try:
                with self.connect() as connection:
                    connection.sendall(command)
                    if connection.recv(64).startswith(answer):
                        return time.monotonic() - begun
            except OSError:
                pass
            time.sleep(0.005)
        raise SystemExit(f"no answer {answer} to {command}")


def antiphon(directory, ports):
    config = directory / "node.toml"
    resp, http, peer = ports
    config.write_text(
        f"""[node]
id = 1
data_dir = "{directory / 'data'}"
[cluster]
name = "size"
members = [{{ id = 1, peer = "127.0.0.1:{peer}", resp = "127.0.0.1:{resp}" }}]
[resp]
listen = "127.0.0.1:{resp}"
[http]
listen = "127.0.0.1:{http}"
[peer]
listen = "127.0.0.1:{peer}"
transport = "memory"
"""
    )
    return Server([ANTIPHON, "serve", "--config", config], resp, directory)


def redis(directory, port):
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1"]
    command += ["--save", "", "--appendonly", "no", "--dir", str(directory)]
    return Server(command, port, directory)


def answers(connection, count, pending):
    """Reads replies of one line each."""
    while count > 0:
        chunk = connection.recv(1 << 16)
        if not chunk:
            raise SystemExit("the server closed the connection")
        if b"-" in chunk:
            raise SystemExit(f"refused: {chunk[:200]}")
        pending += chunk.count(b"\n")
        taken = min(pending, count)
        count, pending = count - taken, pending - taken
    return pending


def fill(server, first, end):
    """Sets keys of 16 bytes to values of 100."""
    pending = 0
    with server.connect() as connection:
        for at in range(first, end, PIPELINE):
            upto = min(at + PIPELINE, end)
            commands = b"".join(
                b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$100\r\n%b\r\n" % (number, VALUE)
                for number in range(at, upto)
            )
            connection.sendall(commands)
            pending = answers(connection, upto - at, pending)


PING = b"PING\r\n"


def restart(arguments, directory):
    ports = free_ports(3)
    server = antiphon(directory, ports)
    server.wait(b"SET k v\r\n", b"+OK")
    keys = arguments.keys
    fill(server, 0, keys * 9 // 10)
    with server.connect() as connection:
        connection.sendall(b"BGSAVE\r\n")
        print("BGSAVE:", connection.recv(200).decode().strip())
    while True:
        with server.connect() as connection:
            connection.sendall(b"INFO persistence\r\n")
            if b"rdb_bgsave_in_progress:0" in connection.recv(1 << 16):
                break
        time.sleep(0.05)
    fill(server, keys * 9 // 10, keys)
    for _ in range(arguments.runs):
        server.kill()
        begun = time.monotonic()
        server = antiphon(directory, ports)
        up = server.wait(PING, b"+PONG")
        server.wait(b"SET k v\r\n", b"+OK")
        served = time.monotonic() - begun
        count = b":%d\r\n" % (keys + 1)
        server.wait(b"DBSIZE\r\n", count)
        print(
            f"killed with {keys} keys: answers after {up:.2f} s, takes writes after {served:.2f} s, "
            f"{server.cpu():.2f} s of processor time"
        )
    said = (directory / "said").read_text().splitlines()
    print("\n".join(said[-12:]))
    server.kill()


def memory(arguments, directory):
    for name in ["redis", "antiphon"]:
        place = directory / name
        place.mkdir()
        ports = free_ports(3)
        server = redis(place, ports[0]) if name == "redis" else antiphon(place, ports)
        server.wait(b"SET k v\r\n", b"+OK")
        before = server.rss()
        begun = time.monotonic()
        fill(server, 0, arguments.keys)
        took = time.monotonic() - begun
        time.sleep(5)
        each = (server.rss() - before) / arguments.keys
        print(f"{name}: {each:.1f} B a key, {server.rss() >> 20} MiB in all, filled in {took:.0f} s")
        server.kill()
        shutil.rmtree(place)


def idle(arguments, directory):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = antiphon(directory, free_ports(3))
    server.wait(b"SET k v\r\n", b"+OK")
    before = server.rss()
    connections = []
    for _ in range(arguments.connections):
        connection = server.connect()
        connection.sendall(PING)
        connections.append(connection)
    for connection in connections:
        if not connection.recv(64).startswith(b"+PONG"):
            raise SystemExit("a connection was not served")
    time.sleep(5)
    after = server.rss()
    each = (after - before) / arguments.connections
    print(f"{arguments.connections} idle connections: {(after - before) >> 20} MiB, {each:.0f} B each")
    print(f"resident memory {before >> 20} MiB before, {after >> 20} MiB after")
    server.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for run, option, default in [
        (restart, "--keys", 1_000_000),
        (memory, "--keys", 10_000_000),
        (idle, "--connections", 10_000),
    ]:
        command = commands.add_parser(run.__name__)
        command.add_argument(option, type=int, default=default)
        command.add_argument("--runs", type=int, default=3)
        command.set_defaults(run=run)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        arguments.run(arguments, pathlib.Path(directory))


if __name__ == "__main__":
    main()
