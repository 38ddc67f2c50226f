// A customer and their cards from the first to the last day, with Node alone, against the sandbox of `make sandbox`.
//   node examples/lives.mjs
//   API=http://127.0.0.1:8080 node examples/lives.mjs
// The admin makes a customer with two cards, moves money between them, replaces one that was lost, reads its statement, and
// erases the person in the end.
import { randomUUID } from 'node:crypto';

const API = process.env.API ?? 'http://127.0.0.1:8080';
let token;

/** What the server answers; anything but a success ends the program. */
async function call(method, path, body, accept = 'application/json') {
  const headers = { 'Content-Type': 'application/json', Accept: accept };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (['POST', 'PATCH'].includes(method) && !path.startsWith('/auth/')) headers['Idempotency-Key'] = randomUUID();
  const response = await fetch(API + path, { method, headers, body: body && JSON.stringify(body) }).catch((failure) => {
    throw new Error(`${API}: ${failure.cause?.message ?? failure.message}`);
  });
  const text = await response.text();
  if (response.ok) return accept === 'text/csv' ? text : JSON.parse(text);
  const problem = response.headers.get('content-type') === 'application/problem+json' ? JSON.parse(text) : {};
  throw new Error(`${method} ${path}: ${response.status} ${problem.code ?? ''}: ${problem.detail ?? text}`);
}

async function live() {
  ({ token } = await call('POST', '/auth/login', { email: 'admin@company.com', password: 'secure_password' }));

  // 1. A customer, with your own id for them, and two cards
  const externalId = `crm-${randomUUID()}`;
  const ana = { name: 'Ana Núñez', email: `${externalId}@example.com`, externalId, metadata: { segment: 'gold' } };
  const { customerId } = await call('POST', '/customers', ana);
  const card = async (label) => {
    const { cardId } = await call('POST', '/cards', { currency: 'USD', label });
    await call('POST', '/cards/assign', { cardId, customerId });
    await call('PATCH', '/cards/status', { cardId, status: 'active', reason: 'Identity verified' });
    return cardId;
  };
  const [travel, everyday] = [await card('Travel'), await card('Everyday')];

  // 2. Whoever sits at a desk finds her by the start of a name
  const { customers } = await call('GET', `/customers?q=nun&externalId=${externalId}`);
  console.log(`Found ${customers.map(({ name }) => name)}`);

  // 3. Money moves from one card to the other: two movements or none
  await call('POST', '/balances/add', { cardId: travel, amount: 500 });
  const moved = await call('POST', '/transfers', { fromCardId: travel, toCardId: everyday, amount: 120.5 });
  console.log(`Moved ${moved.amount}: ${moved.fromBalance} and ${moved.toBalance}`);

  // 4. The travel card is lost. A new one takes its place, with its limits and its money
  await call('POST', `/cards/${travel}/limits`, { interval: 'month', amount: 300 });
  const replacement = await call('POST', `/cards/${travel}/replace`, { reason: 'lost' });
  const { limits } = await call('GET', `/cards/${replacement.cardId}/limits`);
  console.log(`Replaced by a card that is ${replacement.status}, with ${replacement.balance}, and ${limits[0].remaining} a month left`);
  const { history } = await call('GET', `/cards/${travel}/status-history`);
  console.log(`The old one is ${history.at(-1).to}: ${history.at(-1).reason}`);

  // 5. Its statement, for people and for spreadsheets
  const period = 'from=2020-01-01&to=2100-01-01&timeZone=America/Bogota';
  const statement = await call('GET', `/cards/${travel}/statement?${period}`);
  console.log(`Opened with ${statement.openingBalance}, closed with ${statement.closingBalance}, ${statement.movements.length} movements`);
  console.log(`As a file of ${(await call('GET', `/cards/${travel}/statement?${period}`, undefined, 'text/csv')).trim().split('\n').length} lines`);

  // 6. She leaves: the cards are emptied and cancelled, and her name is gone
  for (const cardId of [everyday, replacement.cardId]) {
    const { available } = await call('GET', `/balances/${cardId}`);
    await call('POST', '/balances/withdraw', { cardId, amount: available });
    await call('PATCH', '/cards/status', { cardId, status: 'cancelled', reason: 'Account closed' });
  }
  await call('DELETE', `/customers/${customerId}`);
  const erased = await call('GET', `/customers/${customerId}`);
  console.log(`Erased: the name is ${erased.name}, the external id is ${erased.externalId === externalId ? 'kept' : 'lost'}`);
}

await live().catch((failure) => {
  console.error(failure.message);
  process.exitCode = 1;
});
