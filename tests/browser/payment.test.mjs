// Tests of the section "How a card pays" of /docs in a real browser. docs.test.mjs says how to run them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { API, DESKTOP, PHONE, assertNoOverflow, launch, logIn, screenshot, visiting } from './page.mjs';

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

const step = (page, number) => page.locator('.steps > li').nth(number - 1);
const runAll = (page) => page.getByRole('button', { name: 'Run all steps' });

/** Waits until no step is running. */
const done = (page) => page.waitForFunction(() => !document.getElementById('run-all').disabled);

/** Runs a step and returns the whole answer that the page shows. */
async function run(page, number) {
  await step(page, number).getByRole('button', { name: 'Run' }).click();
  await done(page);
  return answer(page, number);
}

const answer = async (page, number) => JSON.parse(await step(page, number).locator('details code').textContent());
const refusal = (page, number) => step(page, number).locator('.refused').innerText();

/** The balance, what is held and what is available, as the page shows them. */
const purse = (page) => page.locator('.purse output').allInnerTexts();

/** The members of an answer that the page lists, by their paths. */
const members = (page, number) => step(page, number).locator('dl').evaluate((list) => {
  const found = {};
  let path;
  for (const each of list.children) {
    if (each.tagName === 'DT') path = each.textContent;
    else found[path] = [...(found[path] ?? []), each.textContent];
  }
  return found;
});

async function payWholly(page) {
  await logIn(page);
  await runAll(page).click();
  await done(page);
  assert.deepEqual(await page.locator('.steps .refused').allInnerTexts(), []);
}

test('all steps run, from a new card to the history of its authorisation', () =>
  visiting(browser, { viewport: DESKTOP }, async (page) => {
    await page.locator('#payments').scrollIntoViewIfNeeded();
    await screenshot(page, 'desktop-payment-opened');
    await payWholly(page);
    assert.deepEqual(await purse(page), ['400', '0', '400']);
    assert.equal(await page.locator('#progress').innerText(), 'All 11 steps succeeded.');

    const authorised = await members(page, 4);
    assert.deepEqual(authorised['authorization.status'], ['pending']);
    assert.deepEqual(authorised['authorization.heldAmount'], ['100']);
    assert.match(authorised['authorization.approvalCode'][0], /^[0-9]{6}$/);
    assert.deepEqual(await members(page, 5), { balance: ['500'], held: ['100'], available: ['400'] });
    assert.deepEqual(await members(page, 6), {
      'entry.kind': ['increment'], 'entry.amount': ['50'], 'authorization.authorizedAmount': ['150'], 'authorization.heldAmount': ['150'],
    });
    assert.deepEqual(await members(page, 7), {
      'authorization.status': ['captured'], 'authorization.capturedAmount': ['120'], 'authorization.releasedAmount': ['30'],
      'movement.amount': ['-120'], 'movement.description': ['HOTEL MIRADOR'],
    });
    const declined = await members(page, 8);
    assert.deepEqual(declined['authorization.status'], ['declined']);
    assert.deepEqual(declined['authorization.responseCode'], ['51']);
    assert.deepEqual(declined['authorization.decline.code'], ['insufficient_funds']);
    assert.match(declined['authorization.checks'].at(-1), /^check: funds, result: fail, balance: 380, held: 0, available: 380, requested: 1000$/);
    assert.deepEqual(await members(page, 9), { 'authorization.refundedAmount': ['20'], 'movement.type': ['refund'], 'movement.amount': ['20'] });
    assert.deepEqual((await members(page, 10)).movements, [
      'type: refund, amount: 20, balanceAfter: 400, description: Minibar corrected',
      'type: capture, amount: -120, balanceAfter: 380, description: HOTEL MIRADOR',
      'type: top_up, amount: 500, balanceAfter: 500, description: Balance top-up',
    ]);
    assert.deepEqual((await members(page, 11))['authorization.entries'], [
      'kind: authorization, amount: 100, heldAfter: 100, sequence: 4',
      'kind: increment, amount: 50, heldAfter: 150, sequence: 5',
      'kind: capture, amount: 120, heldAfter: 0, sequence: 6',
    ]);
    const { authorization } = await answer(page, 11);
    assert.equal(authorization.capturedAmount, 120);

    await assertNoOverflow(page, 'with every answer');
    await step(page, 4).scrollIntoViewIfNeeded();
    await screenshot(page, 'desktop-payment-authorised');
    await step(page, 8).locator('.answer').scrollIntoViewIfNeeded();
    await screenshot(page, 'desktop-payment-declined');
    await step(page, 11).locator('.answer').scrollIntoViewIfNeeded();
    await screenshot(page, 'desktop-payment-history');
  }));

