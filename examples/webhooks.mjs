// Receives webhooks with Node alone: verifies them as Standard Webhooks 1.0.0 says, and prints each event once.
//   WEBHOOK_SECRET=whsec_... PORT=9000 node examples/webhooks.mjs
// GET /webhook-endpoints/{webhookEndpointId}/secret answers the secret. docs/webhooks.md has the steps.
import { createHmac, timingSafeEqual } from 'node:crypto';
import { createServer } from 'node:http';

const PORT = Number(process.env.PORT ?? 9000);
const KEY = Buffer.from((process.env.WEBHOOK_SECRET ?? '').replace(/^whsec_/, ''), 'base64');
const TOLERANCE_SECONDS = 300;
const MAX_BYTES = 1024 * 1024;

/** Why a message is not to be trusted; undefined if it is. */
function fault({ 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures }, body) {
  if (!id || !timestamp || !signatures) return 'a header is missing';
  // An old message that somebody has recorded is not accepted again.
  if (!/^\d{1,12}$/.test(timestamp) || Math.abs(Date.now() / 1000 - timestamp) > TOLERANCE_SECONDS) return 'the timestamp is not near now';
  // The bytes that came, before any parser: JSON that is written anew can differ.
  const expected = createHmac('sha256', KEY).update(`${id}.${timestamp}.`).update(body).digest();
  // While a secret is being replaced there is a signature of each of the two.
  const isSigned = signatures.split(' ').some((signature) => {
    const [version, text = ''] = signature.split(',');
    const given = Buffer.from(text, 'base64');
    return version === 'v1' && given.length === expected.length && timingSafeEqual(given, expected);
  });
  return isSigned ? undefined : 'no signature is valid';
}

/** A table in a real receiver: it outlives the process, and the webhook-id is unique in it. */
const inbox = new Map();

/** Later than the answer, so it may take its time. */
function work({ id, type, cardId, sequence, data }) {
  const balance = data.balance ? `, balance ${data.balance.balance}` : '';
  console.log(`${id} ${type}${cardId ? ` of ${cardId}, sequence ${sequence}` : ''}${balance}`);
}

async function receive(request, response) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BYTES) return response.writeHead(413, { Connection: 'close' }).end();
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  const refused = fault(request.headers, body);
  if (refused) {
    console.log(`Refused: ${refused}`);
    return response.writeHead(401).end(refused);
  }
  const id = request.headers['webhook-id'];
  const isNew = !inbox.has(id);
  if (isNew) inbox.set(id, JSON.parse(body));
  // It is stored. Anything but a 2xx would bring it again.
  response.writeHead(204).end();
  if (isNew) setImmediate(work, inbox.get(id));
  else console.log(`${id} came again`);
}

if (KEY.length < 24) {
  console.error('WEBHOOK_SECRET is not the secret of an endpoint, whsec_...');
  process.exit(1);
}
const server = createServer((request, response) => {
  receive(request, response).catch((failure) => {
    console.error(failure.message);
    if (response.headersSent) response.destroy();
    else response.writeHead(500).end();
  });
});
// Longer than the sender keeps a connection at rest.
server.keepAliveTimeout = 60_000;
server.listen(PORT, '127.0.0.1', () => console.log(`Listening on http://127.0.0.1:${server.address().port}`));
