"""What an application does through redis-py: one connection with its defaults, nothing adapted."""

import sys
import time

import redis

port = int(sys.argv[1])
client = redis.Redis(host="127.0.0.1", port=port, decode_responses=True)
assert client.ping() is True

assert client.set("k", "v") is True
assert client.get("k") == "v"
assert client.get("nothing") is None
assert client.set("k", "w", nx=True) is None
assert client.set("k", "w", get=True) == "v"
assert client.mset({"a": "1", "b": "2"}) is True
assert client.mget("a", "b", "nothing") == ["1", "2", None]
assert client.incr("count") == 1
assert client.incrby("count", 41) == 42
assert client.append("k", "!") == 2
assert client.delete("a", "b", "nothing") == 2
assert client.exists("k") == 1

assert client.expire("k", 100) is True
assert 0 < client.ttl("k") <= 100
assert client.persist("k") is True
assert client.ttl("k") == -1

with client.pipeline(transaction=False) as pipe:
    for number in range(1000):
        pipe.set(f"many:{number}", number)
    assert pipe.execute() == [True] * 1000

with client.pipeline(transaction=True) as pipe:
    pipe.set("t", 1).incr("t").get("t")
    assert pipe.execute() == [True, 2, "2"]

# Somebody else changes a watched key between: the transaction does not happen.
other = redis.Redis(host="127.0.0.1", port=port, decode_responses=True)
with client.pipeline() as pipe:
    pipe.watch("t")
    assert pipe.get("t") == "2"
    other.set("t", "theirs")
    pipe.multi()
    pipe.set("t", "ours")
    try:
        pipe.execute()
        raise AssertionError("a watched key had changed")
    except redis.WatchError:
        pass
# Theirs was another connection: a replica may show it a moment later.
deadline = time.monotonic() + 30
while client.get("t") != "theirs":
    assert time.monotonic() < deadline

found = set(client.scan_iter(match="many:*", count=100))
assert found == {f"many:{number}" for number in range(1000)}

try:
    client.execute_command("NONSENSE")
    raise AssertionError("there is no such command")
except redis.ResponseError as error:
    assert "unknown command" in str(error), error
try:
    client.set("k", "text")
    client.incr("k")
    raise AssertionError("text is no number")
except redis.ResponseError as error:
    assert "not an integer" in str(error), error

info = client.info()
assert info["role"] in ("master", "slave"), info["role"]
assert client.wait(1, 5000) >= 1
assert client.client_setname("tools") is True
assert client.client_getname() == "tools"
print("all good")
