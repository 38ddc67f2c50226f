// Tests of the reference at /docs in a real browser.
//   API=http://127.0.0.1:8080 npm test        the address of a running sandbox
//   CHROMIUM=...                              the path of Chromium, if scripts/browser does not find it
//   SCREENSHOTS=...                           a folder for screenshots
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { API, DESKTOP, PHONE, assertNoOverflow, call, launch, logIn, screenshot, visiting } from './page.mjs';

const POLICY = [
  "default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data:", "connect-src 'self'",
  "font-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
].join('; ');

let browser;
before(async () => { browser = await launch(); });
after(() => browser?.close());

let customers = 0;
/** Emails are unique, and the sandbox may have been used before. */
function newEmail() {
  customers += 1;
  return `juan.${Date.now().toString(36)}.${process.pid}.${customers}@email.com`;
}

/** Logs in and creates an active card with a balance of 500, using only the page. */
async function makeCard(page) {
  await logIn(page);
  const customer = await call(page, 'createCustomer', { body: { name: 'Juan Perez', email: newEmail() } });
  assert.equal(customer.status, 200, JSON.stringify(customer.body));
  const { customerId } = customer.body;
  const card = await call(page, 'createCard', { body: { currency: 'USD' } });
  assert.equal(card.body.status, 'inactive');
  const { cardId } = card.body;
  assert.deepEqual((await call(page, 'assignCard', { body: { cardId, customerId } })).body, { success: true, cardId, customerId });
  const added = await call(page, 'addBalance', { body: { cardId, amount: 500 }, 'Idempotency-Key': `docs-${cardId}` });
  assert.equal(added.body.balance, 500, JSON.stringify(added.body));
  await call(page, 'changeCardStatus', { body: { cardId, status: 'active' } });

  const { status, body } = await call(page, 'getCard', { cardId });
  assert.equal(status, 200);
  const { createdAt, ...rest } = body;
  assert.ok(createdAt);
  const money = { balance: 500, held: 0, available: 500 };
  const carried = { label: null, externalId: null, metadata: {}, replaces: null, replacedBy: null };
  assert.deepEqual(rest, { cardId, status: 'active', currency: 'USD', ...money, customerId, ...carried });
}

const getCard = (page) => page.locator('.opblock[id$="-getCard"]');

test('shows the guide, every operation and only working links', () =>
  visiting(browser, {}, async (page, response) => {
    // Every other test shows that the policy permits enough; this one shows that it permits no more.
    assert.equal(response.headers()['content-security-policy'], POLICY);
    assert.equal(await page.title(), 'Core API reference');
    assert.equal(await page.getAttribute('html', 'lang'), 'en');

    const spec = await (await fetch(`${API}/openapi.json`)).json();
    const operations = Object.values(spec.paths).flatMap((path) => Object.values(path));
    const inOrder = spec.tags.flatMap(({ name }) => operations.filter(({ tags }) => tags[0] === name)).map(({ operationId }) => operationId);
    assert.deepEqual(await page.locator('.opblock').evaluateAll((blocks) => blocks.map(({ id }) => id.split('-').at(-1))), inOrder);
    assert.equal(await page.locator('.swagger-ui .info').count(), 0, 'the description appears only in the guide');

    for (const link of await page.locator('.contents a').all()) {
      const target = decodeURIComponent(await link.getAttribute('href')).replace('#/', '#operations-tag-').replaceAll(' ', '_');
      await link.click();
      await page.waitForFunction((id) => {
        const { top } = document.querySelector(id).getBoundingClientRect();
        return top >= -1 && top < innerHeight;
      }, target);
    }
    for (const path of await page.locator('.skip, .top a, .text a').evaluateAll((links) => links.map((link) => link.getAttribute('href')))) {
      if (path.startsWith('#')) assert.equal(await page.locator(path).count(), 1, path);
      else assert.equal((await fetch(API + path)).status, 200, path);
    }
    await assertNoOverflow(page, 'on a desktop');
  }));

test('the root and an address with a slash at its end lead to the page', async () => {
  for (const path of ['/', '/docs/']) {
    await visiting(browser, { path }, (page) => assert.equal(page.url(), `${API}/docs`));
  }
});

test('a second visit loads the files from the cache of the browser', () =>
  visiting(browser, {}, async (page) => {
    const [script] = await Promise.all([page.waitForResponse(`${API}/docs/swagger-ui-bundle.js`), page.reload()]);
    await page.locator('.opblock').first().waitFor();
    // The browser answers a 304 with its copy, and says 200; nothing but the head was received.
    const { responseBodySize } = await script.request().sizes();
    assert.ok(responseBodySize < 1_000, `${responseBodySize} bytes were received`);
  }));

