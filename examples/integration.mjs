// The complete integration example of the published reference, against the sandbox of `make sandbox`.
//   node examples/integration.mjs

// 1. Login
const loginResponse = await fetch('http://127.0.0.1:8080/auth/login', {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({
    email: 'admin@company.com',
    password: 'secure_password'
  })
});
const { token } = await loginResponse.json();

// 2. Create customer
const customerResponse = await fetch('http://127.0.0.1:8080/customers', {
  method: 'POST',
  headers: {
    'Authorization': `Bearer ${token}`,
    'Content-Type': 'application/json'
  },
  body: JSON.stringify({
    name: 'Juan Perez',
    email: 'juan@email.com'
  })
});
const { customerId } = await customerResponse.json();

// 3. Create virtual card
const cardResponse = await fetch('http://127.0.0.1:8080/cards', {
  method: 'POST',
  headers: {
    'Authorization': `Bearer ${token}`,
    'Content-Type': 'application/json'
  },
  body: JSON.stringify({ currency: 'USD' })
});
const { cardId } = await cardResponse.json();

// 4. Assign card to customer
await fetch('http://127.0.0.1:8080/cards/assign', {
  method: 'POST',
  headers: {
    'Authorization': `Bearer ${token}`,
    'Content-Type': 'application/json'
  },
  body: JSON.stringify({ cardId, customerId })
});

// 5. Add balance
await fetch('http://127.0.0.1:8080/balances/add', {
  method: 'POST',
  headers: {
    'Authorization': `Bearer ${token}`,
    'Content-Type': 'application/json'
  },
  body: JSON.stringify({ cardId, amount: 500 })
});

// 6. Activate card
await fetch('http://127.0.0.1:8080/cards/status', {
  method: 'PATCH',
  headers: {
    'Authorization': `Bearer ${token}`,
    'Content-Type': 'application/json'
  },
  body: JSON.stringify({ cardId, status: 'active' })
});

console.log('Card ready for use!');
