// The complete integration example of the published reference through generated types, against a running sandbox:
//   npm ci && API=http://127.0.0.1:8080 EMAIL=maria@email.com npm test
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import createClient from 'openapi-fetch';
import type { components, paths } from './api.js';

type Schemas = components['schemas'];

const email = process.env['EMAIL'] ?? 'juan@email.com';
const api = createClient<paths>({ baseUrl: process.env['API'] ?? 'http://127.0.0.1:8080' });

/** The answer of a request that succeeded; any other is an error in the server's words. */
function done<T>(answer: { data?: T; error?: Schemas['Problem']; response: Response }): T {
  const { data, error, response } = answer;
  if (data === undefined) throw new Error(`${response.status} ${error?.code}: ${error?.detail}`);
  return data;
}

/** Under a name of its own a request that was sent twice is done once. */
const once = () => ({ header: { 'Idempotency-Key': randomUUID() } });

// 1. Login
const password = 'secure_password';
const { token } = done(await api.POST('/auth/login', { body: { email: 'admin@company.com', password } }));
api.use({
  onRequest({ request }) {
    request.headers.set('Authorization', `Bearer ${token}`);
    return request;
  },
});

// 2. Create customer
const person = { name: 'Juan Perez', email };
const { customerId } = done(await api.POST('/customers', { params: once(), body: person }));

// 3. Create virtual card
const created = done(await api.POST('/cards', { params: once(), body: { currency: 'USD' } }));
const cardId = created.cardId;
assert.equal(created.status, 'inactive');

// 4. Assign card to customer
done(await api.POST('/cards/assign', { params: once(), body: { cardId, customerId } }));

// 5. Add balance
const added = done(await api.POST('/balances/add', { params: once(), body: { cardId, amount: 500 } }));
assert.equal(added.balance, 500);

// 6. Activate card
done(await api.PATCH('/cards/status', { params: once(), body: { cardId, status: 'active' } }));

// What became of it
const card = done(await api.GET('/cards/{cardId}', { params: { path: { cardId } } }));
const { balance, status, currency } = card;
assert.deepEqual({ balance, status, currency }, { balance: 500, status: 'active', currency: 'USD' });
assert.equal(card.customerId, customerId);

const path = { cardId };
const { movements } = done(await api.GET('/cards/{cardId}/movements', { params: { path, query: { type: 'top_up' } } }));
assert.deepEqual(movements.map(({ id, amount, balanceAfter }) => ({ id, amount, balanceAfter })), [
  { id: added.movementId, amount: 500, balanceAfter: 500 },
]);

// Failures are told apart by `code`
const { error } = await api.POST('/customers', { params: once(), body: person });
switch (error?.code) {
  case 'duplicate_email':
    assert.equal(error.status, 409);
    break;
  case 'validation_failed':
    assert.fail(`the email is not one: ${error.errors?.map((fault) => fault.detail)}`);
  default:
    assert.fail(`expected duplicate_email, got ${error?.code}: ${error?.detail}`);
}
console.log('Card ready for use!');

// What the compiler knows. None of it ever runs: tsc fails if a type is another one, `any` and `unknown` included.
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
type Codes<P extends keyof paths, M extends keyof paths[P], S extends number> = paths[P][M] extends {
  responses: Record<S, { content: { 'application/problem+json': infer Body extends Schemas['Problem'] } }>;
}
  ? Body['code']
  : never;

type Moments = NonNullable<paths['/cards/{cardId}/movements']['get']['parameters']['query']>;
type Change = paths['/users/{userId}']['patch']['requestBody']['content']['application/json'];

export function types() {
  true satisfies Same<typeof card, Schemas['Card']>;
  true satisfies Same<typeof card.balance, number>;
  true satisfies Same<typeof card.status, 'inactive' | 'active' | 'blocked' | 'cancelled'>;
  true satisfies Same<typeof card.customerId, string | null>;
  true satisfies Same<typeof movements, Schemas['Movement'][]>;
  true satisfies Same<Codes<'/customers', 'post', 409>, 'duplicate_email' | 'duplicate_external_id' | 'idempotency_key_in_use'>;
  true satisfies Same<Codes<'/cards/{cardId}', 'get', 404>, 'card_not_found'>;
  true satisfies Same<Moments['from'], string | undefined>;
  true satisfies Same<Change, { role?: 'admin' | 'operator' | 'viewer' | null; disabled?: boolean | null }>;
  // @ts-expect-error a currency that there is not
  void api.POST('/cards', { body: { currency: 'GBP' } });
  // @ts-expect-error the amount is a number
  void api.POST('/balances/add', { body: { cardId, amount: '500' } });
  // @ts-expect-error the card is missing
  void api.POST('/balances/add', { body: { amount: 500 } });
  // @ts-expect-error a status that no card can be given
  void api.PATCH('/cards/status', { body: { cardId, status: 'pending' } });
  // @ts-expect-error a path that there is not
  void api.GET('/cards/{cardId}/owner', { params: { path: { cardId } } });
}