test('a URL with an operation opens that operation', () =>
  visiting(browser, { path: '/docs#/Customers/createCustomer' }, async (page) => {
    await page.locator('.opblock[id$="-createCustomer"] .execute').waitFor();
  }));

test('a user can log in and create an active card with a balance of 500', () =>
  visiting(browser, { viewport: DESKTOP }, async (page) => {
    await screenshot(page, 'desktop-opened');
    await logIn(page);
    await screenshot(page, 'desktop-logged-in');
    await page.reload();
    await page.locator('.opblock').first().waitFor();
    assert.equal(await page.locator('#login').isVisible(), true, 'a token is not kept beyond the page');
    await makeCard(page);
    await getCard(page).locator('.live-responses-table').scrollIntoViewIfNeeded();
    await screenshot(page, 'desktop-card');
    await page.getByRole('button', { name: 'Authorize' }).first().click();
    await page.getByRole('heading', { name: 'Available authorizations' }).waitFor();
    await screenshot(page, 'desktop-authorize');
  }));

test('a phone shows the whole page without horizontal scrolling', () =>
  visiting(browser, { viewport: PHONE, hasTouch: true, isMobile: true }, async (page) => {
    await assertNoOverflow(page, 'opened');
    await screenshot(page, 'phone-opened');
    await page.getByText('Contents', { exact: true }).click();
    await assertNoOverflow(page, 'with the contents');
    await screenshot(page, 'phone-contents');
    await makeCard(page);
    await assertNoOverflow(page, 'with answers');
    await getCard(page).locator('.live-responses-table').scrollIntoViewIfNeeded();
    await screenshot(page, 'phone-card');
    await getCard(page).getByRole('button', { name: 'Example', exact: true }).first().click();
    await assertNoOverflow(page, 'with an example');
    await page.getByRole('button', { name: 'Authorize' }).first().click();
    await page.getByRole('heading', { name: 'Available authorizations' }).waitFor();
    await assertNoOverflow(page, 'with the dialog');
    await screenshot(page, 'phone-authorize');
    await page.getByRole('button', { name: 'Close', exact: true }).last().click();
    await page.getByRole('button', { name: 'Schemas' }).click();
    await page.locator('.models').getByText('AuditEvent').first().waitFor();
    await assertNoOverflow(page, 'with the schemas');
    await page.locator('.models').scrollIntoViewIfNeeded();
    await screenshot(page, 'phone-schemas');
  }));

test('a wrong password shows an error, and the right one then works', () =>
  visiting(browser, { refusals: [401] }, async (page) => {
    const { detail } = await (await fetch(`${API}/auth/login`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"email":"nobody@example.com","password":"wrong"}',
    })).json();
    await page.locator('#password').fill('wrong');
    await page.getByRole('button', { name: 'Log in', exact: true }).click();
    await page.getByRole('alert').getByText(detail).waitFor();
    await screenshot(page, 'desktop-wrong-password');
    assert.equal((await call(page, 'listCustomers')).status, 401);
    await page.locator('#password').fill('test123');
    await logIn(page);
    assert.equal(await page.getByRole('alert').innerText(), '');
    assert.equal((await call(page, 'listCustomers')).status, 200);
  }));

test('the login works with the keyboard alone', () =>
  visiting(browser, {}, async (page) => {
    const focused = () => page.evaluate(() => document.activeElement.id);
    for (let presses = 0; (await focused()) !== 'email'; presses += 1) {
      assert.ok(presses < 60, 'the form is not reached');
      await page.keyboard.press('Tab');
    }
    const outline = await page.locator('#email').evaluate((field) => getComputedStyle(field).outlineStyle);
    assert.equal(outline, 'solid', 'the focus is visible');
    await page.keyboard.press('Tab');
    assert.equal(await focused(), 'password');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Logged in as test@example.com' }).waitFor();
    assert.equal(await focused(), 'logged-in');
  }));

test('login, refresh and logout operations update the session of the page', () =>
  visiting(browser, { refusals: [401] }, async (page) => {
    const login = await call(page, 'login', { body: { email: 'admin@company.com', password: 'secure_password' } });
    assert.equal(login.status, 200);
    await page.locator('#session-held').getByText('Logged in').waitFor();
    assert.equal((await call(page, 'listCards')).status, 200);

    const sent = () => page.waitForRequest((request) => request.url().endsWith('/cards')).then((request) => request.headers().authorization);
    const refreshed = await call(page, 'refresh', { body: { refreshToken: login.body.refreshToken } });
    assert.notEqual(refreshed.body.token, login.body.token);
    const [authorization] = await Promise.all([sent(), call(page, 'listCards')]);
    assert.equal(authorization, `Bearer ${refreshed.body.token}`);

    assert.deepEqual((await call(page, 'logout')).body, { success: true });
    await page.locator('#session-held').waitFor({ state: 'hidden' });
    const [nothing] = await Promise.all([sent(), call(page, 'listCards')]);
    assert.equal(nothing, undefined);

    await logIn(page);
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.locator('#login').waitFor();
    assert.equal((await call(page, 'listCards')).status, 401);
  }));