test('steps run one by one, and each says what it needs', () =>
  visiting(browser, { refusals: [409] }, async (page) => {
    await runAll(page).click();
    assert.match(await refusal(page, 1), /^Log in or enter an API key first/);
    await logIn(page);
    await step(page, 6).getByRole('button', { name: 'Run' }).click();
    assert.equal(await refusal(page, 6), 'Run step 4 first: its answer has the authorizationId.');
    assert.deepEqual(await purse(page), ['–', '–', '–']);

    const { cardId } = await run(page, 1);
    await run(page, 2);
    assert.equal((await purse(page))[0], '500');
    assert.match(await step(page, 4).locator('pre').first().innerText(), new RegExp(`"cardId": "${cardId}"`));
    assert.equal((await run(page, 3)).status, 'active');

    // Each run is a request of its own: a second run of a step has another key.
    await run(page, 4);
    await run(page, 4);
    assert.deepEqual(await purse(page), ['500', '200', '300']);

    await send('PATCH', '/cards/status', await adminToken(), { cardId, status: 'cancelled' });
    await run(page, 3);
    assert.match(await refusal(page, 3), /^409 invalid_status_transition: /);
    assert.match(await page.locator('#progress').innerText(), /^Activate it: 409 invalid_status_transition/);

    // Another card starts anew.
    assert.notEqual((await run(page, 1)).cardId, cardId);
    assert.equal(await step(page, 4).locator('.answer').isVisible(), false);
    assert.deepEqual(await purse(page), ['–', '–', '–']);
  }));

test('a card that exists already can pay', () =>
  visiting(browser, {}, async (page) => {
    await logIn(page);
    const { cardId } = await run(page, 1);
    await run(page, 2);
    await run(page, 3);
    await page.reload();
    await page.locator('.opblock').first().waitFor();
    await logIn(page);
    await page.getByLabel('Card', { exact: true }).fill(cardId);
    assert.equal((await run(page, 4)).authorization.cardId, cardId);
    assert.deepEqual(await purse(page), ['500', '100', '400']);
  }));

test('a network key pays with a card of its account, and makes none', () =>
  visiting(browser, { refusals: [403] }, async (page) => {
    const token = await adminToken();
    const { cardId } = await send('POST', '/cards', token, { currency: 'USD' });
    await send('POST', '/balances/add', token, { cardId, amount: 500 });
    await send('PATCH', '/cards/status', token, { cardId, status: 'active' });
    const { key } = await send('POST', '/api-keys', token, { name: 'Browser', role: 'network' });
    await page.getByText('Or use an API key').click();
    await page.locator('#key').fill(key);
    await page.getByRole('button', { name: 'Use this key' }).click();
    await page.getByRole('heading', { name: 'Using an API key' }).waitFor();

    await page.getByLabel('Card', { exact: true }).fill(cardId);
    await runAll(page).click();
    await done(page);
    assert.match(await refusal(page, 1), /^403 insufficient_permissions: /);
    assert.equal(await page.getByLabel('Card', { exact: true }).inputValue(), cardId, 'a failed step forgets nothing');
    for (const number of [4, 6, 7, 8, 9, 11]) await run(page, number);
    assert.deepEqual(await purse(page), ['400', '0', '400']);
    await screenshot(page, 'desktop-payment-key');
  }));

/** Sends a request behind the page's back, and returns the answer to a success. */
async function send(method, path, token, body) {
  const headers = { 'Content-Type': 'application/json', ...(token && { Authorization: `Bearer ${token}` }) };
  const response = await fetch(API + path, { method, headers, body: JSON.stringify(body) });
  assert.equal(response.status, 200, `${method} ${path}`);
  return response.json();
}

const adminToken = async () => (await send('POST', '/auth/login', undefined, { email: 'test@example.com', password: 'test123' })).token;

test('a phone shows a payment without horizontal scrolling', () =>
  visiting(browser, { viewport: PHONE, hasTouch: true, isMobile: true, colorScheme: 'dark' }, async (page) => {
    await payWholly(page);
    for (const summary of await page.locator('.steps summary').all()) await summary.click();
    await assertNoOverflow(page, 'with every whole answer');
    await step(page, 8).locator('.outcome').scrollIntoViewIfNeeded();
    await screenshot(page, 'phone-dark-payment-declined');
  }));

test('production shows the steps and does not run them', () =>
  visiting(browser, {
    before: (page) => page.route('**/openapi.json', async (route) => {
      const response = await route.fetch();
      const spec = await response.json();
      for (const path of Object.keys(spec.paths)) if (path.startsWith('/sandbox/')) delete spec.paths[path];
      await route.fulfill({ response, json: spec });
    }),
  }, async (page) => {
    await page.locator('#tags').getByText('Customers').waitFor();
    assert.equal(await step(page, 4).locator('pre').isVisible(), true);
    assert.equal(await page.locator('#payments button:visible').count(), 0);
  }));
