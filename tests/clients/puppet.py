"""A Python client on strings: it does what its standard input says, and says what happens. It ends with its input."""

import asyncio
import sys
import time

import nats
from natslock import Lease, LockError, Natslock, now


def say(*words: object) -> None:
    print(*words, flush=True)


def nanos(seconds: float) -> int:
    return round(seconds * 1e9)


class Puppet:
    def __init__(self, nc: nats.NATS, owner: str, namespace: str) -> None:
        self.nc, self.owner, self.namespace = nc, owner, namespace
        self.locks = Natslock(nc, owner=owner, namespace=namespace)
        self.holding: asyncio.Task[None] | None = None
        self.let_go = asyncio.Event()

    async def do(self, verb: str, *words: str) -> None:
        match verb:
            case "hold":
                self.let_go.clear()
                self.holding = asyncio.create_task(self.hold(*words))
            case "release":
                self.let_go.set()
            case "cancel":
                assert self.holding
                self.holding.cancel()
                await asyncio.wait({self.holding})
                await self.locks.close()
                say("CANCELLED")
            case "contend":
                await self.contend(int(words[0]), float(words[1]), words[2:])

    async def hold(self, name: str, ttl_ms: str, wait_ms: str) -> None:
        ttl, wait = int(ttl_ms) / 1000, int(wait_ms) / 1000
        try:
            async with self.locks.lock(name, ttl=ttl, wait=wait) as lease:
                say("GRANTED", lease.token, nanos(lease.deadline))
                await self.watch(lease)
            say("ENDED")
        except LockError as error:
            say("FAILED", type(error).__name__, error.reply.get("code", error.reply.get("status", "-")))

    async def watch(self, lease: Lease) -> None:
        """Until the lock is lost, or to be released."""
        lost, let_go = (asyncio.create_task(event.wait()) for event in (lease.lost, self.let_go))
        await asyncio.wait((lost, let_go), return_when=asyncio.FIRST_COMPLETED)
        if lease.lost.is_set():
            say("LOST", nanos(now()), nanos(lease.deadline), "valid" if lease.is_valid() else "invalid")
        lost.cancel()
        let_go.cancel()

    async def contend(self, count: int, seconds: float, names: tuple[str, ...]) -> None:
        until = now() + seconds

        async def one(number: int) -> None:
            contender = f"{self.owner}-{number}"
            locks = Natslock(self.nc, owner=contender, namespace=self.namespace)
            turn = number
            while now() < until:
                turn += 1
                name = names[turn % len(names)]
                async with locks.lock(name, ttl=10, wait=60) as lease:
                    begun = now()
                    await asyncio.sleep(0.003)
                    ended, valid = now(), lease.is_valid()
                assert valid, "a lock was lost"
                say("HELD", name, lease.token, nanos(begun), nanos(ended), contender)

        await asyncio.gather(*(one(number) for number in range(count)))
        say("DONE")


async def main(url: str, owner: str, namespace: str) -> None:
    nc = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
    puppet = Puppet(nc, owner, namespace)
    assert now() - time.clock_gettime(time.CLOCK_BOOTTIME) < 1, "deadlines are on the boot clock"
    say("READY")
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        await puppet.do(*line.decode().split())


asyncio.run(main(*sys.argv[1:]))