test('an API key works in place of a login', () =>
  visiting(browser, { refusals: [401, 403] }, async (page) => {
    await logIn(page);
    const { body: issued } = await call(page, 'createApiKey', { body: { name: 'Browser', role: 'network' } });
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByText('Or use an API key').click();
    const use = async (key) => {
      await page.locator('#key').fill(key);
      await page.getByRole('button', { name: 'Use this key' }).click();
    };
    await use(issued.key.replace(/.$/, (last) => (last === '0' ? '1' : '0')));
    await page.getByRole('alert').getByText('Send a valid token or API key').waitFor();
    await use(` ${issued.key} `);
    await page.getByRole('heading', { name: 'Using an API key' }).waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), 'logged-in');
    assert.equal(await page.getByRole('alert').innerText(), '');
    assert.equal(await page.locator('#key').inputValue(), '', 'the key does not stay in the form');
    await screenshot(page, 'desktop-key');
    assert.equal((await call(page, 'listAuthorizations')).status, 200);
    assert.equal((await call(page, 'listCards')).status, 403);
    assert.equal((await call(page, 'logout')).status, 403, 'a key has no session');
    await page.getByRole('button', { name: 'Forget the key' }).click();
    await page.locator('#login').waitFor();
    assert.equal((await call(page, 'listAuthorizations')).status, 401);

    await use(issued.key);
    await page.getByRole('heading', { name: 'Using an API key' }).waitFor();
    const { token } = await (await fetch(`${API}/auth/login`, {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"email":"test@example.com","password":"test123"}',
    })).json();
    await fetch(`${API}/api-keys/${issued.apiKeyId}`, { method: 'DELETE', headers: { Authorization: `Bearer ${token}` } });
    assert.equal((await call(page, 'listAuthorizations')).status, 401);
    await page.locator('#login').waitFor();
  }));

test('a session that was ended elsewhere is shown as ended', () =>
  visiting(browser, { refusals: [401] }, async (page) => {
    const [login] = await Promise.all([page.waitForResponse(`${API}/auth/login`), logIn(page)]);
    const { token } = await login.json();
    await fetch(`${API}/auth/logout`, { method: 'POST', headers: { Authorization: `Bearer ${token}` } });
    assert.equal((await call(page, 'listCards')).status, 401);
    await page.locator('#login').waitFor();
  }));

test('the example can be copied and works', () =>
  visiting(browser, { permissions: ['clipboard-read', 'clipboard-write'] }, async (page) => {
    await page.locator('#script').getByRole('button').click();
    await page.locator('#script').getByText('Copied').waitFor();
    const script = await page.evaluate(() => navigator.clipboard.readText());
    assert.ok(script.startsWith(`API=${API}\n`), script);
    const printed = execFileSync('sh', ['-c', script.replace('juan@email.com', newEmail())], { encoding: 'utf8' });
    assert.match(printed, /"status":"active","currency":"USD","balance":500,"held":0,"available":500,"customerId":"cus_/);
  }));

test('the page has no login in production', () =>
  visiting(browser, {
    before: (page) => page.route('**/openapi.json', async (route) => {
      const response = await route.fetch();
      const spec = await response.json();
      for (const path of Object.keys(spec.paths)) if (path.startsWith('/sandbox/')) delete spec.paths[path];
      await route.fulfill({ response, json: spec });
    }),
  }, async (page) => {
    await page.locator('#tags').getByText('Customers').waitFor();
    assert.equal(await page.locator('#login').isVisible(), false);
    assert.equal(await page.locator('.badge.sandbox').isVisible(), false);
    assert.equal(await page.locator('#tags').getByText('Sandbox').count(), 0);
    await page.locator('#session').getByText('Not logged in').waitFor();
  }));

test('the page has a dark mode', () =>
  visiting(browser, { colorScheme: 'dark' }, async (page) => {
    const grounds = await page.evaluate(() => ['body', '.swagger-ui'].map((each) => getComputedStyle(document.querySelector(each)).backgroundColor));
    assert.deepEqual(grounds, ['rgb(28, 32, 34)', 'rgb(28, 32, 34)']);
    await logIn(page);
    await call(page, 'listCustomers');
    await page.locator('.opblock[id$="-listCustomers"]').scrollIntoViewIfNeeded();
    await screenshot(page, 'desktop-dark');
  }));
