// The integration example through the client that openapi-generator makes for TypeScript, with sums that 32 bits would round.
import assert from 'node:assert/strict';
import {
  AuthenticationApi,
  BalancesApi,
  Configuration,
  type CreateCustomerConflictProblem,
  CustomersApi,
  ResponseError,
  TransactionsApi,
  VirtualCardsApi,
} from './client/index.js';

const basePath = process.env['API'] ?? '';
const email = process.env['EMAIL'] ?? '';

const loginRequest = { email: 'admin@company.com', password: 'secure_password' };
const { token } = await new AuthenticationApi(new Configuration({ basePath })).login({ loginRequest });
const configuration = new Configuration({ basePath, accessToken: token });
const customers = new CustomersApi(configuration);
const cards = new VirtualCardsApi(configuration);

const createCustomerRequest = { name: 'Juan Perez', email };
const { customerId } = await customers.createCustomer({ createCustomerRequest, idempotencyKey: `${email}-customer` });
const { cardId } = await cards.createCard({ createCardRequest: { currency: 'USD' } });
await cards.assignCard({ assignCardRequest: { cardId, customerId } });
await cards.changeCardStatus({ changeCardStatusRequest: { cardId, status: 'active' } });

const steps: [number, string][] = [
  [1234567.89, '1234567.89'],
  [0.07, '1234567.96'],
  [3000000000, '3001234567.96'],
  [12345678901234.56, '12348680135802.52'],
];
for (const [amount, balance] of steps) {
  const added = await new BalancesApi(configuration).addBalance({ addBalanceRequest: { cardId, amount } });
  assert.equal(String(added.balance), balance);
}
const { movements } = await new TransactionsApi(configuration).listMovements({ cardId, type: 'top_up', from: '2025-02-10' });
assert.deepEqual(movements.map(({ amount, balanceAfter }) => [amount, String(balanceAfter)]), steps.reverse());
assert.ok(movements.every(({ date }) => date.getTime() > 0));

const failure = async (call: Promise<unknown>): Promise<Response> => {
  try {
    await call;
  } catch (error) {
    if (error instanceof ResponseError) return error.response;
    throw error;
  }
  return assert.fail('the call succeeded');
};

// Failures are told apart by `code`.
const taken = await failure(customers.createCustomer({ createCustomerRequest }));
const problem = (await taken.json()) as CreateCustomerConflictProblem;
assert.deepEqual([taken.status, problem.status, problem.code], [409, 409, 'duplicate_email']);
// An id in another form names nothing. The client has to send it to learn that.
assert.equal((await failure(cards.getCard({ cardId: 'card_001' }))).status, 404);
console.log('Card ready for use!');
