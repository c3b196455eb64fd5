// A natslock client for Node 20 and newer: one file to read and to copy; it needs nothing but a NATS connection.
//
//     const locks = new Natslock(nc, { owner: "billing" });
//     await locks.withLock("orders.42", { ttlMs: 30_000, waitMs: 10_000 }, async (lease) => {
//       await store.write(order, { fence: lease.token, signal: lease.signal }); // the store refuses lower tokens
//     });
//
// The lease is renewed in the background and given back when the function ends. The numbers in the comments are those
// of the README one folder up, which says what goes wrong without each part.

import { randomUUID } from "node:crypto";

const PATIENCE_MS = 5_000; // to go on for where nobody answers at all
const SOON_MS = 100; // before a repeat to a leader that is about to appear, or just has
const DAY_MS = 86_400_000;

/** @typedef {{ status: string, code?: string, epoch?: number, [field: string]: any }} Reply */

/** The lock was not acquired: refused, or without an answer. `reply` is the coordinator's, if there was one. */
export class LockError extends Error {
  /** @param {string} message @param {Reply} [reply] */
  constructor(message, reply) {
    super(message);
    this.name = new.target.name;
    this.reply = reply;
  }
}

/** Others held the lock all the time. `reply.holders` says who. */
export class NotAcquired extends LockError {}

/** Milliseconds on the clock of all deadlines. It is monotonic, but stands still during suspend: README (2). */
export const now = () => Number(process.hrtime.bigint()) / 1e6;

/** A lock's name as it stands in subjects. @param {string} text @returns {string} */
export const encode = (text, plain = /[\w/.-]/) =>
  Array.from(new TextEncoder().encode(text), (byte) => {
    const char = String.fromCharCode(byte);
    return plain.test(char) ? char : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }).join("");

/** @param {number} ms @param {number} least */
const jittered = (ms, least = 0.5) => ms * (least + Math.random() * (1 - least));

/** A lock that is held. */
class Lease {
  #lost = new AbortController();
  id = randomUUID(); // a secret: who knows it can release the lock
  token = 0; // higher than that of every earlier holder
  deadline = 0; // on the clock of `now()`; renewals put it off

  /** @param {string} name @param {number} ttlMs */
  constructor(name, ttlMs) {
    this.name = name;
    this.ttlMs = ttlMs;
  }

  /** Aborts when the lock is lost: stop working then. */
  get signal() {
    return this.#lost.signal;
  }

  /** True while nobody else can hold the lock. It reads the clock, so it is right also after a blocked event loop. */
  isValid() {
    return !this.signal.aborted && now() < this.deadline;
  }

  /** @param {string} why */
  lose(why) {
    this.#lost.abort(new LockError(`${this.name} was lost: ${why}`));
  }
}

/** The locks of one owner on one connection. */
export class Natslock {
  #nc;
  #inbox;
  #subject;
  #releases = new Set();

  /**
   * @param {import("@nats-io/transport-node").NatsConnection} nc
   * @param {{ owner: string, namespace?: string, inboxPrefix?: string }} options
   */
  constructor(nc, { owner, namespace = "default", inboxPrefix = "_INBOX" }) {
    this.#nc = nc;
    this.#inbox = new Inbox(nc, namespace, inboxPrefix);
    this.#subject = (verb) => `natslock.${namespace}.${verb}.${encode(owner, /[\w/-]/)}`;
  }

  /**
   * Does `work` under a lock, and returns what it returns.
   * @template T
   * @param {string} name
   * @param {{ ttlMs?: number, waitMs?: number, signal?: AbortSignal }} options `waitMs`: 0 is a try, without it as long
   *   as it takes; `signal` ends the waiting
   * @param {(lease: Lease) => Promise<T>} work
   * @returns {Promise<T>}
   */
  async withLock(name, { ttlMs = 30_000, waitMs, signal }, work) {
    const lease = new Lease(encode(name), ttlMs);
    await this.#acquire(lease, waitMs, signal);
    const done = new AbortController();
    this.#keep(lease, done.signal);
    try {
      return await work(lease);
    } finally {
      done.abort();
      lease.deadline = 0;
      if (!lease.signal.aborted) await this.#giveBack(lease); // what is lost is being given back already
    }
  }

