// Contending workers and a stale token. Against `natslock dev`: node demo.mjs [nats://127.0.0.1:4222]

import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "@nats-io/transport-node";
import { NotAcquired, Natslock } from "./natslock.mjs";

// A short ping interval and reconnecting for ever: otherwise a dead connection goes unnoticed for minutes.
const servers = process.argv[2] ?? "nats://127.0.0.1:4222";
const nc = await connect({ servers, pingInterval: 5_000, maxPingOut: 2, maxReconnectAttempts: -1 });
const locks = new Natslock(nc, { owner: "demo@node" });

/** A resource that checks the fencing token: it refuses whoever is not the latest holder. */
const store = {
  highest: 0,
  rows: [],
  write(row, fence) {
    if (fence < this.highest) return false;
    this.highest = fence;
    this.rows.push(row);
    return true;
  },
};

const tokens = await Promise.all(
  [0, 1, 2].map((number) =>
    locks.withLock("demo.orders", { ttlMs: 10_000, waitMs: 10_000 }, async (lease) => {
      store.write(`worker ${number}`, lease.token);
      console.log(`worker ${number} holds ${lease.name} with token ${lease.token}`);
      if (lease.isValid()) await sleep(200, undefined, { signal: lease.signal }); // before each step that takes long
      return lease.token;
    }),
  ),
);

const first = Math.min(...tokens);
console.log(`a late write with token ${first} is taken: ${store.write("late", first)}`);

await locks.withLock("demo.orders", { ttlMs: 10_000 }, async () => {
  try {
    await locks.withLock("demo.orders", { waitMs: 0 }, async () => {});
  } catch (error) {
    if (!(error instanceof NotAcquired)) throw error;
    console.log(`a try finds it held by ${error.reply.holders[0].owner}`);
  }
});
await locks.close();
await nc.drain();
