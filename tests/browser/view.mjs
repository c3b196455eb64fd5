// What the view shows, that it follows what happens without a reload, and that what others wrote stays text.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const { NATSLOCK_BIN, CHROMIUM_BIN, SHOTS } = process.env;
const EVIL = "evil.<script>document.title='owned'</script>";
const NOTE = "<img src=x onerror=\"document.title='owned'\">";

const natslock = (...words) => execFileSync(NATSLOCK_BIN, words, { encoding: "utf8" });
const acquire = (...words) => JSON.parse(natslock("acquire", ...words, "--json"));

/** A coordinator with the view, and its address. */
const serve = (...more) => new Promise((resolve, reject) => {
  const child = spawn(NATSLOCK_BIN, ["serve", "--http", "127.0.0.1:0", ...more], { stdio: ["ignore", "ignore", "pipe"] });
  let told = "";
  child.stderr.on("data", (text) => {
    told += text;
    const found = told.match(/http:\/\/(127\.0\.0\.1:\d+)\//);
    if (found) resolve({ child, url: `http://${found[1]}/` });
  });
  child.on("exit", () => reject(new Error(`it has ended: ${told}`)));
  process.on("exit", () => child.kill("SIGKILL"));
});

const profile = mkdtempSync(join(tmpdir(), "natslock-chromium-"));
process.on("exit", () => rmSync(profile, { recursive: true, force: true }));
const args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

const { url } = await serve("--leader-lease", "3s");
const held = acquire("jobs.nightly", "--ttl", "2h", "--note", NOTE, "--owner", "worker-7");
acquire(EVIL, "--ttl", "1h", "--owner", "<b>mallory</b>");
acquire("config", "--shared", "--ttl", "1h", "--owner", "reader-1");
acquire("config", "--shared", "--ttl", "1h", "--owner", "reader-2");

const browser = await chromium.launchPersistentContext(profile, { executablePath: CHROMIUM_BIN, args, viewport: { width: 1440, height: 1000 } });
const page = browser.pages()[0] ?? await browser.newPage();
const troubles = [];
const requested = [];
page.on("pageerror", (error) => troubles.push(error.message));
page.on("console", (message) => { if (message.type() === "error") troubles.push(message.text()); });
page.on("request", (request) => requested.push(request.url()));
await page.goto(url, { waitUntil: "domcontentloaded" });
await page.evaluate(() => { window.notReloaded = true; });

const row = (name) => page.locator("#locks tbody tr").filter({ has: page.getByText(name, { exact: true }) });
const shows = async (locator, text) => {
  await locator.first().waitFor({ timeout: 15_000 });
  await assert.doesNotReject(page.waitForFunction(([element, wanted]) => element.textContent.includes(wanted),
    [await locator.first().elementHandle(), text], { timeout: 15_000 }), `${text} is shown`);
};
const eventually = async (what, check) => {
  for (let tries = 0; tries < 150; tries += 1) {
    if (await check()) return;
    await page.waitForTimeout(100);
  }
  assert.fail(`in vain: ${what}`);
};

// What there is.
await shows(page.locator("#status"), "leading");
await shows(row("jobs.nightly"), "worker-7");
await shows(row("jobs.nightly"), "1 h 59 min");
await shows(row("config"), "reader-1 and 1 more (shared)");
await shows(page.locator("#holders"), "4");
await shows(page.locator("#events"), "granted");

// What happens, without a reload: waiters in order, a hand-over, an event.
const waiting = ["first", "second"].map((owner) => {
  const child = spawn(NATSLOCK_BIN, ["acquire", "jobs.nightly", "--wait", "60s", "--ttl", "60s", "--owner", owner], { stdio: "ignore" });
  process.on("exit", () => child.kill("SIGKILL"));
  return child;
});
await eventually("two wait", async () => (await page.locator("#waiters").textContent()) === "2");
await row("jobs.nightly").locator("button").click();
await eventually("the waiters stand in order", async () => {
  const shown = await page.locator("#detail-waiters tbody tr").allTextContents();
  return shown.length === 2 && shown.every((text) => /^[12](first|second)exclusive/.test(text));
});
await shows(page.locator("#detail-holders"), NOTE);
natslock("release", "jobs.nightly", "--id", held.id, "--owner", "worker-7");
await eventually("it was handed over", async () => /^(first|second)/.test(await page.locator("#detail-holders tbody").textContent()));
await eventually("the event is there", async () => (await page.locator("#events").textContent()).includes("worker-7 · held"));
const left = async () => (await row("config").locator("td").nth(2).textContent());
assert.match(await left(), /59 min|1 h/);
await eventually("a chart has a line", async () => (await page.locator("#rates path").first().getAttribute("d")).length > 10);

// What others wrote is text.
await shows(row(EVIL), "<b>mallory</b>");
assert.equal(await page.title(), "natslock");
assert.equal(await page.locator("main script, main img, main b:not(.bar b):not(figcaption b)").count(), 0);
await row(EVIL).locator("button").click();
await shows(page.locator("#detail-name"), EVIL);

// One prefix only.
await page.fill("#prefix", "conf");
await eventually("only what begins so is shown", async () => (await page.locator("#locks tbody tr").count()) === 1);
await page.fill("#prefix", "");
await eventually("all is shown again", async () => (await page.locator("#locks tbody tr").count()) === 3);

// Only looking: nothing to press that takes a lock away.
assert.equal(await page.locator("#detail-release").isVisible(), false);

// On a phone nothing stands over the edge, and colours follow what the device wants.
const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const light = await ground();
await page.emulateMedia({ colorScheme: "dark" });
assert.notEqual(await ground(), light);
await page.setViewportSize({ width: 390, height: 844 });
assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390);
if (SHOTS) await page.screenshot({ path: join(SHOTS, "phone.png"), fullPage: true });

assert.equal(await page.evaluate(() => window.notReloaded), true);
assert.deepEqual(requested.filter((one) => !one.startsWith(url) && !one.startsWith("data:")), [], "nothing from elsewhere");
assert.deepEqual(troubles, []);

// With leave, a lock is taken.
const admin = await serve("--http-admin");
await page.goto(`${admin.url}`, { waitUntil: "domcontentloaded" });
await shows(page.locator("#status"), "standing by");
waiting.forEach((child) => child.kill());
const answer = await page.evaluate(async () => (await fetch("release?lock=config", { method: "POST", headers: { "x-natslock-view": "1" } })).text());
assert.equal(answer, "released\n");
assert.equal(natslock("check", "config"), "free\n");
const foreign = await page.evaluate(async (other) => {
  try { return (await fetch(`${other}release?lock=jobs.nightly`, { method: "POST" })).status; } catch { return "refused"; }
}, admin.url.replace("127.0.0.1", "localhost"));
assert.equal(foreign, "refused");

await browser.close();
console.log("the view shows what it has to");
process.exit(0);
