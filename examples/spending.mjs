// A card with a limit a month and a merchant lock, with Node alone, against the sandbox of `make sandbox`.
//   node examples/spending.mjs
//   API=http://127.0.0.1:8080 node examples/spending.mjs
// The admin makes the card, its limit and its controls, asks whether it can pay, and reads what is left. The processor's
// gateway, which has only a key of the role network, makes the card pay.
import { randomUUID } from 'node:crypto';

const API = process.env.API ?? 'http://127.0.0.1:8080';

/** What the server answers; anything but a success ends the program. */
async function call(method, path, { body, token } = {}) {
  const headers = { 'Content-Type': 'application/json' };
  if (token) headers.Authorization = `Bearer ${token}`;
  // A gateway makes it from the network's message, so that the message's repetition has the same key.
  if (method === 'POST' && !path.startsWith('/auth/')) headers['Idempotency-Key'] = randomUUID();
  const response = await fetch(API + path, { method, headers, body: body && JSON.stringify(body) }).catch((failure) => {
    throw new Error(`${API}: ${failure.cause?.message ?? failure.message}`);
  });
  const text = await response.text();
  if (response.ok) return JSON.parse(text);
  const problem = response.headers.get('content-type') === 'application/problem+json' ? JSON.parse(text) : {};
  throw new Error(`${method} ${path}: ${response.status} ${problem.code ?? ''}: ${problem.detail ?? text}`);
}

/** Prints what was decided, or would be: an authorisation, or a preview. */
function show(what, { status, authorizedAmount, decline }) {
  console.log(`${what}: ${decline ? `${decline.code}, ${decline.message}` : `${status}, ${authorizedAmount} approved`}`);
}

async function spend() {
  // 1. The admin makes an active card with a balance of 500
  const login = await call('POST', '/auth/login', { body: { email: 'admin@company.com', password: 'secure_password' } });
  const admin = login.token;
  const { cardId } = await call('POST', '/cards', { token: admin, body: { currency: 'USD' } });
  await call('POST', '/balances/add', { token: admin, body: { cardId, amount: 500 } });
  await call('PATCH', '/cards/status', { token: admin, body: { cardId, status: 'active' } });

  // 2. It may spend 300 in each calendar month of Bogota
  const limit = { name: 'Travel', interval: 'month', timeZone: 'America/Bogota', amount: 300 };
  const { remaining } = await call('POST', `/cards/${cardId}/limits`, { token: admin, body: limit });
  console.log(`Limited to ${limit.amount} a month: ${remaining} left`);

  // 3. It pays one merchant alone: the one that it pays first
  const locked = await call('PATCH', `/cards/${cardId}/controls`, { token: admin, body: { merchantLock: 'first' } });
  console.log(`Locked to the ${locked.merchantLock} merchant`);

  // 4. The admin makes a key for the gateway. It is shown only now
  const { apiKeyId, key: network } = await call('POST', '/api-keys', { token: admin, body: { name: 'spending example', role: 'network' } });

  // 5. A preview decides and records nothing
  const hotel = { id: '445291006', name: 'HOTEL MIRADOR', mcc: '7011', city: 'Bogota', country: 'CO' };
  const preview = { token: admin, body: { amount: 120, merchant: hotel } };
  show('Could the card pay 120', await call('POST', `/cards/${cardId}/authorizations/preview`, preview));

  // 6. The payment locks the card to the merchant, and is spent at once
  const pay = async (amount, merchant) =>
    (await call('POST', '/network/authorizations', { token: network, body: { cardId, amount, merchant } })).authorization;
  const payment = await pay(120, hotel);
  show('Paid 120', payment);
  const { merchantLock } = await call('GET', `/cards/${cardId}/controls`, { token: admin });
  console.log(`Locked to merchant ${merchantLock.merchantId}`);

  // 7. Another merchant is declined, and so is more than the limit has left
  show('Asked for 10 elsewhere', await pay(10, { id: '5665270011000168', name: 'AMAZON.COM', mcc: '5734', country: 'US' }));
  show('Asked for 200 more', await pay(200, hotel));

  // 8. The merchant takes 100. The rest of the hold comes back to the limit
  await call('POST', `/network/authorizations/${payment.id}/captures`, { token: network, body: { amount: 100 } });

  // 9. What is left
  const left = await call('GET', `/cards/${cardId}/limits`, { token: admin });
  for (const { name, amount, used, usedCount, remaining } of left.limits) {
    console.log(`${name}: ${used} of ${amount} used in ${usedCount} payment, ${remaining} left`);
  }
  console.log(`The card can spend ${left.spendableNow} now, of ${left.available} available`);

  // 10. The key is no longer needed: from now on every replica refuses it
  await call('DELETE', `/api-keys/${apiKeyId}`, { token: admin });
}

await spend().catch((failure) => {
  console.error(failure.message);
  process.exitCode = 1;
});
