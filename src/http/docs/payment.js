// Runs the calls of the section "How a card pays". Each step of the page shows the request that is sent, with
// placeholders such as {cardId} for what earlier steps answered:
//   data-keep="authorizationId=authorization.id"   what to keep of the answer, and where it is; a bare name is both
//   data-show="entry.kind movements:type,amount"   what to list of the answer: members by their paths, and of an object or
//                                                  of each object in a list only some
//   data-restart                                   a success begins anew: forget everything that was kept
'use strict';

/** Makes the steps runnable. `token()` is the token to send, and `onAnswer` is told of every answer. */
function startPayment({ token, onAnswer }) {
  const section = document.getElementById('payments');
  const everything = document.getElementById('run-all');
  const progress = document.getElementById('progress');
  const card = document.getElementById('payment-card');
  const kept = new Map();

  const steps = [...section.querySelectorAll('.steps > li')].map((item) => {
    const request = item.querySelector('pre > code');
    const keep = (item.dataset.keep ?? '').split(' ').filter(Boolean).map((each) => {
      const [name, path] = each.split('=');
      return { name, path: path ?? name };
    });
    const show = (item.dataset.show ?? '').split(' ').filter(Boolean);
    const step = { item, title: item.querySelector('h3').textContent, request, template: request.textContent, keep, show, ...addControls(item) };
    step.button.addEventListener('click', () => whileBusy(() => run(step)));
    return step;
  });

  everything.addEventListener('click', () => whileBusy(async () => {
    for (const step of steps) if (!(await run(step))) return;
    progress.textContent = `All ${steps.length} steps succeeded.`;
  }));

  card.addEventListener('input', () => {
    const cardId = card.value.trim();
    if (/^\w+$/.test(cardId)) kept.set('cardId', cardId);
    else kept.delete('cardId');
    fill();
  });

  /** Adds the button of a step and the place of its answer. */
  function addControls(item) {
    const button = make('button', { type: 'button', className: 'run', textContent: 'Run', hidden: true });
    // Only a sandbox lets a user play the merchant: docs.js shows what has this mark there.
    button.dataset.sandbox = '';
    button.setAttribute('aria-label', `Run: ${item.querySelector('h3').textContent}`);
    const answer = make('div', { className: 'answer', hidden: true });
    item.append(button, answer);
    return { button, answer };
  }

  async function whileBusy(work) {
    const buttons = [everything, ...steps.map(({ button }) => button)];
    for (const each of buttons) each.disabled = true;
    try {
      await work();
    } finally {
      for (const each of buttons) each.disabled = false;
    }
  }

  /** Sends the request of a step and shows the answer. Whether it succeeded. */
  async function run(step) {
    if (!token()) return refuse(step, 'Log in or enter an API key first, at the top of this page.');
    step.key = newKey();
    fill();
    const missing = /\{(\w+)\}/.exec(step.request.textContent)?.[1];
    if (missing) {
      const source = steps.findIndex(({ keep }) => keep.some(({ name }) => name === missing));
      return refuse(step, `Run step ${source + 1} first: its answer has the ${missing}.`);
    }
    const { method, path, headers, body } = parse(step.request.textContent);
    const began = performance.now();
    try {
      const response = await fetch(path, { method, headers: { ...headers, Authorization: `Bearer ${token()}` }, body });
      const answer = await response.json();
      const took = Math.round(performance.now() - began);
      onAnswer(path, response.status, answer);
      if (response.ok && 'restart' in step.item.dataset) forget();
      report(step, response, answer, took);
      if (!response.ok) return false;
      for (const { name, path: where } of step.keep) kept.set(name, member(answer, where));
      card.value = kept.get('cardId') ?? '';
      fill();
      return true;
    } catch {
      return refuse(step, 'The server did not answer. Run the step again.');
    }
  }

  /** The request as it is written: a line with method and path, headers, an empty line, the body. */
  function parse(text) {
    const [head, body] = text.split('\n\n');
    const [line, ...fields] = head.split('\n');
    const [method, path] = line.split(' ');
    const headers = Object.fromEntries(fields.map((field) => field.split(': ')));
    if (body) headers['Content-Type'] = 'application/json';
    return { method, path, headers, body };
  }

  /** Puts what is known into the requests. {newKey} is the key of the step's own last run. */
  function fill() {
    for (const { request, template, key } of steps) {
      request.textContent = template.replaceAll(/\{(\w+)\}/g, (whole, name) => (name === 'newKey' ? key : kept.get(name)) ?? whole);
    }
  }

  function forget() {
    kept.clear();
    card.value = '';
    for (const step of steps) {
      step.key = undefined;
      step.answer.hidden = true;
    }
    for (const each of section.querySelectorAll('.purse output')) each.textContent = '–';
  }

  function refuse(step, text) {
    step.answer.replaceChildren(make('p', { className: 'refused', textContent: text }));
    step.answer.hidden = false;
    progress.textContent = `${step.title}: ${text}`;
    return false;
  }

  function report(step, response, answer, took) {
    const outcome = make('p', { className: response.ok ? 'outcome' : 'refused' });
    outcome.textContent = response.ok ? `${response.status} in ${took} ms` : `${response.status} ${answer.code}: ${answer.detail}`;
    const members = make('dl', {});
    for (const shown of response.ok ? step.show : []) {
      const [path, names] = shown.split(':');
      const value = member(answer, path);
      if (value === undefined) continue;
      members.append(make('dt', { textContent: path }));
      for (const each of Array.isArray(value) ? value : [value]) members.append(make('dd', { textContent: words(each, names?.split(',')) }));
    }
    const whole = make('details', {}, make('summary', { textContent: 'Whole response' }));
    const code = make('code', { textContent: JSON.stringify(answer, null, 2), tabIndex: 0 });
    whole.append(make('pre', {}, code));
    step.answer.replaceChildren(outcome, members, whole);
    step.answer.hidden = false;
    progress.textContent = `${step.title}: ${outcome.textContent}`;
    updatePurse(answer);
  }

  /** Shows the card's money, which the answers have in a `balance` object or beside each other. */
  function updatePurse(answer) {
    const balance = typeof answer.balance === 'object' ? answer.balance : answer;
    for (const name of ['balance', 'held', 'available']) {
      if (typeof balance?.[name] === 'number') section.querySelector(`.purse output[name="${name}"]`).textContent = balance[name];
    }
  }

  function member(answer, path) {
    return path.split('.').reduce((value, name) => value?.[name], answer);
  }

  /** A value in a line: of an object, these members or all simple ones. */
  function words(value, names = Object.keys(value ?? {})) {
    if (typeof value !== 'object' || value === null) return String(value);
    return names.filter((name) => value[name] !== null && typeof value[name] !== 'object').map((name) => `${name}: ${value[name]}`).join(', ');
  }

  function make(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  /** `crypto.randomUUID` exists only on pages that were loaded securely. */
  function newKey() {
    return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
  }
}
