"""Contending workers and a stale token. Against `natslock dev`: python demo.py [nats://127.0.0.1:4222]"""

import asyncio
import sys

import nats
from natslock import Lease, NotAcquired, Natslock


async def connect(url: str) -> nats.NATS:
    # A short ping interval and reconnecting for ever: otherwise a dead connection goes unnoticed for minutes.
    return await nats.connect(url, ping_interval=5, max_outstanding_pings=2, max_reconnect_attempts=-1)


class Store:
    """A resource that checks the fencing token: it refuses whoever is not the latest holder."""

    def __init__(self) -> None:
        self.highest, self.rows = 0, list[str]()

    def write(self, row: str, fence: int) -> bool:
        if fence < self.highest:
            return False
        self.highest = fence
        self.rows.append(row)
        return True


async def worker(locks: Natslock, store: Store, number: int) -> Lease:
    async with locks.lock("demo.orders", ttl=10, wait=10) as lease:
        store.write(f"worker {number}", lease.token)
        print(f"worker {number} holds {lease.name} with token {lease.token}")
        if lease.is_valid():  # before each step that takes long
            await asyncio.sleep(0.2)
    return lease


async def main(url: str) -> None:
    nc = await connect(url)
    locks, store = Natslock(nc, owner="demo@python"), Store()
    leases = await asyncio.gather(*(worker(locks, store, number) for number in range(3)))

    first = min(leases, key=lambda lease: lease.token)
    print(f"a late write with token {first.token} is taken: {store.write('late', first.token)}")

    async with locks.lock("demo.orders", ttl=10):
        try:
            async with locks.lock("demo.orders", wait=0):
                pass
        except NotAcquired as held:
            print(f"a try finds it held by {held.reply['holders'][0]['owner']}")
    await locks.close()
    await nc.drain()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:] or ["nats://127.0.0.1:4222"]))
