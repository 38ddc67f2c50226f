// A card's payment from authorisation to refund with Node alone, against the sandbox of `make sandbox`.
//   node examples/payment.mjs
//   API=http://127.0.0.1:8080 node examples/payment.mjs
// The admin makes the card and an API key of the role network. The processor's gateway, which has only that key, makes
// the card pay.
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

/** Prints a step and what it left of the card's money. */
function show(what, { balance: money }) {
  console.log(`${what}: balance ${money.balance}, held ${money.held}, available ${money.available}`);
}

async function pay() {
  // 1. The admin makes an active card with a balance of 500
  const login = await call('POST', '/auth/login', { body: { email: 'admin@company.com', password: 'secure_password' } });
  const admin = login.token;
  const { cardId } = await call('POST', '/cards', { token: admin, body: { currency: 'USD' } });
  await call('POST', '/balances/add', { token: admin, body: { cardId, amount: 500 } });
  await call('PATCH', '/cards/status', { token: admin, body: { cardId, status: 'active' } });

  // 2. The admin makes a key for the gateway. It is shown only now
  const { apiKeyId, key: network } = await call('POST', '/api-keys', { token: admin, body: { name: 'payment example', role: 'network' } });

  // 3. A merchant asks whether the card can pay 100. The money is held
  const merchant = { id: '445291006', name: 'HOTEL MIRADOR', mcc: '7011', city: 'Bogota', country: 'CO' };
  let answer = await call('POST', '/network/authorizations', { token: network, body: { cardId, amount: 100, merchant } });
  const { id } = answer.authorization;
  show(`Authorised 100, ${answer.authorization.status}`, answer);

  // 4. The bill may be higher: hold 50 more
  answer = await call('POST', `/network/authorizations/${id}/increments`, { token: network, body: { amount: 50 } });
  show('Incremented by 50', answer);

  // 5. The merchant takes 120. The capture is final, so the rest is released
  answer = await call('POST', `/network/authorizations/${id}/captures`, { token: network, body: { amount: 120 } });
  show(`Captured 120, ${answer.authorization.status}`, answer);

  // 6. Too much is declined: an answer with the reason and the numbers, not an error
  answer = await call('POST', '/network/authorizations', { token: network, body: { cardId, amount: 1000 } });
  show(`Asked for 1000, ${answer.authorization.status} with ${answer.authorization.decline.code}`, answer);

  // 7. The merchant gives 20 back
  const refund = { cardId, amount: 20, description: 'Minibar corrected', authorizationId: id };
  answer = await call('POST', '/network/refunds', { token: network, body: refund });
  show('Refunded 20', answer);

  // 8. The card's movements are what was posted, newest first
  const { movements } = await call('GET', `/cards/${cardId}/movements`, { token: admin });
  for (const { type, amount, description, balanceAfter } of movements) console.log(`${type} ${amount}, ${description}: balance ${balanceAfter}`);

  // 9. The key is no longer needed: from now on every replica refuses it
  await call('DELETE', `/api-keys/${apiKeyId}`, { token: admin });
}

await pay().catch((failure) => {
  console.error(failure.message);
  process.exitCode = 1;
});
