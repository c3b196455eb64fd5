"""A natslock client for Python 3.10 and newer: one file to read and to copy; it needs nothing but nats-py.

    locks = Natslock(nc, owner="billing")
    async with locks.lock("orders.42", ttl=30, wait=10) as lease:
        await store.write(order, fence=lease.token)  # the store refuses lower tokens

The lease is renewed in the background and given back at the end of the block. The numbers in the comments are those
of the README one folder up, which says what goes wrong without each part.
"""

from __future__ import annotations

import asyncio
import json
import random
import string
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

PATIENCE = 5.0  # seconds to go on for where nobody answers at all
_SOON = 0.1  # before a repeat to a leader that is about to appear, or just has
_DAY = 86_400.0
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # on macOS the latter counts suspend
_PLAIN = string.ascii_letters + string.digits + "_-/"


class LockError(Exception):
    """The lock was not acquired: refused, or without an answer. `reply` is the coordinator's, if there was one."""

    def __init__(self, message: str, reply: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.reply = reply or {}


class NotAcquired(LockError):
    """Others held the lock all the time. `reply["holders"]` says who."""


def now() -> float:
    """Seconds on the clock of all deadlines."""
    return time.clock_gettime(_CLOCK)


def encode(text: str, plain: str = _PLAIN + ".") -> str:
    """A lock's name as it stands in subjects."""
    return "".join(chr(byte) if chr(byte) in plain else f"={byte:02X}" for byte in text.encode())


@dataclass
class Lease:
    """A lock that is held until `deadline`, which renewals put off."""

    name: str
    ttl: float
    id: str = field(default_factory=lambda: str(uuid.uuid4()), repr=False)  # who knows it can release the lock
    token: int = 0  # higher than that of every earlier holder
    deadline: float = 0.0
    lost: asyncio.Event = field(default_factory=asyncio.Event)  # stop working when it is set

    def is_valid(self) -> bool:
        """True while nobody else can hold the lock. It reads the clock, so it is right after a pause as well."""
        return not self.lost.is_set() and now() < self.deadline


class Natslock:
    """The locks of one owner on one connection."""

    def __init__(self, nc: Client, *, owner: str, namespace: str = "default") -> None:
        self._nc, self._owner, self._namespace = nc, encode(owner, _PLAIN), namespace
        self._inbox, self._number, self._epoch = nc.new_inbox(), 0, 0
        self._calls: dict[str, _Call] = {}  # by reply subject
        self._releases: set[asyncio.Task[None]] = set()
        self._starting, self._started = asyncio.Lock(), False

    @asynccontextmanager
    async def lock(self, name: str, *, ttl: float = 30.0, wait: float | None = None) -> AsyncIterator[Lease]:
        """Holds a lock. It waits for it `wait` seconds at most; 0 is a try, None is as long as it takes."""
        async with self._starting:
            if not self._started:
                await self._nc.subscribe(f"{self._inbox}.*", cb=self._on_reply)
                await self._nc.subscribe(f"natslock-event.{self._namespace}.leader.*", cb=self._on_leader)
                self._started = True
        lease = Lease(encode(name), ttl)
        await self._acquire(lease, wait)
        keeper = asyncio.create_task(self._keep(lease))
        try:
            yield lease
        finally:
            keeper.cancel()
            lease.deadline = 0.0
            if not lease.lost.is_set():  # what is lost is being given back already
                await asyncio.shield(self._give_back(lease))

    async def close(self) -> None:
        """Waits until everything that was given up is given back. The connection stays open."""
        while self._releases:
            await asyncio.wait(self._releases)

    async def _acquire(self, lease: Lease, wait: float | None) -> None:
        until = now() + (1000 * _DAY if wait is None else wait)
        give_up_at = now() + PATIENCE
        with _Call(self, "acquire", lease.name, every=lease.ttl / 3) as call:
            try:
                while now() < give_up_at and not self._nc.is_closed:
                    left = 0 if wait == 0 else min(max(until - now(), 0.001), _DAY)
                    body = {"id": lease.id, "ttl_ms": round(lease.ttl * 1000), "wait_ms": round(left * 1000)}
                    sent, reply = await call.turn({**body, "progress": True}, give_up_at)
                    if call.heard:
                        give_up_at = until + PATIENCE
                    match reply["status"]:
                        case "granted":
                            lease.deadline = sent + (reply["waited_ms"] / 1000 + lease.ttl) * 0.99  # (2)
                            if now() < lease.deadline:
                                lease.token = reply["token"]
                                return
                            call.rest(0)  # too late to be believed: a repeat renews it
                        case "queued":
                            call.rest(lease.ttl / 3)
                        case "timeout" if wait is None:
                            call.rest(0)
                        case "held" | "timeout":
                            raise NotAcquired(f"{lease.name} is held by others", reply)
                        case "error":
                            raise LockError(reply["message"], reply)
                raise LockError("no answer" if call.heard else "nobody leads: is a coordinator running?")
            except BaseException as error:  # a cancelled task, too, takes back what it has sent (7)
                if len(call.sent) > 1 or not isinstance(error, NotAcquired):
                    self._give_back(lease)
                raise

    async def _keep(self, lease: Lease) -> None:
        with _Call(self, "renew", every=lease.ttl / 12) as call:
            call.rest(lease.ttl / 3)
            while now() < lease.deadline:  # (6) lost at its own deadline, whatever the network does
                body = {"leases": [{"id": lease.id, "token": lease.token}]}
                sent, reply = await call.turn(body, lease.deadline)
                if lease.id in reply.get("renewed", ()):
                    lease.deadline = max(lease.deadline, sent + lease.ttl * 0.99)
                    call.rest(lease.ttl / 3)
                elif any(lost["reason"] != "unknown" for lost in reply.get("lost", ())):
                    break
        lease.lost.set()
        self._give_back(lease)

    def _give_back(self, lease: Lease) -> asyncio.Task[None]:
        task = asyncio.create_task(self._release(lease))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)
        return task

    async def _release(self, lease: Lease) -> None:
        until = now() + lease.ttl  # by then it has ended by itself
        body = {"id": lease.id} | ({"token": lease.token} if lease.token else {})
        with _Call(self, "release", lease.name, every=lease.ttl) as call:
            while now() < until and not self._nc.is_closed:
                _, reply = await call.turn(body, until)
                if reply["status"] == "released" or reply.get("code") in ("not_holder", "finished"):
                    return

    async def _on_reply(self, msg: Msg) -> None:
        if (call := self._calls.get(msg.subject)) is None:
            return  # (1) an answer to no known sending confers nothing
        reply = json.loads(msg.data) if msg.data else {"status": "nobody"}  # (4) the server's own 503 is empty
        epoch = reply.get("epoch", self._epoch)
        outdated, self._epoch = epoch < self._epoch, max(epoch, self._epoch)
        said = {reply["status"], reply.get("code")}
        if outdated and (reply.get("lost") or said & {"held", "timeout", "not_holder", "finished"}):
            return  # (5) what a deposed leader denies, its successor may know better
        call.answers.put_nowait((call.sent[msg.subject], reply))

    async def _on_leader(self, _: Msg) -> None:
        for call in set(self._calls.values()):
            call.answers.put_nowait((now(), {"status": "leader"}))  # (8)