  /** Waits until everything that was given up is given back. The connection stays open. */
  async close() {
    while (this.#releases.size > 0) await Promise.all(this.#releases);
  }

  /** @param {Lease} lease @param {number | undefined} waitMs @param {AbortSignal | undefined} signal */
  async #acquire(lease, waitMs, signal) {
    signal?.throwIfAborted();
    const { id, ttlMs } = lease;
    const began = now();
    const until = began + (waitMs ?? 1000 * DAY_MS);
    const call = new Call(this.#inbox, `${this.#subject("acquire")}.${lease.name}`, ttlMs / 3, signal);
    const giveUpAt = () => (call.heard ? until : began) + PATIENCE_MS;
    try {
      while (now() < giveUpAt() && !this.#nc.isClosed()) {
        const left = waitMs === 0 ? 0 : Math.ceil(Math.min(Math.max(until - now(), 1), DAY_MS));
        const { sent, reply } = await call.turn({ id, ttl_ms: ttlMs, wait_ms: left, progress: true }, giveUpAt());
        signal?.throwIfAborted();
        if (reply.status === "granted") {
          lease.deadline = sent + 0.99 * (reply.waited_ms + ttlMs); // (2)
          lease.token = reply.token;
          if (lease.isValid()) return;
          call.rest(0); // too late to be believed: a repeat renews it
        } else if (reply.status === "queued") {
          call.rest(ttlMs / 3);
        } else if (reply.status === "timeout" && waitMs === undefined) {
          call.rest(0);
        } else if (reply.status === "held" || reply.status === "timeout") {
          throw new NotAcquired(`${lease.name} is held by others`, reply);
        } else if (reply.status === "error") {
          throw new LockError(reply.message, reply);
        }
      }
      throw new LockError(call.heard ? "no answer" : "nobody leads: is a coordinator running?");
    } catch (error) {
      // What was sent is taken back (7).
      if (call.sent.size > 1 || !(error instanceof NotAcquired)) this.#giveBack(lease);
      throw error;
    } finally {
      call.end();
    }
  }

  /** @param {Lease} lease @param {AbortSignal} done */
  async #keep(lease, done) {
    const { id, token, ttlMs } = lease;
    const call = new Call(this.#inbox, this.#subject("renew"), ttlMs / 12, done);
    call.rest(ttlMs / 3);
    let why;
    while (!done.aborted && !why) {
      const { sent, reply } = await call.turn({ leases: [{ id, token }] }, lease.deadline);
      if (reply.renewed?.includes(id) && !done.aborted) {
        lease.deadline = Math.max(lease.deadline, sent + 0.99 * ttlMs);
        call.rest(ttlMs / 3);
      }
      why = reply.lost?.find(({ reason }) => reason !== "unknown")?.reason;
      if (now() >= lease.deadline) why ??= "no renewal got through"; // (6) whatever the network does
    }
    call.end();
    if (done.aborted) return;
    lease.lose(why);
    this.#giveBack(lease);
  }

  /** @param {Lease} lease */
  #giveBack(lease) {
    const release = this.#release(lease).finally(() => this.#releases.delete(release));
    this.#releases.add(release);
    return release;
  }

  /** @param {Lease} lease */
  async #release({ id, token, name, ttlMs }) {
    const until = now() + ttlMs; // by then it has ended by itself
    const call = new Call(this.#inbox, `${this.#subject("release")}.${name}`, ttlMs);
    while (now() < until && !this.#nc.isClosed()) {
      const { reply } = await call.turn(token ? { id, token } : { id }, until);
      if (reply.status === "released" || reply.code === "not_holder" || reply.code === "finished") break;
    }
    call.end();
  }
}

/** Where all answers arrive. */
class Inbox {
  calls = new Map(); // by reply subject
  #nc;
  #prefix;
  #number = 0;
  #epoch = 0;

