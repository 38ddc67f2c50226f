// The page around Swagger UI: it follows logins, refreshes and logouts, and authorises later calls with the token or the
// API key.
'use strict';

(() => {
  // Swagger UI's dialog has both. The page enters keys as tokens too, so that operations which need a session get them as well,
  // and their answer says what is wrong.
  const SCHEME = 'token';
  const SCHEMES = [SCHEME, 'apiKey'];
  const isKey = (held) => held?.startsWith('cak_');
  const element = (id) => document.getElementById(id);

  // The email and expiry of the token. Swagger UI holds the token itself until the page is left.
  let session = {};

  // Swagger UI has a dark style under this class, but only its top bar, which this page omits, would set it.
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const followScheme = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
  dark.addEventListener('change', followScheme);
  followScheme();

  // On a wide screen the contents are always open next to the guide. On a phone they are above it and start closed.
  const wide = matchMedia('(min-width: 56rem)');
  const unfoldContents = () => { element('contents').open = wide.matches; };
  wide.addEventListener('change', unfoldContents);
  unfoldContents();

  for (const each of document.querySelectorAll('[data-origin]')) each.textContent = location.origin;
  for (const code of document.querySelectorAll('.text > pre > code')) offerCopy(code);

  const ui = SwaggerUIBundle({
    url: '/openapi.json',
    domNode: element('swagger-ui'),
    layout: 'BaseLayout',
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [withoutPageContent, withShortResponses],
    deepLinking: true,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    persistAuthorization: false,
    validatorUrl: null,
    docExpansion: 'list',
    defaultModelsExpandDepth: 0,
    responseInterceptor: (response) => {
      const path = new URL(response.url, location.href).pathname;
      updateSession(path, response.status, response.body);
      return response;
    },
    onComplete: () => {
      // The document's first server is an address for programs that read it from a file.
      ui.oas3Actions.setSelectedServer('/');
      showDocument(ui.specSelectors.specJson().toJS());
    },
  });
  new MutationObserver(nameFields).observe(element('swagger-ui'), { childList: true, subtree: true });
  let shown;
  ui.getStore().subscribe(showSession);
  startPayment({ token, onAnswer: updateSession });

  element('login').addEventListener('submit', async (event) => {
    event.preventDefault();
    const email = element('email').value;
    const answer = await send(event.submitter, '/auth/login', {
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ email, password: element('password').value }),
    });
    if (answer?.ok) {
      updateSession('/auth/login', answer.status, answer.body, email);
      element('logged-in').focus();
    } else if (answer) {
      element('email').focus();
    }
  });

  element('use-key').addEventListener('submit', async (event) => {
    event.preventDefault();
    const key = element('key').value.trim();
    // Every role may read authorisations.
    const headers = { Authorization: `Bearer ${key}` };
    const answer = await send(event.submitter, '/authorizations?limit=1', { method: 'GET', headers });
    if (answer?.ok && isKey(key)) {
      element('key').value = '';
      ui.preauthorizeApiKey(SCHEME, key);
      element('logged-in').focus();
    } else if (answer) {
      if (answer.ok) element('problem').textContent = 'This is a token and not an API key.';
      element('key').focus();
    }
  });

  element('logout').addEventListener('click', async (event) => {
    if (isKey(token())) {
      forget();
      element('email').focus();
      return;
    }
    const answer = await send(event.target, '/auth/logout', { headers: { Authorization: `Bearer ${token()}` } });
    if (answer) {
      updateSession('/auth/logout', answer.status, answer.body);
      if (!token()) element('email').focus();
    }
  });

  /** Sends a request for a button of the panel, and shows a failure there. */
  async function send(button, path, request) {
    element('problem').textContent = '';
    button.disabled = true;
    try {
      const response = await fetch(path, { method: 'POST', ...request });
      const body = await response.json();
      if (!response.ok) element('problem').textContent = body.detail;
      return { ok: response.ok, status: response.status, body };
    } catch {
      element('problem').textContent = 'The server did not answer. Try again.';
      return undefined;
    } finally {
      button.disabled = false;
    }
  }

  /** A login or a refresh authorises later calls. A logout or an invalid token ends that. */
  function updateSession(path, status, body, email) {
    if ((path === '/auth/login' || path === '/auth/refresh') && status === 200 && body?.token) {
      forget();
      session = { token: body.token, expiresAt: body.expiresAt, email };
      ui.preauthorizeApiKey(SCHEME, body.token);
    } else if ((path === '/auth/logout' && status === 200) || body?.code === 'token_expired' || body?.code === 'unauthenticated') {
      forget();
    }
  }

  function forget() {
    session = {};
    if (token()) ui.authActions.logout(SCHEMES);
  }

  /** The token or the API key that Swagger UI holds. */
  function token() {
    const held = ui.authSelectors.authorized();
    return SCHEMES.map((scheme) => held?.getIn([scheme, 'value'])).find(Boolean);
  }

  /** Shows what Swagger UI holds, since its own dialog can also change it. */
  function showSession() {
    const held = token();
    if (held === shown) return;
    shown = held;
    const { email, expiresAt } = session.token === held ? session : {};
    const who = isKey(held) ? 'Using an API key' : `Logged in${email ? ` as ${email}` : ''}`;
    const time = expiresAt && new Date(expiresAt).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    const until = `Calls from this page send the ${isKey(held) ? 'key' : 'token'}${time ? ` until ${time}` : ''}.`;
    element('login').hidden = Boolean(held);
    element('with-key').hidden = Boolean(held);
    element('logout').textContent = isKey(held) ? 'Forget the key' : 'Log out';
    element('logged-in').hidden = !held;
    element('problem').textContent = '';
    element('who').textContent = who;
    element('until').textContent = until;
    element('session').hidden = Boolean(held);
    element('session-held').hidden = !held;
    element('session-held').textContent = held ? `${who}. ${until}` : '';
  }

  function showDocument(spec) {
    element('version').textContent = `v${spec.info.version}`;
    element('version').hidden = false;
    for (const each of document.querySelectorAll('[data-sandbox]')) each.hidden = !spec.paths['/sandbox/purchases'];

    const used = new Set(Object.values(spec.paths).flatMap((path) => Object.values(path).flatMap((operation) => operation.tags ?? [])));
    const links = spec.tags.filter(({ name }) => used.has(name)).map(({ name }) => {
      const link = document.createElement('a');
      // Swagger UI follows such a fragment only when the page is loaded.
      link.href = `#/${encodeURIComponent(name)}`;
      link.textContent = name;
      link.addEventListener('click', () => {
        ui.layoutActions.show(['operations-tag', name], true);
        element(`operations-tag-${name.replaceAll(' ', '_')}`).scrollIntoView();
      });
      const item = document.createElement('li');
      item.append(link);
      return item;
    });
    element('tags').replaceChildren(...links);
  }

  /** Hides the document's description and its servers, since the page shows both. */
  function withoutPageContent() {
    const nothing = () => () => null;
    return { wrapComponents: { InfoContainer: nothing, ServersContainer: nothing } };
  }

  /** Folds the headers and the example of each error, which would make an open operation ten screens long. */
  function withShortResponses({ React, getComponent }) {
    const make = React.createElement;

    const headers = (Headers) => (props) =>
      make('details', { className: 'folded' }, make('summary', null, 'Headers'), make(Headers, props));

    const response = (Response) => (props) => {
      const [open, setOpen] = React.useState(false);
      if (!/^[45]/.test(props.code)) return make(Response, props);
      const Markdown = getComponent('Markdown', true);
      const button = make('button', { type: 'button', className: 'unfold', 'aria-expanded': open, onClick: () => setOpen(!open) }, 'Example');
      const words = make('td', { className: 'response-col_description' }, make(Markdown, { source: props.response.get('description') }), button);
      const row = make('tr', { className: 'response refusal', 'data-code': props.code }, make('td', { className: 'response-col_status' }, props.code), words);
      return make(React.Fragment, null, row, open && make(Response, props));
    };

    return { wrapComponents: { headers, response } };
  }

  /** Labels elements that Swagger UI leaves unlabelled, for screen readers. */
  function nameFields() {
    const names = {
      '.body-param textarea': 'Request body',
      'select.examples-select-element': 'Example',
      '.copy-to-clipboard button': 'Copy',
      '.close-modal': 'Close',
      '.json-schema-2020-12-accordion:not(:has(.json-schema-2020-12__title))': 'Schema',
    };
    for (const [selector, name] of Object.entries(names)) {
      for (const each of document.querySelectorAll(`#swagger-ui ${selector}:not([aria-label])`)) each.setAttribute('aria-label', name);
    }
    for (const each of document.querySelectorAll('#swagger-ui pre:not([tabindex])')) each.tabIndex = 0;
  }

  function offerCopy(code) {
    // Over plain HTTP a page has no access to the clipboard, so there is no button.
    if (!navigator.clipboard) return;
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'copy';
    button.textContent = 'Copy';
    button.addEventListener('click', async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = 'Copied';
      setTimeout(() => { button.textContent = 'Copy'; }, 2000);
    });
    code.parentElement.append(button);
  }
})();