class _Call:
    """One request, however often it is sent. Each sending has a reply subject and a time of its own (1)."""

    def __init__(self, locks: Natslock, verb: str, name: str = "", *, every: float) -> None:
        subject = f"natslock.{locks._namespace}.{verb}.{locks._owner}.{name}"
        self._locks, self._subject, self._every = locks, subject.rstrip("."), every
        self._send_at, self._pause, self.heard = now(), 0.5, False
        self.sent: dict[str, float] = {}
        self.answers: asyncio.Queue[tuple[float, dict[str, Any]] | None] = asyncio.Queue()

    def __enter__(self) -> _Call:
        return self

    def __exit__(self, *_: object) -> None:
        for reply_to in self.sent:
            del self._locks._calls[reply_to]

    def rest(self, pause: float) -> None:
        """There was an answer: nothing is to be sent for that long."""
        self._send_at, self._pause = now() + pause * random.uniform(0.8, 1.0), 0.5

    async def turn(self, body: dict[str, Any], until: float) -> tuple[float, dict[str, Any]]:
        """Sends if it is time to, waits for an answer, and returns it with the time of the sending it belongs to."""
        if now() >= self._send_at:
            await self._send(json.dumps(body).encode())
        while (left := min(self._send_at, until) - now()) > 0:
            # In slices, as timers do not count suspend; and no wait_for, which may swallow a cancellation.
            timer = asyncio.get_running_loop().call_later(min(left, 1.0), self.answers.put_nowait, None)
            try:
                answer = await self.answers.get()
            finally:
                timer.cancel()
            if answer is None:
                continue
            self.heard |= "epoch" in answer[1]
            passing = answer[1].get("code") in ("unavailable", "shutting_down")
            if not passing and answer[1]["status"] not in ("nobody", "leader"):
                return answer
            asked = min(answer[1].get("retry_after_ms", 0) / 1000, 5.0)
            self._send_at = now() + max(asked, _SOON * random.uniform(0.5, 1.0))
        return now(), {"status": "silence"}

    async def _send(self, body: bytes) -> None:
        locks = self._locks
        locks._number += 1
        reply_to = f"{locks._inbox}.{locks._number}"
        self._send_at = now() + min(self._pause, self._every) * random.uniform(0.5, 1.0)
        self._pause = min(self._pause * 2, 4.0)
        if len(self.sent) >= 32:  # the oldest is given up
            oldest = next(iter(self.sent))
            del self.sent[oldest], locks._calls[oldest]
        self.sent[reply_to] = now()  # (2) before it leaves
        locks._calls[reply_to] = self
        with suppress(nats.errors.Error):  # as good as lost on the way: it is sent again
            await locks._nc.publish(self._subject, body, reply=reply_to)
