// Asserts that ajv, which holds numbers as binary floats, accepts every cent: node cents.mjs ../../openapi.json
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import Ajv from 'ajv/dist/2020.js';

const { components } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const ajv = new Ajv({ strict: false, validateFormats: false });
const validator = (name) => ajv.compile({ $ref: `#/components/schemas/${name}`, components });
const [amount, money, request] = ['Amount', 'Money', 'AddBalanceRequest'].map(validator);

const isAccepted = (number) =>
  amount(number) && money(number) && money(-number) && request({ cardId: 'card_001', amount: number });

const refused = [];
for (let cents = 1; cents <= 20_000; cents += 1) {
  // As a client reads it, not as a quotient.
  const number = JSON.parse(`${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')}`);
  if (!isAccepted(number)) refused.push(number);
}
assert.deepEqual(refused.slice(0, 10), [], `${refused.length} of 20,000 cents are refused`);
for (const number of [167772.17, 1234567.89, 12345678901234.56, 70368744177664, 90071992547409.91]) {
  assert.ok(isAccepted(number), `${number} is refused`);
}
assert.ok(!amount(0) && !amount(-0.01) && !amount(90071992547409.92) && !money(90071992547409.92) && !money(-90071992547409.92));
console.log('Every cent to 200.00 is accepted, and the bounds are.');
