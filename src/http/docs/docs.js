// The page around Swagger UI: what its calls say of the session authorises the calls after them.
'use strict';

(() => {
  const SCHEME = 'token';
  const element = (id) => document.getElementById(id);

  // What is known of a token beside itself; Swagger UI holds the token, and forgets it with the page.
  let known = {};

  // Swagger UI has a dark style under this class, but leaves the choice to a top bar that is not here.
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const followScheme = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
  dark.addEventListener('change', followScheme);
  followScheme();

  // Beside the guide the contents are always there; above it, on a phone, they are opened when wanted.
  const wide = matchMedia('(min-width: 56rem)');
  const unfoldContents = () => { element('contents').open = wide.matches; };
  wide.addEventListener('change', unfoldContents);
  unfoldContents();

  for (const each of document.querySelectorAll('[data-origin]')) each.textContent = location.origin;
  for (const code of document.querySelectorAll('pre > code')) offerCopy(code);

  const ui = SwaggerUIBundle({
    url: '/openapi.json',
    domNode: element('swagger-ui'),
    layout: 'BaseLayout',
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [withoutWhatThePageTells, withShortResponses],
    deepLinking: true,
    tryItOutEnabled: true,
    displayRequestDuration: true,
    persistAuthorization: false,
    validatorUrl: null,
    docExpansion: 'list',
    defaultModelsExpandDepth: 0,
    responseInterceptor: (response) => {
      const path = new URL(response.url, location.href).pathname;
      learn(path, response.status, response.body);
      return response;
    },
    onComplete: () => showDocument(ui.specSelectors.specJson().toJS()),
  });
  new MutationObserver(nameFields).observe(element('swagger-ui'), { childList: true, subtree: true });
  let shown;
  ui.getStore().subscribe(showSession);

  element('login').addEventListener('submit', async (event) => {
    event.preventDefault();
    const email = element('email').value;
    const answer = await send(event.submitter, '/auth/login', {
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ email, password: element('password').value }),
    });
    if (answer?.ok) {
      learn('/auth/login', answer.status, answer.body, email);
      element('logged-in').focus();
    } else if (answer) {
      element('email').focus();
    }
  });

  element('logout').addEventListener('click', async (event) => {
    const answer = await send(event.target, '/auth/logout', { headers: { Authorization: `Bearer ${token()}` } });
    if (answer) {
      learn('/auth/logout', answer.status, answer.body);
      if (!token()) element('email').focus();
    }
  });

  /** Sends a POST for a button of the panel, which tells what went wrong. */
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

  /** A login or a refresh authorises what follows; a logout, or a token that is worth nothing, ends that. */
  function learn(path, status, body, email) {
    if ((path === '/auth/login' || path === '/auth/refresh') && status === 200 && body?.token) {
      known = { token: body.token, expiresAt: body.expiresAt, email };
      ui.preauthorizeApiKey(SCHEME, body.token);
    } else if ((path === '/auth/logout' && status === 200) || body?.code === 'token_expired' || body?.code === 'unauthenticated') {
      known = {};
      if (token()) ui.authActions.logout([SCHEME]);
    }
  }

  function token() {
    return ui.authSelectors.authorized()?.getIn([SCHEME, 'value']);
  }

  /** Shows what Swagger UI holds, which its own dialog changes as well. */
  function showSession() {
    const held = token();
    if (held === shown) return;
    shown = held;
    const { email, expiresAt } = known.token === held ? known : {};
    const who = `Logged in${email ? ` as ${email}` : ''}`;
    const time = expiresAt && new Date(expiresAt).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    const until = `Calls made here carry the token${time ? ` until ${time}` : ''}.`;
    element('login').hidden = Boolean(held);
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
      // Swagger UI opens such an address when the page is loaded, but does not watch it.
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

  /** Takes away the document's description and its one server: the page says both. */
  function withoutWhatThePageTells() {
    const nothing = () => () => null;
    return { wrapComponents: { InfoContainer: nothing, ServersContainer: nothing } };
  }

  /** Folds what would make an open operation ten screens long: the headers, and an example of each refusal. */
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

  /** Names what Swagger UI leaves without a name, for those who hear the page. */
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
    // Where a page has no right to the clipboard, over plain HTTP, there is no button.
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
