// A JavaScript client on strings: it does what its standard input says, and says what happens. It ends with its input.

import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "@nats-io/transport-node";
import { Natslock, now } from "./natslock.mjs";

const [servers, owner, namespace] = process.argv.slice(2);
const nc = await connect({ servers, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
const locks = new Natslock(nc, { owner, namespace });
const say = (...words) => process.stdout.write(`${words.join(" ")}\n`);
const nanos = (ms) => Math.round(ms * 1e6);

let cancel;
let letGo;
let holding;

async function hold(name, ttlMs, waitMs) {
  cancel = new AbortController();
  const released = new Promise((resolve) => (letGo = resolve));
  const options = { ttlMs: Number(ttlMs), waitMs: Number(waitMs), signal: cancel.signal };
  try {
    await locks.withLock(name, options, async (lease) => {
      say("GRANTED", lease.token, nanos(lease.deadline));
      const lost = new Promise((resolve) => lease.signal.addEventListener("abort", resolve));
      await Promise.race([lost, released]);
      if (lease.signal.aborted) {
        say("LOST", nanos(now()), nanos(lease.deadline), lease.isValid() ? "valid" : "invalid");
      }
    });
    say("ENDED");
  } catch (error) {
    if (!cancel.signal.aborted) say("FAILED", error.name, error.reply?.code ?? error.reply?.status ?? "-");
  }
}

async function contend(count, seconds, ...names) {
  const until = now() + Number(seconds) * 1_000;
  const one = async (number) => {
    const contender = `${owner}-${number}`;
    const locks = new Natslock(nc, { owner: contender, namespace });
    for (let turn = number + 1; now() < until; turn++) {
      const name = names[turn % names.length];
      const held = await locks.withLock(name, { ttlMs: 10_000, waitMs: 60_000 }, async (lease) => {
        const begun = now();
        await sleep(3);
        const ended = now();
        if (!lease.isValid()) throw new Error("a lock was lost");
        return [lease.token, nanos(begun), nanos(ended)];
      });
      say("HELD", name, ...held, contender);
    }
  };
  await Promise.all(Array.from({ length: Number(count) }, (_, number) => one(number)));
  say("DONE");
}

const verbs = {
  hold: (...words) => void (holding = hold(...words)),
  release: () => letGo(),
  cancel: async () => {
    cancel.abort();
    await holding;
    await locks.close();
    say("CANCELLED");
  },
  contend,
};

say("READY");
for await (const line of createInterface({ input: process.stdin })) {
  const [verb, ...words] = line.split(" ");
  await verbs[verb](...words);
}
process.exit();
