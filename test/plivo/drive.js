// Drives a server through the unpatched library and prints what each call
// returned, one JSON object a line: {"step", "value"} or {"step", "error"}.
const [url, authId, authToken] = process.argv.slice(2);
const plivo = require('plivo');
const client = new plivo.Client(authId, authToken, { url: `${url}/v1/Account/${authId}` });

// The library hangs the client and the HTTP response on what it returns: only
// the plain data is printed.
function plain(value) {
  if (Array.isArray(value)) {
    return { list: value.map(plain), meta: plain(value.meta) };
  }
  if (value === null || typeof value !== 'object') {
    return value;
  }
  const out = {};
  for (const key of Object.keys(value)) {
    if (typeof value[key] !== 'function' && key !== 'response' && key !== 'message_uuid') {
      out[key] = value[key] instanceof Object && !Array.isArray(value[key]) ? plain(value[key]) : value[key];
    }
  }
  return out;
}

async function step(name, call) {
  try {
    const value = await call();
    if (value instanceof Error) {
      throw value;
    }
    console.log(JSON.stringify({ step: name, value: plain(value) }));
    return value;
  } catch (error) {
    console.log(JSON.stringify({ step: name, error: `${error.name}: ${error.message}` }));
    return {};
  }
}

(async () => {
  const app = await step('application create', () => client.applications.create('Front desk', {
    answerUrl: 'https://example.com/answer', answerMethod: 'GET', hangupUrl: 'https://example.com/hangup',
  }));
  await step('application get', () => client.applications.get(app.appId));
  await step('application list', () => client.applications.list({ limit: 5, offset: 0 }));
  await step('application update', () => client.applications.update(app.appId, { answerUrl: 'https://example.com/new' }));

  const made = await step('endpoint create', () => client.endpoints.create('plivo_phone', 'correct horse', 'Desk', app.appId));
  await step('endpoint taken', () => client.endpoints.create('plivo_phone', 'correct horse', 'Desk'));
  await step('endpoint get', () => client.endpoints.get(made.endpointId));
  await step('endpoint list', () => client.endpoints.list({ limit: 2, offset: 0 }));
  await step('endpoint update', () => client.endpoints.update(made.endpointId, { alias: 'Reception', password: 'another horse' }));
  await step('endpoint updated', () => client.endpoints.get(made.endpointId));
  await step('endpoint delete', () => client.endpoints.delete(made.endpointId));
  await step('endpoint gone', () => client.endpoints.get(made.endpointId));

  const sub = await step('sub-account create', () => client.subAccounts.create('Berlin', true));
  await step('sub-account get', () => client.subAccounts.get(sub.authId));
  await step('sub-account list', () => client.subAccounts.list({ limit: 5, offset: 0 }));
  await step('sub-account update', () => client.subAccounts.update(sub.authId, 'Bonn', false));
  await step('sub-account updated', () => client.subAccounts.get(sub.authId));
  await step('sub-account delete', () => client.subAccounts.delete(sub.authId));

  await step('application delete', () => client.applications.delete(app.appId));
  await step('account get', () => client.accounts.get());
})();