  constructor(nc, namespace, prefix) {
    this.#nc = nc;
    this.#prefix = `${prefix}.${randomUUID()}`;
    nc.subscribe(`${this.#prefix}.*`, { callback: (error, msg) => error || this.#onReply(msg) });
    const onLeader = () => new Set(this.calls.values()).forEach((call) => call.hear({ status: "leader" })); // (8)
    nc.subscribe(`natslock-event.${namespace}.leader.*`, { callback: (error) => error || onLeader() });
  }

  /** A subject for the answer to one sending. */
  subject() {
    return `${this.#prefix}.${++this.#number}`;
  }

  publish(subject, body, reply) {
    try {
      this.#nc.publish(subject, JSON.stringify(body), { reply });
    } catch {
      // The connection is being closed: as good as lost on the way.
    }
  }

  #onReply(msg) {
    const call = this.calls.get(msg.subject);
    if (!call) return; // (1) an answer to no known sending confers nothing
    const reply = msg.data.length > 0 ? msg.json() : { status: "nobody" }; // (4) the server's own 503 is empty
    const epoch = reply.epoch ?? this.#epoch;
    const outdated = epoch < this.#epoch;
    this.#epoch = Math.max(epoch, this.#epoch);
    const denies = reply.lost?.length > 0 || ["held", "timeout"].includes(reply.status);
    if (outdated && (denies || ["not_holder", "finished"].includes(reply.code))) {
      return; // (5) what a deposed leader denies, its successor may know better
    }
    call.hear(reply, call.sent.get(msg.subject));
  }
}

/** One request, however often it is sent. Each sending has a reply subject and a time of its own (1). */
class Call {
  sent = new Map(); // times of sending, by reply subject
  heard = false; // anything from a coordinator
  #inbox;
  #subject;
  #every;
  #signal;
  #sendAt = now();
  #pause = 500;
  #answers = [];
  #wake = () => {};

  /** @param {Inbox} inbox @param {string} subject @param {number} everyMs @param {AbortSignal} [signal] ends a turn */
  constructor(inbox, subject, everyMs, signal) {
    this.#inbox = inbox;
    this.#subject = subject;
    this.#every = everyMs;
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort);
  }

  #onAbort = () => this.#wake();

  end() {
    this.#signal?.removeEventListener("abort", this.#onAbort);
    for (const subject of this.sent.keys()) this.#inbox.calls.delete(subject);
  }

  /** @param {Reply} reply @param {number} [sent] */
  hear(reply, sent = now()) {
    this.#answers.push({ sent, reply });
    this.#wake();
  }

  /** There was an answer: nothing is to be sent for that long. */
  rest(ms) {
    this.#sendAt = now() + jittered(ms, 0.8);
    this.#pause = 500;
  }

  /**
   * Sends if it is time to, waits for an answer, and returns it with the time of the sending it belongs to.
   * @param {object} body @param {number} until
   * @returns {Promise<{ sent: number, reply: Reply }>}
   */
  async turn(body, until) {
    if (now() >= this.#sendAt) this.#send(body);
    for (;;) {
      const left = Math.min(this.#sendAt, until) - now();
      if (left <= 0 || this.#signal?.aborted) return { sent: now(), reply: { status: "silence" } };
      const answer = this.#answers.shift();
      if (!answer) {
        await this.#sleep(Math.min(left, 1_000));
        continue;
      }
      const { status, code, epoch, retry_after_ms = 0 } = answer.reply;
      this.heard ||= epoch !== undefined;
      const passing = ["nobody", "leader"].includes(status) || ["unavailable", "shutting_down"].includes(code);
      if (!passing) return answer;
      this.#sendAt = now() + Math.max(Math.min(retry_after_ms, 5_000), jittered(SOON_MS));
    }
  }

  #send(body) {
    this.#sendAt = now() + jittered(Math.min(this.#pause, this.#every));
    this.#pause = Math.min(this.#pause * 2, 4_000);
    if (this.sent.size >= 32) {
      const [oldest] = this.sent.keys(); // is given up
      this.sent.delete(oldest);
      this.#inbox.calls.delete(oldest);
    }
    const reply = this.#inbox.subject();
    this.#inbox.calls.set(reply, this);
    this.sent.set(reply, now()); // (2) before it leaves
    this.#inbox.publish(this.#subject, body, reply);
  }

  /** Until an answer, an abort, or the time is over; in slices, as timers do not count suspend. */
  #sleep(ms) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.ceil(ms));
      this.#wake = () => resolve(clearTimeout(timer));
    });
  }
}
