// Opens /docs in Chromium, watches its requests and errors, and calls operations by clicking, as a reader does.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

assert.ok(process.env.API, 'API is the address of a running sandbox: API=http://127.0.0.1:8080 npm test');
export const API = new URL(process.env.API).origin;
export const DESKTOP = { width: 1280, height: 900 };
export const PHONE = { width: 390, height: 844 };

function program() {
  return process.env.CHROMIUM || execFileSync(fileURLToPath(new URL('../../scripts/browser', import.meta.url)), ['--find'], { encoding: 'utf8' }).trim();
}

export function launch() {
  // Chromium's sandbox does not work for root, who often runs tests in containers.
  return chromium.launch({ executablePath: program(), chromiumSandbox: process.getuid?.() !== 0 });
}

/** Opens the page, lets `visit` use it, and asserts that the page did nothing forbidden. */
export async function visiting(browser, { viewport = DESKTOP, path = '/docs', refusals = [], before, ...options }, visit) {
  const context = await browser.newContext({ viewport, locale: 'en-US', ...options });
  context.setDefaultTimeout(15_000);
  try {
    const wrong = [];
    const page = await context.newPage();
    // What the policy blocks never becomes a request, so it is recorded here.
    await page.exposeFunction('reportViolation', (text) => wrong.push(`blocked by the policy: ${text}`));
    await page.addInitScript(() => {
      addEventListener('securitypolicyviolation', (event) => globalThis.reportViolation(`${event.violatedDirective} ${event.blockedURI}`));
    });
    context.on('request', (request) => {
      const { protocol, origin } = new URL(request.url());
      if (protocol !== 'data:' && origin !== API) wrong.push(`a request to ${request.url()}`);
    });
    page.on('pageerror', (error) => wrong.push(`an exception: ${error.message}`));
    page.on('console', (message) => {
      // Chromium logs every error status. A test lists those that it provokes.
      const provoked = refusals.some((status) => message.text().startsWith(`Failed to load resource: the server responded with a status of ${status} `));
      if (message.type() === 'error' && !provoked) wrong.push(`in the console: ${message.text()} (${message.location().url})`);
    });
    await before?.(page);
    const response = await page.goto(API + path);
    assert.equal(response.status(), 200);
    const shown = await page.locator('.opblock').first().waitFor().catch((error) => error);
    assert.deepEqual(wrong, [], 'while the page was opened');
    assert.equal(shown, undefined, 'the operations are shown');
    await visit(page, response);
    await page.waitForLoadState('networkidle');
    assert.deepEqual(wrong, []);
  } finally {
    await context.close();
  }
}

export async function logIn(page) {
  await page.getByRole('button', { name: 'Log in', exact: true }).click();
  await page.getByRole('heading', { name: 'Logged in as test@example.com' }).waitFor();
}

/** Fills in and sends an operation, and returns the answer that the page shows. */
export async function call(page, id, { body, ...parameters } = {}) {
  const operation = page.locator(`.opblock[id$="-${id}"]`);
  if (!(await operation.locator('.execute').isVisible())) await operation.locator('.opblock-summary-control').click();
  const clear = operation.locator('.btn-clear');
  if (await clear.isVisible()) await clear.click();
  for (const [name, value] of Object.entries(parameters)) await operation.locator(`tr[data-param-name="${name}"] input`).fill(value);
  if (body) await operation.getByLabel('Request body').fill(JSON.stringify(body, null, 2));
  await operation.locator('.execute').click();
  const answer = operation.locator('.live-responses-table .response');
  const status = Number.parseInt(await answer.locator('.response-col_status').innerText(), 10);
  return { status, body: JSON.parse(await answer.locator('.highlight-code code').first().innerText()) };
}

/** Asserts that the page does not scroll horizontally. */
export async function assertNoOverflow(page, when) {
  const { needed, there, widest } = await page.evaluate(() => {
    const there = document.documentElement.clientWidth;
    const outside = [...document.querySelectorAll('body *')].filter((each) => each.getBoundingClientRect().right > there + 1);
    return { there, needed: document.documentElement.scrollWidth, widest: outside.slice(0, 5).map((each) => `${each.tagName}.${each.className}`) };
  });
  assert.ok(needed <= there, `${when}: ${needed} px wide on ${there} px, perhaps because of ${widest.join(', ')}`);
}

export async function screenshot(page, name) {
  const folder = process.env.SCREENSHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}
